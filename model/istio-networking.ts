// Istio's traffic objects (networking.istio.io/v1) and the mesh's own RateLimitPolicy (weft.dev/v1alpha1) as translation reads them.
// Made by objects/ after validation by objects/schema/{virtual-service,destination-rule,rate-limit}.ts. Durations are Go's (`1.5s`).
import type { Condition, MeshObject, StringMap } from './object.ts'

/** Group of VirtualService and DestinationRule. */
export const ISTIO_NETWORKING_GROUP = 'networking.istio.io'

/** Group of the mesh's own kinds. */
export const WEFT_GROUP = 'weft.dev'

/** At most one is given; none = any value, as long as there is one. */
export interface IstioStringMatch {
  readonly exact?: string
  readonly prefix?: string
  readonly regex?: string
}

/** One match of a VirtualService's HTTP entry; all parts must hold. */
export interface IstioHttpMatch {
  readonly name?: string
  readonly uri?: IstioStringMatch
  readonly ignoreUriCase?: boolean
  readonly scheme?: IstioStringMatch
  readonly method?: IstioStringMatch
  readonly authority?: IstioStringMatch
  readonly headers?: Readonly<Record<string, IstioStringMatch>>
  readonly withoutHeaders?: Readonly<Record<string, IstioStringMatch>>
  readonly queryParams?: Readonly<Record<string, IstioStringMatch>>
  readonly port?: number
  readonly sourceNamespace?: string
  readonly sourceLabels?: StringMap
  readonly gateways?: readonly string[]
  readonly statPrefix?: string
}

/** Where requests go. Without a port: the service's only one, else the port that was asked for. */
export interface IstioDestination {
  readonly host: string
  readonly subset?: string
  readonly port?: { readonly number?: number }
}

/** Edits of headers of one direction. */
export interface IstioHeaderOperations {
  readonly set?: StringMap
  readonly add?: StringMap
  readonly remove?: readonly string[]
}

/** Edits of headers. */
export interface IstioHeaders {
  readonly request?: IstioHeaderOperations
  readonly response?: IstioHeaderOperations
}

/** One weighted destination. */
export interface IstioRouteDestination {
  readonly destination: IstioDestination
  readonly weight?: number
  readonly headers?: IstioHeaders
}

/** 0–100 with fractions. */
export interface IstioPercent {
  readonly value?: number
}

/** Faults of an HTTP entry. */
export interface IstioFault {
  readonly delay?: {
    readonly fixedDelay?: string
    readonly exponentialDelay?: string
    readonly percentage?: IstioPercent
    readonly percent?: number
  }
  readonly abort?: {
    readonly httpStatus?: number
    /** Name or number. */
    readonly grpcStatus?: string
    readonly http2Error?: string
    readonly percentage?: IstioPercent
  }
}

/** Retries of an HTTP entry. */
export interface IstioRetries {
  readonly attempts?: number
  readonly perTryTimeout?: string
  /** Comma-separated conditions and status codes. */
  readonly retryOn?: string
  readonly retryRemoteLocalities?: boolean
  readonly retryIgnorePreviousHosts?: boolean
  readonly backoff?: string
}

/** Cross-origin rules of an HTTP entry. */
export interface IstioCorsPolicy {
  readonly allowOrigin?: readonly string[]
  readonly allowOrigins?: readonly IstioStringMatch[]
  readonly allowMethods?: readonly string[]
  readonly allowHeaders?: readonly string[]
  readonly exposeHeaders?: readonly string[]
  readonly maxAge?: string
  readonly allowCredentials?: boolean
  readonly unmatchedPreflights?: string
}

/** What a regex rewrites. */
export interface IstioRegexRewrite {
  readonly match?: string
  readonly rewrite?: string
}

/** Answer in place of a backend's. */
export interface IstioRedirect {
  readonly uri?: string
  readonly authority?: string
  readonly port?: number
  readonly derivePort?: 'FROM_PROTOCOL_DEFAULT' | 'FROM_REQUEST_PORT'
  readonly scheme?: string
  readonly redirectCode?: number
  readonly uriRegexRewrite?: IstioRegexRewrite
}

/** One entry of `http`; the first that matches counts. */
export interface IstioHttpRoute {
  readonly name?: string
  readonly match?: readonly IstioHttpMatch[]
  readonly route?: readonly IstioRouteDestination[]
  readonly redirect?: IstioRedirect
  readonly directResponse?: unknown
  readonly delegate?: unknown
  readonly rewrite?: { readonly uri?: string; readonly authority?: string; readonly uriRegexRewrite?: IstioRegexRewrite }
  readonly timeout?: string
  readonly retries?: IstioRetries
  readonly fault?: IstioFault
  readonly mirror?: IstioDestination
  readonly mirrors?: readonly { readonly destination: IstioDestination; readonly percentage?: IstioPercent }[]
  readonly mirrorPercent?: number
  readonly mirrorPercentage?: IstioPercent
  readonly corsPolicy?: IstioCorsPolicy
  readonly headers?: IstioHeaders
}

/** What a VirtualService says. */
export interface VirtualServiceSpec {
  readonly hosts?: readonly string[]
  /** Absent = `mesh`. */
  readonly gateways?: readonly string[]
  readonly http?: readonly IstioHttpRoute[]
  readonly tls?: readonly unknown[]
  readonly tcp?: readonly unknown[]
  /** Absent = `*`. */
  readonly exportTo?: readonly string[]
}

