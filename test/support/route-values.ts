// Listeners and backends for tests: fast-check arbitraries of every value that the model allows, and small whole values.
import fc from 'fast-check'
import {
  type Backend,
  type BalancerPolicy,
  DEFAULT_TRAFFIC_POLICY,
  type HashKey,
  type LocalityPolicy,
  type OutlierDetection,
  type TrafficPolicy,
} from '../../model/backend.ts'
import type {
  BackendRef,
  GlobalRateLimit,
  Listener,
  LocalRateLimit,
  NamedMatch,
  PathRewrite,
  RetryPolicy,
  Route,
  RateLimit,
  RouteFilter,
  RouteMatch,
  RouteRule,
  TextMatch,
  WeightedBackend,
} from '../../model/route.ts'

/** What a rule without filters has besides its backends. */
export const PLAIN_RULE: RouteRule = {
  filters: [],
  backends: [],
  timeouts: { requestMs: undefined, backendRequestMs: undefined },
  retry: undefined,
  fault: undefined,
  rateLimits: [],
  sessionPersistence: undefined,
}

/** A match that every request satisfies. */
export const ANY_MATCH: RouteMatch = {
  path: undefined,
  method: undefined,
  authority: undefined,
  headers: [],
  query: [],
  sourceNamespace: undefined,
  sourceLabels: {},
}

/** A route of all requests to the given ports `namespace/hostname:port`, in equal shares. */
export function routeTo(...backends: readonly string[]): Route {
  const refs = backends.map((text): BackendRef => {
    const [service = '', port = ''] = text.split(':')
    return { service, port: Number(port), subset: undefined }
  })
  const weighted = refs.map((ref): WeightedBackend => ({ kind: 'service', weight: 1, filters: [], ref }))
  return { name: 'HTTPRoute/shop/test/0', match: ANY_MATCH, rule: { ...PLAIN_RULE, backends: weighted } }
}

/** A listener of port 80 of `SERVICE.shop` behind a gateway `namespace/name`. */
export function listenerOf(gateway: string, service: string, change: Partial<Listener> = {}): Listener {
  const key = `shop/${service}.shop.svc.cluster.local`
  return {
    name: `${gateway}/${key}/80`,
    gateway,
    service: key,
    port: 80,
    protocol: 'HTTP',
    routes: [],
    consumerRoutes: new Map(),
    rateLimits: [],
    authorization: [],
    isGrpcOnly: false,
    ...change,
  }
}

/** A backend of `SERVICE.shop` with the default policy. */
export function backendOf(service: string, change: Partial<Backend> = {}): Backend {
  const key = `shop/${service}.shop.svc.cluster.local`
  return { service: key, policy: DEFAULT_TRAFFIC_POLICY, ports: new Map(), subsets: [], ...change }
}

const record: typeof fc.record = <T, K extends keyof T>(model: { [key in keyof T]: fc.Arbitrary<T[key]> }, constraints?: object) =>
  fc.record<T, K>(model, { noNullPrototype: true, ...constraints } as fc.RecordConstraints<K>)
const maybe = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(value, { nil: undefined, freq: 2 })
const few = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(value, { maxLength: 3 })
const charsOf = (letters: string): fc.Arbitrary<string> => fc.constantFrom(...letters)
const label = fc.string({ unit: charsOf('abz09'), minLength: 1, maxLength: 6 })
const token = fc.string({ unit: charsOf("abz09-_.!#$%&'*+^`|~"), minLength: 1, maxLength: 8 })
const printable = fc.string({ unit: 'grapheme-ascii', maxLength: 12 })
// Everything but control characters and halves of surrogate pairs, which no UTF-8 text holds.
const value = fc
  .string({ unit: 'grapheme', maxLength: 12 })
  .filter((text) => text.isWellFormed() && [...text].every((char) => char === '\t' || (char >= ' ' && char !== '\x7f')))
const headerValue = fc.string({ unit: charsOf('aZ0 \t";=~\xe4\xff'), maxLength: 12 })
const port = fc.integer({ min: 1, max: 65_535 })
const amount = fc.oneof(
  fc.integer({ min: 0, max: 100_000 }),
  fc.double({ min: 0, max: 1e9, noNaN: true }).map((number) => number + 0),
)
const percent = fc.double({ min: 0, max: 100, noNaN: true }).map((number) => number + 0)
const count = fc.integer({ min: 0, max: 2 ** 32 - 1 })
const key = fc.tuple(label, fc.array(label, { minLength: 1, maxLength: 3 })).map(([namespace, host]) => `${namespace}/${host.join('.')}`)
const recordOf = <T>(of: fc.Arbitrary<T>): fc.Arbitrary<Record<string, T>> =>
  fc.array(fc.tuple(label, of), { maxLength: 3 }).map((entries) => Object.fromEntries(entries))

