// trafficPolicy of a DestinationRule -> TrafficPolicy. What is not supported is noted; the rest is in force.
import { type ConnectionLimits, DEFAULT_TRAFFIC_POLICY, type OutlierDetection, type TrafficPolicy } from '../../../model/backend.ts'
import type { IstioConnectionPool, IstioOutlierDetection, IstioPortPolicy } from '../../../model/istio-networking.ts'
import type { Note } from '../mesh.ts'
import { balancerOf, localityOf, warmupOf } from './balancer.ts'
import { goDurationMs } from './duration.ts'

/** Envoy's defaults, which Istio keeps. */
const OUTLIER = { consecutive5xx: 5, intervalMs: 10_000, baseEjectionMs: 30_000, maxEjectionPercent: 10 }
const TLS_OF_THE_MESH: ReadonlySet<string> = new Set(['DISABLE', 'ISTIO_MUTUAL'])

/** @param field path of the policy, for notes */
export function trafficPolicyOf(policy: IstioPortPolicy, field: string, note: Note): TrafficPolicy {
  const { loadBalancer = {}, connectionPool = {}, outlierDetection, tls } = policy
  const mode = tls?.mode ?? 'DISABLE'
  if (!TLS_OF_THE_MESH.has(mode)) note(`${field}.tls.mode`, `${mode} is not supported: inside the mesh it is mutual TLS anyway`)
  const place = `${field}.loadBalancer`
  return {
    balancer: balancerOf(loadBalancer, place, note),
    warmupMs: warmupOf(loadBalancer, place, note),
    locality: localityOf(loadBalancer, outlierDetection !== undefined, place, note),
    outlier: outlierDetection === undefined ? undefined : outlierOf(outlierDetection, `${field}.outlierDetection`, note),
    limits: limitsOf(connectionPool, `${field}.connectionPool`, note),
    http: connectionPool.http?.h2UpgradePolicy === 'UPGRADE' ? 'HTTP/2' : undefined,
  }
}

/** 0 = Envoy's default, which is no limit (or one so high that it is none here). */
function limitsOf({ tcp = {}, http = {} }: IstioConnectionPool, field: string, note: Note): ConnectionLimits {
  for (const part of ['tcpKeepalive', 'maxConnectionDuration', 'idleTimeout'] as const)
    if (tcp[part] !== undefined) note(`${field}.tcp.${part}`, 'is not supported')
  if (http.useClientProtocol === true) note(`${field}.http.useClientProtocol`, 'is not supported')
  if (http.maxConcurrentStreams !== undefined) note(`${field}.http.maxConcurrentStreams`, 'is not supported')
  const count = (value: number | undefined): number | undefined => (value === 0 ? undefined : value)
  const time = (text: string | undefined): number | undefined => (text === undefined ? undefined : count(goDurationMs(text)))
  return {
    maxConnections: count(tcp.maxConnections),
    connectTimeoutMs: time(tcp.connectTimeout) ?? DEFAULT_TRAFFIC_POLICY.limits.connectTimeoutMs,
    maxPendingRequests: count(http.http1MaxPendingRequests),
    maxRequests: count(http.http2MaxRequests),
    maxRequestsPerConnection: count(http.maxRequestsPerConnection),
    maxRetries: count(http.maxRetries),
    idleTimeoutMs: time(http.idleTimeout),
  }
}

/** 0 errors = that kind of error ejects nobody. */
function outlierOf(outlier: IstioOutlierDetection, field: string, note: Note): OutlierDetection {
  for (const part of ['consecutiveErrors', 'splitExternalLocalOriginErrors', 'consecutiveLocalOriginFailures'] as const)
    if (outlier[part] !== undefined) note(`${field}.${part}`, 'is not supported')
  const {
    consecutive5xxErrors,
    consecutiveGatewayErrors,
    interval,
    baseEjectionTime,
    maxEjectionPercent = 0,
    minHealthPercent = 0,
  } = outlier
  const count = (value: number | undefined): number | undefined => (value === 0 ? undefined : value)
  const time = (text: string | undefined, usual: number): number => (text === undefined ? 0 : goDurationMs(text)) || usual
  return {
    consecutive5xx: consecutive5xxErrors === undefined ? OUTLIER.consecutive5xx : count(consecutive5xxErrors),
    consecutiveGatewayErrors: count(consecutiveGatewayErrors),
    intervalMs: time(interval, OUTLIER.intervalMs),
    baseEjectionMs: time(baseEjectionTime, OUTLIER.baseEjectionMs),
    maxEjectionPercent: maxEjectionPercent === 0 ? OUTLIER.maxEjectionPercent : maxEjectionPercent,
    minHealthPercent,
  }
}
