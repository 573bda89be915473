// What a waypoint does with HTTP requests to one port of one service: routes in order of precedence, each with filters,
// backends, timeouts, retries, faults and limits. Made by controlplane/translate, carried as weft.gateway.v1.Listener,
// evaluated by policy/http/. Semantics: Gateway API v1 (HTTPRoute, GRPCRoute) and Istio's VirtualService.
import type { HeaderField } from './http.ts'
import type { HttpPolicy } from './http-policy.ts'
import type { ServiceKey } from './workload.ts'

/** How a text is compared. `regex` is RE2 syntax and must match the whole text; `present` = any value, also an empty one. */
export type TextMatch = { readonly kind: 'exact' | 'prefix' | 'regex'; readonly value: string } | { readonly kind: 'present' }

/** `prefix` compares whole path elements (`/a` matches `/a`, `/a/b`, not `/ab`); `textPrefix` compares characters. */
export interface PathMatch {
  readonly kind: 'exact' | 'prefix' | 'textPrefix' | 'regex'
  readonly value: string
  readonly ignoresCase: boolean
}

/** A named value that must match (or must not, when inverted). Header names in lower case. */
export interface NamedMatch {
  readonly name: string
  readonly match: TextMatch
  readonly isInverted: boolean
}

/** All given parts must hold. An absent part holds always. */
export interface RouteMatch {
  readonly path: PathMatch | undefined
  readonly method: TextMatch | undefined
  readonly authority: TextMatch | undefined
  readonly headers: readonly NamedMatch[]
  readonly query: readonly NamedMatch[]
  /** The caller's namespace (VirtualService `sourceNamespace`). */
  readonly sourceNamespace: string | undefined
  /** Labels that the caller's pod must have (VirtualService `sourceLabels`): only `app` and `version` are known to proxies. */
  readonly sourceLabels: Readonly<Record<string, string>>
}

/** Edits of headers: `set` replaces every field of that name, `add` appends one, `remove` drops all. Applied in this order: remove, set, add. */
export interface HeaderEdits {
  readonly set: readonly HeaderField[]
  readonly add: readonly HeaderField[]
  readonly remove: readonly string[]
}

/** A new path: all of it, what the matched prefix becomes, or a regex with `\1` substitutions. */
export type PathRewrite =
  | { readonly kind: 'full'; readonly value: string }
  | { readonly kind: 'prefix'; readonly prefix: string; readonly value: string }
  | { readonly kind: 'regex'; readonly pattern: string; readonly substitution: string }

/** Requests are copied to a backend and its answers are dropped. Share = numerator / denominator. */
export interface Mirror {
  readonly backend: BackendRef
  readonly numerator: number
  readonly denominator: number
}

/** Cross-origin rules; `*` in an origin stands for any characters. */
export interface CorsPolicy {
  readonly allowOrigins: readonly string[]
  readonly allowMethods: readonly string[]
  readonly allowHeaders: readonly string[]
  readonly exposeHeaders: readonly string[]
  readonly allowCredentials: boolean
  readonly maxAgeSeconds: number
}

/** A filter of a rule or of one backend, applied in the order given. */
export type RouteFilter =
  | { readonly kind: 'requestHeaders'; readonly edits: HeaderEdits }
  | { readonly kind: 'responseHeaders'; readonly edits: HeaderEdits }
  | {
      readonly kind: 'redirect'
      readonly scheme: 'http' | 'https' | undefined
      readonly hostname: string | undefined
      readonly port: number | undefined
      readonly path: PathRewrite | undefined
      readonly status: number
    }
  | { readonly kind: 'rewrite'; readonly hostname: string | undefined; readonly path: PathRewrite | undefined }
  | { readonly kind: 'mirror'; readonly mirror: Mirror }
  | { readonly kind: 'cors'; readonly policy: CorsPolicy }

/** A port of a service, optionally only the endpoints of one subset (DestinationRule). */
export interface BackendRef {
  readonly service: ServiceKey
  readonly port: number
  readonly subset: string | undefined
}

/** One choice of a rule. `invalid` keeps its share of the requests and answers 500 (gRPC: UNAVAILABLE). */
export type WeightedBackend = { readonly weight: number; readonly filters: readonly RouteFilter[] } & (
  | { readonly kind: 'service'; readonly ref: BackendRef }
  | { readonly kind: 'invalid'; readonly reason: string }
)

/** What makes another try worth it, besides `codes`. Names follow Envoy's `retry_on`. */
export type RetryCondition =
  | 'connect-failure'
  | 'refused-stream'
  | 'reset'
  | 'reset-before-request'
  | 'gateway-error'
  | '5xx'
  | 'retriable-4xx'
  | 'cancelled'
  | 'deadline-exceeded'
  | 'resource-exhausted'
  | 'unavailable'
  | 'internal'