/** Routes for hosts. */
export type VirtualService = MeshObject<VirtualServiceSpec, { readonly conditions?: readonly Condition[] }>

/** Choice of endpoints. */
export interface IstioLoadBalancer {
  readonly simple?: string
  readonly consistentHash?: {
    readonly httpHeaderName?: string
    readonly httpCookie?: { readonly name: string; readonly path?: string; readonly ttl?: string; readonly attributes?: readonly unknown[] }
    readonly useSourceIp?: boolean
    readonly httpQueryParameterName?: string
    readonly ringHash?: { readonly minimumRingSize?: number }
    readonly maglev?: { readonly tableSize?: number }
    readonly minimumRingSize?: number
  }
  readonly localityLbSetting?: {
    readonly distribute?: readonly { readonly from?: string; readonly to?: Readonly<Record<string, number>> }[]
    readonly failover?: readonly { readonly from?: string; readonly to?: string }[]
    readonly failoverPriority?: readonly string[]
    readonly enabled?: boolean
  }
  readonly warmupDurationSecs?: string
  readonly warmup?: { readonly duration?: string; readonly minimumPercent?: number; readonly aggression?: number }
}

/** Limits of connections and requests. */
export interface IstioConnectionPool {
  readonly tcp?: {
    readonly maxConnections?: number
    readonly connectTimeout?: string
    readonly tcpKeepalive?: unknown
    readonly maxConnectionDuration?: string
    readonly idleTimeout?: string
  }
  readonly http?: {
    readonly http1MaxPendingRequests?: number
    readonly http2MaxRequests?: number
    readonly maxRequestsPerConnection?: number
    readonly maxRetries?: number
    readonly idleTimeout?: string
    readonly h2UpgradePolicy?: 'DEFAULT' | 'DO_NOT_UPGRADE' | 'UPGRADE'
    readonly useClientProtocol?: boolean
    readonly maxConcurrentStreams?: number
  }
}

/** Ejection of endpoints. */
export interface IstioOutlierDetection {
  readonly consecutiveErrors?: number
  readonly splitExternalLocalOriginErrors?: boolean
  readonly consecutiveLocalOriginFailures?: number
  readonly consecutiveGatewayErrors?: number
  readonly consecutive5xxErrors?: number
  readonly interval?: string
  readonly baseEjectionTime?: string
  readonly maxEjectionPercent?: number
  readonly minHealthPercent?: number
}

/** Policy of one port, whole. */
export interface IstioPortPolicy {
  readonly loadBalancer?: IstioLoadBalancer
  readonly connectionPool?: IstioConnectionPool
  readonly outlierDetection?: IstioOutlierDetection
  readonly tls?: { readonly mode?: string }
}

/** Policy of a service or of a subset. */
export interface IstioTrafficPolicy extends IstioPortPolicy {
  readonly portLevelSettings?: readonly (IstioPortPolicy & { readonly port?: { readonly number?: number } })[]
  readonly tunnel?: unknown
  readonly proxyProtocol?: unknown
  readonly retryBudget?: unknown
}

/** What a DestinationRule says. */
export interface DestinationRuleSpec {
  readonly host: string
  readonly trafficPolicy?: IstioTrafficPolicy
  readonly subsets?: readonly { readonly name: string; readonly labels?: StringMap; readonly trafficPolicy?: IstioTrafficPolicy }[]
  readonly exportTo?: readonly string[]
  readonly workloadSelector?: unknown
}

/** How the endpoints of a host are treated. */
export type DestinationRule = MeshObject<DestinationRuleSpec, { readonly conditions?: readonly Condition[] }>

/** Target of a RateLimitPolicy, in the policy's namespace. `sectionName`: a port's name of a Service or ServiceEntry, a rule's name of an HTTPRoute. */
export interface RateLimitTarget {
  readonly group?: string
  readonly kind: 'Service' | 'ServiceEntry' | 'HTTPRoute' | 'Gateway'
  readonly name: string
  readonly sectionName?: string
}

/** Token bucket: `requests` per `per` (a duration), at most `burst` at once. `by`: whose requests share a bucket. */
export interface RateLimitSpec {
  readonly requests: number
  readonly per: string
  readonly burst?: number
  readonly by?: readonly ('identity' | { readonly header: string })[]
}

/** One key and value of a descriptor; keys default to `source_identity`, `route` and the header's name. */
export type DescriptorEntrySpec =
  | 'identity'
  | 'route'
  | { readonly header: string; readonly key?: string }
  | { readonly key: string; readonly value: string }

/** Limits that a service (Envoy's rate limit service, gRPC) keeps. Defaults: the policy's namespace, 100ms, `closed`. */
export interface GlobalRateLimitSpec {
  readonly service: { readonly name: string; readonly namespace?: string; readonly port: number }
  readonly domain: string
  readonly descriptors: readonly { readonly entries: readonly DescriptorEntrySpec[] }[]
  readonly timeout?: string
  readonly failureMode?: 'open' | 'closed'
}

/** What a RateLimitPolicy says: limits of each proxy, global ones, or both. */
export interface RateLimitPolicySpec {
  readonly targetRefs: readonly RateLimitTarget[]
  readonly limits?: readonly RateLimitSpec[]
  readonly global?: GlobalRateLimitSpec
}

/** Limits of requests. */
export type RateLimitPolicy = MeshObject<RateLimitPolicySpec, { readonly conditions?: readonly Condition[] }>
