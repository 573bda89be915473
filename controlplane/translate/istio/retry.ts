// Timeouts and retries of a VirtualService's entry.
import type { IstioHttpRoute } from '../../../model/istio-networking.ts'
import type { RetryCondition, RetryPolicy, RouteTimeouts } from '../../../model/route.ts'
import { goDurationMs } from './duration.ts'
import type { EntryNotes } from './notes.ts'

/** More would let one client send a multiple of its requests to a backend that is failing. */
const MAX_RETRIES = 10
const DEFAULT_BACKOFF_MS = 25

/**
 * What Istio retries by itself (pilot/pkg/networking/core/route/retry: 2 tries more, these conditions and 503), on routes of
 * VirtualServices only: an HTTPRoute without a stanza is never tried again. 503 does no harm here: a request that is not
 * idempotent is not repeated once a byte of it was sent (policy/http/retry.ts).
 */
const DEFAULT_ATTEMPTS = 2
const DEFAULT_CONDITIONS: readonly RetryCondition[] = ['connect-failure', 'refused-stream', 'unavailable', 'cancelled']
const DEFAULT_CODES: readonly number[] = [503]

const CONDITIONS: ReadonlySet<string> = new Set<RetryCondition>([
  'connect-failure',
  'refused-stream',
  'reset',
  'reset-before-request',
  'gateway-error',
  '5xx',
  'retriable-4xx',
  'cancelled',
  'deadline-exceeded',
  'resource-exhausted',
  'unavailable',
  'internal',
])

/** `0s` = no timeout. */
export function timeoutsOf({ timeout }: IstioHttpRoute): RouteTimeouts {
  const requestMs = timeout === undefined ? 0 : goDurationMs(timeout)
  return { requestMs: requestMs === 0 ? undefined : requestMs, backendRequestMs: undefined }
}

/** Without a stanza Istio's defaults; `attempts` of 0 or less = none. */
export function retryOf({ retries }: IstioHttpRoute, notes: EntryNotes): RetryPolicy | undefined {
  const plain = { attempts: DEFAULT_ATTEMPTS, codes: DEFAULT_CODES, conditions: DEFAULT_CONDITIONS }
  if (retries === undefined) return { ...plain, backoffMs: DEFAULT_BACKOFF_MS, perTryMs: undefined }
  const { attempts = 0, perTryTimeout, retryOn, backoff } = retries
  for (const field of ['retryRemoteLocalities', 'retryIgnorePreviousHosts'] as const)
    if (retries[field] !== undefined) notes.ignore(`retries.${field}`, 'is not supported')
  if (attempts <= 0) return undefined
  if (attempts > MAX_RETRIES) notes.ignore('retries.attempts', `more than ${MAX_RETRIES} retries are not made`)
  const perTryMs = perTryTimeout === undefined ? 0 : goDurationMs(perTryTimeout)
  return {
    ...plain,
    attempts: Math.min(attempts, MAX_RETRIES),
    ...(retryOn !== undefined && retryOn.trim() !== '' && conditionsIn(retryOn, notes)),
    backoffMs: backoff === undefined ? DEFAULT_BACKOFF_MS : Math.max(1, goDurationMs(backoff)),
    perTryMs: perTryMs === 0 ? undefined : perTryMs,
  }
}

/** Numbers are status codes. */
function conditionsIn(retryOn: string, notes: EntryNotes): Pick<RetryPolicy, 'codes' | 'conditions'> {
  const codes = new Set<number>()
  const conditions = new Set<RetryCondition>()
  for (const part of retryOn.split(',').map((text) => text.trim().toLowerCase())) {
    if (/^[1-5][0-9]{2}$/.test(part)) codes.add(Number(part))
    else if (isCondition(part)) conditions.add(part)
    // Says only that the codes count, which they do anyway.
    else if (part !== '' && part !== 'retriable-status-codes')
      notes.ignore('retries.retryOn', `${JSON.stringify(part.slice(0, 40))} is not supported`)
  }
  return { codes: [...codes], conditions: [...conditions] }
}

function isCondition(text: string): text is RetryCondition {
  return CONDITIONS.has(text)
}
