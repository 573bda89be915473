// Timeouts, retries and session persistence of a rule. GEP-1742, GEP-1731, GEP-1619; durations as of GEP-2257.
import type { GatewaySessionPersistence, HttpRouteRule } from '../../../model/gateway-api.ts'
import type { RetryCondition, RetryPolicy, RouteTimeouts, SessionPersistence } from '../../../model/route.ts'
import type { RuleNotes } from './finding.ts'

const UNITS_MS: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 }
/** Longest that a timer can be set to: 24 days. */
const MAX_DURATION_MS = 0x7fffffff
const DEFAULT_RETRIES = 1
/** More would let one client send a multiple of its requests to a backend that is failing. */
const MAX_RETRIES = 10
const DEFAULT_BACKOFF_MS = 25
/** What a retry stanza covers besides its codes: failures of the connection and tries that time out. */
const CONNECTION_FAILURES: readonly RetryCondition[] = ['connect-failure', 'refused-stream', 'reset']
const COOKIE_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}$/
const COOKIE_PATH = /^\/[\x21-\x3a\x3c-\x7e]*$/

/** No timeouts. */
export const NO_TIMEOUTS: RouteTimeouts = { requestMs: undefined, backendRequestMs: undefined }

/** @returns ms, 0 when not a duration or longer than a timer can be */
export function durationMs(text: string): number {
  let sum = 0
  for (const [, count = '0', unit = 'ms'] of text.matchAll(/(\d{1,5})(ms|h|m|s)/g)) sum += Number(count) * (UNITS_MS[unit] ?? 0)
  return sum
}

/** `0s` = no timeout. */
export function timeoutsOf(timeouts: HttpRouteRule['timeouts'], notes: RuleNotes): RouteTimeouts {
  const read = (text: string | undefined, field: string): number | undefined => {
    const ms = text === undefined ? 0 : durationMs(text)
    if (ms > MAX_DURATION_MS) notes.break(`timeouts.${field}`, 'is longer than 596 hours')
    return ms === 0 ? undefined : ms
  }
  const requestMs = read(timeouts?.request, 'request')
  const backendRequestMs = read(timeouts?.backendRequest, 'backendRequest')
  if (requestMs !== undefined && (backendRequestMs ?? 0) > requestMs) notes.break('timeouts.backendRequest', 'is longer than request')
  return { requestMs, backendRequestMs }
}

/** Without a stanza nothing is tried again. */
export function retryOf(retry: HttpRouteRule['retry'], notes: RuleNotes): RetryPolicy | undefined {
  if (retry === undefined) return undefined
  const attempts = retry.attempts ?? DEFAULT_RETRIES
  if (attempts > MAX_RETRIES) notes.break('retry.attempts', `more than ${MAX_RETRIES} retries are not made`)
  const backoffMs = retry.backoff === undefined ? DEFAULT_BACKOFF_MS : durationMs(retry.backoff)
  if (backoffMs > MAX_DURATION_MS) notes.break('retry.backoff', 'is longer than 596 hours')
  return { attempts, codes: retry.codes ?? [], conditions: CONNECTION_FAILURES, backoffMs, perTryMs: undefined }
}

/**
 * A cookie of a session with an absolute timeout also gets it as its age: it may then outlive the browser, never the timeout.
 * @param fallback name of the cookie when the route gives none
 * @param path prefix that the rule matches, `/` when it has several
 */
export function sessionOf(
  session: GatewaySessionPersistence | undefined,
  fallback: string,
  path: string,
  notes: RuleNotes,
): SessionPersistence | undefined {
  if (session === undefined) return undefined
  const kind = session.type === 'Header' ? 'header' : 'cookie'
  const own = kind === 'header' ? session.header?.name : session.cookie?.name
  const given = own ?? session.sessionName
  const name = given ?? (kind === 'header' ? 'x-weft-session' : fallback)
  const cookiePath = session.cookie?.path ?? path
  if (!COOKIE_NAME.test(name)) notes.break('sessionPersistence', `${JSON.stringify(name.slice(0, 80))} is not a name of a session`)
  if (!COOKIE_PATH.test(cookiePath))
    notes.break('sessionPersistence', `${JSON.stringify(cookiePath.slice(0, 80))} is not a path of a cookie`)
  if (session.idleTimeout !== undefined) notes.break('sessionPersistence.idleTimeout', 'is not supported')
  const absoluteMs = session.absoluteTimeout === undefined ? 0 : durationMs(session.absoluteTimeout)
  const absoluteTimeoutSeconds = absoluteMs === 0 ? undefined : Math.ceil(absoluteMs / 1000)
  return { name: kind === 'header' ? name.toLowerCase() : name, kind, cookiePath, absoluteTimeoutSeconds }
}