/** Further tries of a request. */
export interface RetryPolicy {
  /** Tries beyond the first, ≥ 0. */
  readonly attempts: number
  readonly codes: readonly number[]
  readonly conditions: readonly RetryCondition[]
  /** Least pause before the first retry; doubles with each, with jitter, at most 10 times this. */
  readonly backoffMs: number
  /** Limit of one try; undefined = backendRequestMs of the rule. */
  readonly perTryMs: number | undefined
}

/** Limits in ms; undefined = none. `requestMs` covers all tries and the pauses between them. */
export interface RouteTimeouts {
  readonly requestMs: number | undefined
  readonly backendRequestMs: number | undefined
}

/** Injected faults; percentages 0–100 with fractions. */
export interface FaultPolicy {
  readonly delay: { readonly fixedMs: number; readonly percent: number } | undefined
  readonly abort: { readonly status: number; readonly grpcStatus: number | undefined; readonly percent: number } | undefined
}

/** What requests share a token bucket: those with equal values of all keys. */
export type RateLimitKey = { readonly kind: 'identity' } | { readonly kind: 'header'; readonly name: string }

/** A token bucket per key, kept by each proxy for itself. */
export interface LocalRateLimit {
  /** `namespace/name` of the policy, for metrics and messages. */
  readonly policy: string
  readonly requests: number
  readonly perMs: number
  readonly burst: number
  readonly keys: readonly RateLimitKey[]
}

/** One key and value of a descriptor. `route` = the name of the request's route. */
export type DescriptorEntry =
  | { readonly kind: 'identity' | 'route'; readonly key: string }
  | { readonly kind: 'header'; readonly key: string; readonly name: string }
  | { readonly kind: 'text'; readonly key: string; readonly value: string }

/** A limit that Envoy's rate limit service (envoy.service.ratelimit.v3) keeps, for all proxies together. */
export interface GlobalRateLimit {
  /** `namespace/name` of the policy, for metrics and messages. */
  readonly policy: string
  readonly service: BackendRef
  readonly domain: string
  /** A descriptor with a header that a request lacks is not sent for it, as Envoy does. */
  readonly descriptors: readonly (readonly DescriptorEntry[])[]
  readonly timeoutMs: number
  /** Whether requests pass while the service does not answer; else they get 500. */
  readonly failsOpen: boolean
}

/** A limit of requests; a global one is told by its `domain`. */
export type RateLimit = LocalRateLimit | GlobalRateLimit

/** Requests of one session go to one endpoint. */
export interface SessionPersistence {
  readonly name: string
  readonly kind: 'cookie' | 'header'
  readonly cookiePath: string
  /** Undefined = a session cookie. */
  readonly absoluteTimeoutSeconds: number | undefined
}

/** What happens to the requests that a rule's matches select. Its filters may answer (redirect, CORS); else a backend does. */
export interface RouteRule {
  readonly filters: readonly RouteFilter[]
  readonly backends: readonly WeightedBackend[]
  readonly timeouts: RouteTimeouts
  readonly retry: RetryPolicy | undefined
  readonly fault: FaultPolicy | undefined
  readonly rateLimits: readonly RateLimit[]
  readonly sessionPersistence: SessionPersistence | undefined
}

/** One match of one rule; several routes may share a rule. */
export interface Route {
  /** `HTTPRoute/NAMESPACE/NAME/RULE` (`…/RULE-NAME` when the rule has one), for logs, metrics and spans. */
  readonly name: string
  readonly match: RouteMatch
  readonly rule: RouteRule
}

/** `DETECT` = decided by the first bytes of each connection; `TCP` = carried as it is. */
export type ListenerProtocol = 'HTTP' | 'TCP' | 'DETECT'

/** One port of one service behind one gateway. */
export interface Listener {
  /** `GATEWAY-NAMESPACE/GATEWAY/SERVICE-NAMESPACE/HOSTNAME/PORT`; the resource's name. */
  readonly name: string
  /** `namespace/name` of the Gateway object that serves it. */
  readonly gateway: string
  readonly service: ServiceKey
  readonly port: number
  readonly protocol: ListenerProtocol
  /** In order of precedence: the first that matches counts. Empty = everything goes to the service itself. */
  readonly routes: readonly Route[]
  /** Routes of callers' own namespaces, which replace `routes` for callers from there. */
  readonly consumerRoutes: ReadonlyMap<string, readonly Route[]>
  /** Policies that come before everything else. */
  readonly authorization: readonly HttpPolicy[]
  /** Limits that come before any route. */
  readonly rateLimits: readonly RateLimit[]
  /** No match answers 404, or for gRPC-only listeners UNIMPLEMENTED. */
  readonly isGrpcOnly: boolean
}
