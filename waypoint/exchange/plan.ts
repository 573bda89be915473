// What is to be done with a request: pure but for the token buckets and the drawn numbers. The order is: limits of the
// listener, route, limits of the rule, filters of the rule, fault, backend, filters of the backend.
import type { MeshError } from '../../kit/error.ts'
import type { HeaderField, RequestHead, ResponseHead } from '../../model/http.ts'
import { headerOf } from '../../model/http.ts'
import type {
  BackendRef,
  GlobalRateLimit,
  HeaderEdits,
  Listener,
  Mirror,
  RateLimit,
  Route,
  RouteFilter,
  RouteRule,
} from '../../model/route.ts'
import { chooseBackend, chooseFault, chooseMirrors } from '../../policy/http/choose.ts'
import type { InjectedFault } from '../../policy/http/choose.ts'
import { corsFor } from '../../policy/http/cors.ts'
import { spellsParameters, withoutParameters } from '../../policy/http/parameters.ts'
import { editHeaders, redirectFor, rewriteRequest } from '../../policy/http/filter.ts'
import type { TokenBuckets } from '../../policy/http/rate-limit.ts'
import { plainRoute } from '../config.ts'
import type { ListenerEntry } from '../config.ts'
import type { Client } from '../context.ts'
import { waypointFailure } from '../errors.ts'

/** The request goes to a backend. */
export interface ProxyPlan {
  readonly kind: 'proxy'
  readonly route: Route
  /** Undefined = none is usable: 500. */
  readonly backend: BackendRef | undefined
  /** As it is sent. */
  readonly head: RequestHead
  readonly responseEdits: readonly HeaderEdits[]
  readonly cors: readonly HeaderField[]
  readonly mirrors: readonly Mirror[]
  readonly fault: InjectedFault | undefined
}

/** A backend, an answer of the rule's own, or a refusal. */
export type Plan =
  | ProxyPlan
  | { readonly kind: 'reply'; readonly route: Route; readonly response: ResponseHead }
  | {
      readonly kind: 'refuse'
      readonly route: Route | undefined
      readonly error: MeshError
      readonly headers: readonly HeaderField[]
    }

/** What a plan depends on beside the request. */
export interface PlanContext {
  readonly entry: ListenerEntry
  readonly client: Client
  readonly buckets: TokenBuckets
  readonly nowMs: number
  readonly random: () => number
}

/** Headers by which a client could pretend that a proxy had verified somebody. */
const FORGEABLE: ReadonlySet<string> = new Set(['x-forwarded-client-cert'])

/** Plans one request. @param head as it came */
export function planRequest(head: RequestHead, context: PlanContext): Plan {
  const { entry, client } = context
  const limited = limitedBy(entry.listener.rateLimits, head, context)
  if (limited !== undefined) return refuse(undefined, limited)
  const route = routeFor(head, entry, client)
  if (isAmbiguous(head, route, context)) {
    return { kind: 'refuse', route: undefined, error: waypointFailure('AMBIGUOUS_PATH', { path: head.path }), headers: [] }
  }
  if (route === undefined) return { kind: 'refuse', route, error: waypointFailure('NO_ROUTE', { path: head.path }), headers: [] }
  const limitedByRule = limitedBy(route.rule.rateLimits, head, context)
  if (limitedByRule !== undefined) return refuse(route, limitedByRule)
  return planRule(sanitised(head), route, context)
}

function routeFor(head: RequestHead, { table, fallback }: ListenerEntry, { source }: Client): Route | undefined {
  return table.isEmptyFor(source) ? fallback : table.select(head, source)
}

/** Whether a server that drops the path's parameters would see a request for which another rule is meant. */
function isAmbiguous(head: RequestHead, route: Route | undefined, { entry, client }: PlanContext): boolean {
  const bare = withoutParameters(head)
  if (bare === undefined || (route !== undefined && spellsParameters(route))) return false
  return routeFor(bare, entry, client)?.rule !== route?.rule
}

