// Rows of the proxy loop's tests: short ways to write routes and policies, and what runs a row.
import assert from 'node:assert/strict'
import { DEFAULT_TRAFFIC_POLICY } from '../../model/backend.ts'
import type { Backend, TrafficPolicy } from '../../model/backend.ts'
import type { RequestHead } from '../../model/http.ts'
import type { Identity } from '../../model/identity.ts'
import { EMPTY_MATCH } from '../../model/policy.ts'
import type { Authorization } from '../../model/policy.ts'
import type { HeaderEdits, RetryPolicy, Route, RouteFilter, RouteMatch, RouteRule, WeightedBackend } from '../../model/route.ts'
import { ANY_MATCH, backendOf, PLAIN_RULE } from './route-values.ts'
import { podOf, turns, WaypointLab } from './waypoint-lab.ts'
import type { FakeBody, FakeExchange, LabOptions } from './waypoint-lab.ts'

/** Key of the lab's service. */
export const REVIEWS = 'shop/reviews.shop.svc.cluster.local'
/** Key of the service beside it. */
export const RATINGS = 'shop/ratings.shop.svc.cluster.local'
/** Edits that change nothing. */
export const NO_EDITS: HeaderEdits = { set: [], add: [], remove: [] }
/** A gRPC call. */
export const GRPC: Partial<RequestHead> = {
  method: 'POST',
  version: 'HTTP/2',
  path: '/a.B/C',
  headers: [['content-type', 'application/grpc']],
}
/** Somebody of another namespace. */
export const OTHER: Identity = { trustDomain: 'cluster.local', namespace: 'other', serviceAccount: 'eve' }

/** A backend, port 80 of a service. */
export function backend(service: string, weight = 1, filters: readonly RouteFilter[] = []): WeightedBackend {
  return { kind: 'service', ref: { service, port: 80, subset: undefined }, weight, filters }
}

/** A route of all requests to REVIEWS, changed. */
export function route(rule: Partial<RouteRule> = {}, match: Partial<RouteMatch> = {}, name = 'HTTPRoute/shop/r/0'): Route {
  return { name, match: { ...ANY_MATCH, ...match }, rule: { ...PLAIN_RULE, backends: [backend(REVIEWS)], ...rule } }
}

/** Two further tries on 5xx, changed. */
export function retry(change: Partial<RetryPolicy>): RetryPolicy {
  return { attempts: 2, codes: [], conditions: ['5xx'], backoffMs: 25, perTryMs: undefined, ...change }
}

/** Backends with a changed policy of REVIEWS. */
export function policy(change: Partial<TrafficPolicy>): readonly Backend[] {
  return [backendOf('reviews', { policy: { ...DEFAULT_TRAFFIC_POLICY, ...change } })]
}

/** Backends with changed limits of REVIEWS. */
export function limits(change: Partial<TrafficPolicy['limits']>): readonly Backend[] {
  return policy({ limits: { ...DEFAULT_TRAFFIC_POLICY.limits, ...change } })
}

/** A policy that denies a principal. */
export function deny(principal: string): Authorization {
  const match = { ...EMPTY_MATCH, principals: [{ kind: 'exact' as const, value: principal }] }
  return { name: 'deny', namespace: 'shop', scope: 'NAMESPACE', action: 'DENY', rules: [[[match]]], isDryRun: false }
}

/** A match of a path prefix. */
export const PREFIX = (value: string): Partial<RouteMatch> => ({ path: { kind: 'prefix', value, ignoresCase: false } })
/** One endpoint of REVIEWS. */
export const ONE_POD = [podOf('reviews-1', '10.0.1.1', ['reviews'])]
/** One request per second. */
export const BUCKET = { policy: 'shop/limit', requests: 1, perMs: 1000, burst: 1, keys: [] }

/** One row: a request, and what client, endpoints and record see. */
export interface Case {
  readonly name: string
  readonly lab?: LabOptions
  readonly routes?: readonly Route[]
  readonly request?: Partial<RequestHead>
  readonly body?: () => FakeBody
  /** Clock moved on after the request. */
  readonly advanceMs?: number
  readonly status: number
  readonly text?: string
  readonly flags?: string
  readonly routeName?: string
  /** Pods that got the request, in order. */
  readonly pods?: readonly string[]
  readonly check?: (exchange: FakeExchange, lab: WaypointLab) => void
}

/** Answers in order; the last one goes on. */
export const ANSWER =
  (...statuses: (number | 'reset' | 'refused' | 'silence')[]): NonNullable<LabOptions['answer']> =>
  (request, index) => {
    const status = statuses[Math.min(index, statuses.length - 1)]
    if (status === 'reset') request.fail('UPSTREAM_RESET', true)
    else if (status === 'refused') request.fail('STREAM_REFUSED', false)
    else if (status !== 'silence') request.respond(status ?? 200, request.pod)
  }

/** Checks a field of the response. */
export const header = (name: string, value: string) => (exchange: FakeExchange) => assert.equal(exchange.header(name), value)

/** Runs one row. */
export async function runCase(row: Case): Promise<void> {
  const lab = labFor(row)
  const exchange = await lab.request(row.request, row.body?.())
  await turns()
  if (row.advanceMs !== undefined) {
    for (let passed = 0; passed < row.advanceMs; passed += 25) {
      await lab.clock.advance(25)
      await turns()
    }
  }
  await turns()
  assert.equal(exchange.status, row.status)
  assert.equal(lab.records.length, 1, 'one record')
  assert.equal(lab.records[0]?.status, row.status)
  if (row.text !== undefined) assert.equal(exchange.writer.text, row.text)
  if (row.flags !== undefined) assert.equal([...(lab.records[0]?.flags ?? [])].join(','), row.flags)
  if (row.routeName !== undefined) assert.equal(lab.records[0]?.route, row.routeName)
  if (row.pods !== undefined)
    assert.deepEqual(
      lab.upstream.map(({ pod }) => pod),
      row.pods,
    )
  row.check?.(exchange, lab)
  assert.equal(lab.clock.pending - lab.connected.length, 0, 'no timer is left but those of idle connections')
}

function labFor({ lab = {}, routes = [] }: Case): WaypointLab {
  return new WaypointLab({ ...lab, listener: { routes, ...lab.listener } })
}
