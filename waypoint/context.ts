// What all requests and connections of a waypoint work with. Made by app.ts; everybody else only reads it.
import type { Clock } from '../kit/clock.ts'
import type { Log } from '../kit/log.ts'
import type { IpAddress } from '../model/address.ts'
import type { Identity, SpiffeId } from '../model/identity.ts'
import type { RequestHead } from '../model/http.ts'
import type { HttpPolicy } from '../model/http-policy.ts'
import type { Workload } from '../model/workload.ts'
import { authorize } from '../policy/http/authorize.ts'
import { judgeHttp } from '../policy/http/judge.ts'
import { explain } from '../policy/l4.ts'
import type { TokenBuckets } from '../policy/http/rate-limit.ts'
import type { RouteSource } from '../policy/http/table.ts'
import type { AccessLog } from '../telemetry/access-log.ts'
import type { RecordBook } from '../telemetry/connection-record.ts'
import type { TcpMetrics } from '../telemetry/metrics.ts'
import type { RequestTracer } from '../telemetry/trace-span.ts'
import type { BalancedEndpoint } from './balance/endpoint.ts'
import type { Clusters } from './clusters.ts'
import type { Configuration } from './config.ts'
import type { Self, Target } from './decide.ts'
import type { Dialer } from './dial.ts'
import { waypointFailure } from './errors.ts'
import type { GlobalLimits } from './global-limits.ts'
import type { LiveConnections } from './live.ts'
import type { RequestRecorder } from './record.ts'
import type { WaypointSettings } from './settings.ts'

/** One waypoint. */
export interface WaypointContext {
  readonly settings: WaypointSettings
  readonly clock: Clock
  readonly log: Log
  /** 0 ≤ x < 1 */
  readonly random: () => number
  /** A fresh request ID. */
  readonly newId: () => string
  readonly identity: Identity
  readonly self: Self
  readonly config: Configuration
  readonly clusters: Clusters
  readonly dialer: Dialer
  readonly buckets: TokenBuckets
  readonly globalLimits: GlobalLimits
  readonly recorder: RequestRecorder
  readonly access: AccessLog
  /** What is carried as it is. */
  readonly tcp: { readonly records: RecordBook; readonly metrics: TcpMetrics }
  /** Undefined = no collector is named: trace headers pass as they are. */
  readonly tracing: RequestTracer | undefined
  readonly live: LiveConnections
}

/** The verified other end of a tunnel: whose requests these are. */
export interface Client {
  readonly id: SpiffeId
  readonly identity: Identity
  readonly ip: IpAddress
  readonly port: number
  /** The workload with this address, if it has this identity. */
  readonly workload: Workload | undefined
  readonly source: RouteSource
}

/** One tunnel that came in. */
export interface Downstream {
  readonly client: Client
  readonly target: Target
  /** Of the CONNECT; it was parsed. */
  readonly authority: string
}

/**
 * The destination's L4 policies, for the original client.
 * @returns undefined = allowed; else POLICY_DENIED
 */
export function refusalFor(
  client: Client,
  endpoint: BalancedEndpoint,
  waypoint: WaypointContext,
): ReturnType<typeof waypointFailure> | undefined {
  const { to, workload } = endpoint
  const verdict = authorize(
    waypoint.config.mesh.policiesFor(workload),
    { source: client.identity, sourceIp: client.ip, destinationIp: to.ip, destinationPort: to.port },
    waypoint.identity,
  )
  return verdict.isAllowed ? undefined : waypointFailure('POLICY_DENIED', { reason: explain(verdict) })
}

/**
 * The policies of the service or of this waypoint, for the original client.
 * @param head undefined = it is no HTTP
 * @returns undefined = allowed; else POLICY_DENIED
 */
export function serviceRefusalFor(
  { client, target }: Downstream,
  head: RequestHead | undefined,
  config: Configuration,
): ReturnType<typeof waypointFailure> | undefined {
  const policies = policiesOf(target, config)
  if (policies.length === 0) return undefined
  const { ip } = client
  // The port is the one that was asked for; the endpoint is not chosen yet, and no policy that is let through asks for its address.
  const to = target.to ?? { ip, port: target.kind === 'service' ? target.port : 0 }
  const connection = { source: client.identity, sourceIp: ip, destinationIp: to.ip, destinationPort: to.port }
  const verdict = judgeHttp(policies, connection, head)
  return verdict.isAllowed ? undefined : waypointFailure('POLICY_DENIED', { reason: explain(verdict) })
}

function policiesOf(target: Target, config: Configuration): readonly HttpPolicy[] {
  if (target.kind === 'workload') return config.gatewayPolicies
  return (config.listenerFor(target.entry.listener.service, target.port) ?? target.entry).listener.authorization
}