const text: fc.Arbitrary<TextMatch> = fc.oneof(
  record({ kind: fc.constantFrom('exact', 'prefix', 'regex'), value }),
  fc.constant<TextMatch>({ kind: 'present' }),
)
const named = (name: fc.Arbitrary<string>): fc.Arbitrary<NamedMatch> => record({ name, match: text, isInverted: fc.boolean() })
const header = fc.tuple(token, headerValue)
const edits = record({ set: few(header), add: few(header), remove: few(token) })
const rewrite: fc.Arbitrary<PathRewrite> = fc.oneof(
  record({ kind: fc.constant('full' as const), value: printable }),
  record({ kind: fc.constant('prefix' as const), prefix: value, value: printable }),
  record({ kind: fc.constant('regex' as const), pattern: value, substitution: printable }),
)
const ref: fc.Arbitrary<BackendRef> = record({ service: key, port, subset: maybe(printable) })

/** Any match of a route. */
export const anyRouteMatch: fc.Arbitrary<RouteMatch> = record({
  path: maybe(record({ kind: fc.constantFrom('exact', 'prefix', 'textPrefix', 'regex'), value, ignoresCase: fc.boolean() })),
  method: maybe(text),
  authority: maybe(text),
  headers: few(named(token)),
  query: few(named(value.filter((name) => name !== ''))),
  sourceNamespace: maybe(label),
  sourceLabels: recordOf(printable),
})

/** Any filter. */
export const anyRouteFilter: fc.Arbitrary<RouteFilter> = fc.oneof(
  record({ kind: fc.constantFrom('requestHeaders', 'responseHeaders'), edits }),
  record({
    kind: fc.constant('redirect' as const),
    scheme: maybe(fc.constantFrom('http', 'https')),
    hostname: maybe(label),
    port: maybe(port),
    path: maybe(rewrite),
    status: fc.integer({ min: 300, max: 399 }),
  }),
  record({ kind: fc.constant('rewrite' as const), hostname: maybe(label), path: maybe(rewrite) }),
  record({
    kind: fc.constant('mirror' as const),
    mirror: record({ backend: ref, numerator: count, denominator: count.map((number) => Math.max(1, number)) }),
  }),
  record({
    kind: fc.constant('cors' as const),
    policy: record({
      allowOrigins: few(printable),
      allowMethods: few(printable),
      allowHeaders: few(printable),
      exposeHeaders: few(printable),
      allowCredentials: fc.boolean(),
      maxAgeSeconds: amount,
    }),
  }),
)

const weighted: fc.Arbitrary<WeightedBackend> = fc.oneof(
  record({ kind: fc.constant('service' as const), weight: count, filters: few(anyRouteFilter), ref }),
  record({ kind: fc.constant('invalid' as const), weight: count, filters: few(anyRouteFilter), reason: value }),
)
const retry: fc.Arbitrary<RetryPolicy> = record({
  attempts: count,
  codes: few(fc.integer({ min: 100, max: 599 })),
  conditions: few(
    fc.constantFrom(
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
    ),
  ),
  backoffMs: amount,
  perTryMs: maybe(amount),
})
const rateLimit: fc.Arbitrary<LocalRateLimit> = record({
  policy: printable,
  requests: amount,
  perMs: amount.map((number) => Math.max(1, number)),
  burst: amount,
  keys: few(fc.oneof(fc.constant({ kind: 'identity' as const }), record({ kind: fc.constant('header' as const), name: token }))),
})
const entryKey = printable
const globalLimit: fc.Arbitrary<GlobalRateLimit> = record({
  policy: printable,
  service: record({ service: key, port, subset: fc.constant(undefined) }),
  domain: printable,
  descriptors: few(
    few(
      fc.oneof(
        record({ kind: fc.constantFrom('identity', 'route'), key: entryKey }),
        record({ kind: fc.constant('header' as const), key: entryKey, name: token }),
        record({ kind: fc.constant('text' as const), key: entryKey, value: printable }),
      ),
    ),
  ),
  timeoutMs: fc.integer({ min: 1, max: 60_000 }),
  failsOpen: fc.boolean(),
})
const anyLimit: fc.Arbitrary<RateLimit> = fc.oneof(rateLimit, globalLimit)

