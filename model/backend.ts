// How a waypoint treats the endpoints of a service: choice, limits, ejection. Made from DestinationRule by controlplane/translate,
// carried as weft.gateway.v1.Backend, used by waypoint/. Absent = DEFAULT_BACKEND.
import type { ServiceKey } from './workload.ts'

/** What a hash is made of; the first that a request has counts. */
export type HashKey =
  | { readonly kind: 'header'; readonly name: string }
  | { readonly kind: 'query'; readonly name: string }
  | { readonly kind: 'cookie'; readonly name: string; readonly path: string; readonly ttlSeconds: number | undefined }
  | { readonly kind: 'sourceIp' }

/** How one of several endpoints is chosen. */
export type BalancerPolicy =
  | { readonly kind: 'leastRequest' }
  | { readonly kind: 'roundRobin' }
  | { readonly kind: 'random' }
  | { readonly kind: 'ringHash'; readonly keys: readonly HashKey[]; readonly minimumRingSize: number }
  | { readonly kind: 'maglev'; readonly keys: readonly HashKey[]; readonly tableSize: number }

/** Ejection of endpoints that fail (Envoy's outlier detection, as DestinationRule names it). */
export interface OutlierDetection {
  readonly consecutive5xx: number | undefined
  readonly consecutiveGatewayErrors: number | undefined
  readonly intervalMs: number
  readonly baseEjectionMs: number
  /** At most this share of the endpoints is ejected, 0–100; at least one may always be. */
  readonly maxEjectionPercent: number
  /** Below this share of healthy endpoints, 0–100, ejection is ignored (panic). */
  readonly minHealthPercent: number
}

/** Limits per backend in each proxy; undefined = none. What is over a limit gets 503 at once. */
export interface ConnectionLimits {
  readonly maxConnections: number | undefined
  readonly connectTimeoutMs: number
  readonly maxPendingRequests: number | undefined
  readonly maxRequests: number | undefined
  readonly maxRequestsPerConnection: number | undefined
  readonly maxRetries: number | undefined
  readonly idleTimeoutMs: number | undefined
}

/** Share of the traffic from one locality. Keys `region`, `region/zone`, `region/zone/subzone`, with `*`. */
export interface LocalityDistribution {
  readonly from: string
  readonly to: Readonly<Record<string, number>>
}

/** Which endpoints are near enough. */
export interface LocalityPolicy {
  readonly isEnabled: boolean
  readonly distribute: readonly LocalityDistribution[]
  readonly failover: readonly { readonly from: string; readonly to: string }[]
  /** Labels in the order of their weight. */
  readonly failoverPriority: readonly string[]
}

/** One traffic policy. */
export interface TrafficPolicy {
  readonly balancer: BalancerPolicy
  /** New endpoints reach their full share over this time; undefined = at once. */
  readonly warmupMs: number | undefined
  readonly locality: LocalityPolicy | undefined
  readonly outlier: OutlierDetection | undefined
  readonly limits: ConnectionLimits
  /** HTTP version towards endpoints; undefined = as the service's port says, else HTTP/1.1. */
  readonly http: 'HTTP/1.1' | 'HTTP/2' | undefined
}

/** A subset: endpoints whose pods have these labels. */
export interface BackendSubset {
  readonly name: string
  /** Uids of the workloads in it. */
  readonly workloads: readonly string[]
  readonly policy: TrafficPolicy
}

/** The resource: named by its service. */
export interface Backend {
  readonly service: ServiceKey
  readonly policy: TrafficPolicy
  /** Policies of single ports, whole. */
  readonly ports: ReadonlyMap<number, TrafficPolicy>
  readonly subsets: readonly BackendSubset[]
}

/** What holds for a service without a DestinationRule: Istio's defaults. */
export const DEFAULT_TRAFFIC_POLICY: TrafficPolicy = Object.freeze({
  balancer: { kind: 'leastRequest' },
  warmupMs: undefined,
  locality: undefined,
  outlier: undefined,
  limits: {
    maxConnections: undefined,
    connectTimeoutMs: 10_000,
    maxPendingRequests: undefined,
    maxRequests: undefined,
    maxRequestsPerConnection: undefined,
    maxRetries: undefined,
    idleTimeoutMs: undefined,
  },
  http: undefined,
} as const)