function planRule(head: RequestHead, route: Route, context: PlanContext): Plan {
  const { rule, match } = route
  const state: Filtered = { head, responseEdits: [], cors: [], reply: undefined }
  applyFilters(rule.filters, state, route, context)
  if (state.reply !== undefined) return { kind: 'reply', route, response: state.reply }
  const chosen = chooseBackend(rule, context.random)
  if (chosen !== undefined) applyFilters(chosen.filters, state, { ...route, match }, context)
  if (state.reply !== undefined) return { kind: 'reply', route, response: state.reply }
  return {
    kind: 'proxy',
    route,
    backend: chosen?.kind === 'service' ? chosen.ref : undefined,
    head: state.head,
    responseEdits: state.responseEdits,
    cors: state.cors,
    mirrors: chooseMirrors(mirrorFilters(rule, chosen?.filters ?? []), context.random),
    fault: rule.fault === undefined ? undefined : chooseFault(rule.fault, context.random),
  }
}

interface Filtered {
  head: RequestHead
  readonly responseEdits: HeaderEdits[]
  cors: readonly HeaderField[]
  reply: ResponseHead | undefined
}

/** Applies filters in their order; stops at one that answers. */
function applyFilters(filters: readonly RouteFilter[], state: Filtered, { match }: Route, { entry }: PlanContext): void {
  for (const filter of filters) {
    switch (filter.kind) {
      case 'requestHeaders':
        state.head = { ...state.head, headers: editHeaders(state.head.headers, filter.edits) }
        break
      case 'responseHeaders':
        state.responseEdits.push(filter.edits)
        break
      case 'rewrite':
        state.head = rewriteRequest(state.head, filter, match)
        break
      case 'redirect':
        state.reply = redirectFor(state.head, filter, match, entry.listener.port)
        return
      case 'cors': {
        const decision = corsFor(state.head, filter.policy)
        if (decision.kind === 'preflight') state.reply = decision.response
        else if (decision.kind === 'actual') state.cors = decision.add
        if (state.reply !== undefined) return
        break
      }
      case 'mirror':
        break // drawn in planRule
      default:
        filter satisfies never
    }
  }
}

function mirrorFilters(rule: RouteRule, ofBackend: readonly RouteFilter[]): readonly RouteFilter[] {
  return ofBackend.length === 0 ? rule.filters : [...rule.filters, ...ofBackend]
}

/** @returns how long to wait; undefined = within all limits */
function limitedBy(limits: readonly RateLimit[], head: RequestHead, { buckets, client, nowMs }: PlanContext): number | undefined {
  for (const limit of limits) {
    if ('domain' in limit) continue // asked for by the flow: see globalLimitsOf
    const taken = buckets.take(limit, head, client.id, nowMs)
    if (!taken.isAllowed) return taken.retryAfterMs
  }
  return undefined
}

function refuse(route: Route | undefined, retryAfterMs: number): Plan {
  return { kind: 'refuse', route, error: waypointFailure('RATE_LIMITED'), headers: [retryAfter(retryAfterMs)] }
}

/** The header that says when to come again: whole seconds, at least one. */
export function retryAfter(ms: number): HeaderField {
  return ['retry-after', String(Math.max(1, Math.ceil(ms / 1000)))]
}

/** What is asked after a request was planned, before anything is done for it: the limits of its listener, then those of its rule. */
export function globalLimitsOf(listener: Listener, route: Route): readonly GlobalRateLimit[] {
  if (listener.rateLimits.length === 0 && route.rule.rateLimits.length === 0) return []
  return [...listener.rateLimits, ...route.rule.rateLimits].filter((limit) => 'domain' in limit)
}

function sanitised(head: RequestHead): RequestHead {
  if (headerOf(head.headers, 'x-forwarded-client-cert') === undefined) return head
  return { ...head, headers: head.headers.filter(([name]) => !FORGEABLE.has(name)) }
}

/** The head with an ID: the client's, or a new one. */
export function withRequestId(head: RequestHead, newId: () => string): RequestHead {
  if (headerOf(head.headers, 'x-request-id') !== undefined) return head
  return { ...head, headers: [...head.headers, ['x-request-id', newId()]] }
}

/** Traffic by a pod's own address: no routes, the pod is the backend. */
const DIRECT_ROUTE = plainRoute('default', { service: '', port: 0, subset: undefined })

/** The plan of such a request. */
export function plainPlan(head: RequestHead): ProxyPlan {
  return { kind: 'proxy', route: DIRECT_ROUTE, backend: undefined, head, responseEdits: [], cors: [], mirrors: [], fault: undefined }
}