/** Any rule. */
export const anyRouteRule: fc.Arbitrary<RouteRule> = record({
  filters: few(anyRouteFilter),
  backends: few(weighted),
  timeouts: record({ requestMs: maybe(amount), backendRequestMs: maybe(amount) }),
  retry: maybe(retry),
  fault: maybe(
    record({
      delay: maybe(record({ fixedMs: amount, percent })),
      abort: maybe(record({ status: fc.integer({ min: 200, max: 599 }), grpcStatus: maybe(count), percent })),
    }),
  ),
  rateLimits: few(anyLimit),
  sessionPersistence: maybe(
    record({
      name: token,
      kind: fc.constantFrom('cookie', 'header'),
      cookiePath: printable,
      absoluteTimeoutSeconds: maybe(amount),
    }),
  ),
})

/** Any listener; its routes share a few rules, as translated ones do. */
export const anyListener: fc.Arbitrary<Listener> = fc
  .tuple(fc.array(anyRouteRule, { minLength: 1, maxLength: 3 }), key, key, port)
  .chain(([rules, gateway, service, number]) => {
    const route: fc.Arbitrary<Route> = record({ name: printable, match: anyRouteMatch, rule: fc.constantFrom(...rules) })
    return record({
      name: fc.constant(`${gateway}/${service}/${number}`),
      gateway: fc.constant(gateway),
      service: fc.constant(service),
      port: fc.constant(number),
      protocol: fc.constantFrom('HTTP', 'TCP', 'DETECT'),
      routes: few(route),
      consumerRoutes: few(fc.tuple(label, few(route))).map((entries) => new Map(entries)),
      rateLimits: few(anyLimit),
      authorization: fc.constant([]),
      isGrpcOnly: fc.boolean(),
    })
  })

const hashKey: fc.Arbitrary<HashKey> = fc.oneof(
  record({ kind: fc.constant('header' as const), name: token }),
  record({ kind: fc.constant('query' as const), name: value }),
  record({ kind: fc.constant('cookie' as const), name: token, path: printable, ttlSeconds: maybe(amount) }),
  fc.constant<HashKey>({ kind: 'sourceIp' }),
)
const balancer: fc.Arbitrary<BalancerPolicy> = fc.oneof(
  record({ kind: fc.constantFrom('leastRequest', 'roundRobin', 'random') }),
  record({ kind: fc.constant('ringHash' as const), keys: few(hashKey), minimumRingSize: fc.integer({ min: 0, max: 8_388_608 }) }),
  record({ kind: fc.constant('maglev' as const), keys: few(hashKey), tableSize: fc.integer({ min: 1, max: 5_000_011 }) }),
)
const outlier: fc.Arbitrary<OutlierDetection> = record({
  consecutive5xx: maybe(count),
  consecutiveGatewayErrors: maybe(count),
  intervalMs: amount,
  baseEjectionMs: amount,
  maxEjectionPercent: percent,
  minHealthPercent: percent,
})
const locality: fc.Arbitrary<LocalityPolicy> = record({
  isEnabled: fc.boolean(),
  distribute: few(record({ from: printable, to: recordOf(amount) })),
  failover: few(record({ from: printable, to: printable })),
  failoverPriority: few(printable),
})

/** Any traffic policy. */
export const anyTrafficPolicy: fc.Arbitrary<TrafficPolicy> = record({
  balancer,
  warmupMs: maybe(amount),
  locality: maybe(locality),
  outlier: maybe(outlier),
  limits: record({
    maxConnections: maybe(count),
    connectTimeoutMs: amount,
    maxPendingRequests: maybe(count),
    maxRequests: maybe(count),
    maxRequestsPerConnection: maybe(count),
    maxRetries: maybe(count),
    idleTimeoutMs: maybe(amount),
  }),
  http: maybe(fc.constantFrom('HTTP/1.1', 'HTTP/2')),
})

/** Any backend. */
export const anyBackend: fc.Arbitrary<Backend> = record({
  service: key,
  policy: anyTrafficPolicy,
  ports: few(fc.tuple(port, anyTrafficPolicy)).map((entries) => new Map(entries)),
  subsets: fc.uniqueArray(record({ name: printable.filter((name) => name !== ''), workloads: few(printable), policy: anyTrafficPolicy }), {
    selector: ({ name }) => name,
    maxLength: 3,
  }),
})
