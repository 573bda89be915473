// What is not HTTP: choose an endpoint, authorise, dial, copy, record as ztunnel does. Called by serve.ts for what was found to be no HTTP, and by
// tunnel.ts, before the CONNECT is answered, for ports that say so.
import type { Channel } from '../http/channel.ts'
import type { MeshError } from '../kit/error.ts'
import { formatEndpoint } from '../model/address.ts'
import { spiffeIdOf } from '../model/identity.ts'
import type { ConnectionFacts } from '../telemetry/connection-record.ts'
import type { BalancedEndpoint, Lease } from './balance/endpoint.ts'
import type { BackendCluster } from './clusters.ts'
import { refusalFor, serviceRefusalFor } from './context.ts'
import type { Client, Downstream, WaypointContext } from './context.ts'
import { asMeshError, waypointFailure } from './errors.ts'
import { spliceChannels } from './splice.ts'

/** Endpoints that one connection is tried at. */
const MOST_DIALS = 3

/** An open way to an endpoint. */
export interface TcpUpstream {
  readonly channel: Channel
  readonly endpoint: BalancedEndpoint
  readonly lease: Lease
  readonly cluster: BackendCluster
}

/** Carries a channel that nothing was answered for. Never rejects. */
export async function serveTcp(channel: Channel, downstream: Downstream, waypoint: WaypointContext): Promise<void> {
  try {
    await carryTcp(channel, await openTcp(downstream, waypoint), downstream, waypoint)
  } catch (error) {
    refuseTcp(downstream, asMeshError(error, 'CONNECT_FAILED'), waypoint)
    channel.reset()
  }
}

/**
 * Chooses an endpoint and dials it; another one when that fails.
 * @throws MeshError NO_HEALTHY_UPSTREAM, UPSTREAM_OVERFLOW, POLICY_DENIED, or what the last dial threw
 */
export async function openTcp(downstream: Downstream, waypoint: WaypointContext): Promise<TcpUpstream> {
  const refusal = serviceRefusalFor(downstream, undefined, waypoint.config)
  if (refusal !== undefined) throw refusal
  await namesOf(downstream, waypoint)
  const cluster = clusterOf(downstream, waypoint)
  if (cluster === undefined) throw waypointFailure('NO_HEALTHY_UPSTREAM')
  const most = cluster.policy.limits.maxConnections
  if (most !== undefined && cluster.tcp.open >= most)
    throw waypointFailure('UPSTREAM_OVERFLOW', { cluster: cluster.name, limit: 'connections' })
  cluster.tcp.open++
  try {
    return await tryEndpoints(cluster, downstream.client, waypoint)
  } catch (error) {
    cluster.tcp.open--
    throw error
  }
}

async function tryEndpoints(cluster: BackendCluster, client: Client, waypoint: WaypointContext): Promise<TcpUpstream> {
  const tried = new Set<string>()
  for (let failure: MeshError | undefined; ; ) {
    const choice = cluster.balancer.choose({ hash: undefined, exclude: tried, session: undefined })
    if (choice.kind === 'none') {
      const code = choice.reason === 'OVERFLOW' ? 'UPSTREAM_OVERFLOW' : 'NO_HEALTHY_UPSTREAM'
      throw failure ?? waypointFailure(code, { cluster: cluster.name })
    }
    const { endpoint, lease } = choice
    if (failure !== undefined && (tried.has(endpoint.uid) || tried.size >= MOST_DIALS)) {
      lease.done({})
      throw failure
    }
    tried.add(endpoint.uid)
    try {
      return { channel: await dial(cluster, endpoint, client, waypoint), endpoint, lease, cluster }
    } catch (error) {
      failure = asMeshError(error, 'CONNECT_FAILED')
      const isDenied = failure.code === 'POLICY_DENIED'
      lease.done(isDenied ? {} : { failure: 'connect' })
      if (isDenied) throw failure
    }
  }
}

/** Copies to the end and records it; one access line. */
export async function carryTcp(channel: Channel, upstream: TcpUpstream, downstream: Downstream, waypoint: WaypointContext): Promise<void> {
  const { client } = downstream
  const counters = { fromA: 0, fromB: 0 }
  const record = waypoint.tcp.records.open(factsOf(downstream, upstream), () => ({ request: counters.fromA, response: counters.fromB }))
  waypoint.tcp.metrics.socketOpened('waypoint')
  let cause: MeshError | undefined
  const end = (error: MeshError): void => {
    cause ??= error
    channel.reset()
    upstream.channel.reset()
  }
  using _live = waypoint.live.add({
    drain: () => undefined, // nothing in the bytes tells a client to go elsewhere: it has until the deadline
    close: () => end(waypointFailure('DRAINED')),
    recheck: () => {
      const isRefused = serviceRefusalFor(downstream, undefined, waypoint.config) ?? refusalFor(client, upstream.endpoint, waypoint)
      if (isRefused !== undefined) end(waypointFailure('POLICY_CHANGED'))
    },
  })
  const { error } = await spliceChannels(channel, upstream.channel, counters)
  upstream.lease.done({})
  upstream.cluster.tcp.open--
  waypoint.tcp.metrics.socketClosed('waypoint')
  record.finish(cause ?? error)
}

/** Records what was not carried. */
export function refuseTcp(downstream: Downstream, error: MeshError, waypoint: WaypointContext): void {
  waypoint.tcp.records.open(factsOf(downstream, undefined), () => ({ request: 0, response: 0 })).finish(error)
}

/** What goes wherever the service's own endpoints are: routes are for HTTP, except that they may say where all of it goes. */
function clusterOf({ target }: Downstream, { clusters }: WaypointContext): BackendCluster | undefined {
  if (target.kind === 'workload') return clusters.direct(target.workload, target.to, target.service)
  const ref = { service: target.entry.listener.service, port: target.port, subset: undefined }
  return clusters.dialled(target, ref) ?? clusters.get(ref)
}

/** Until the names of the endpoints have been looked up, if they have to be. */
async function namesOf({ target }: Downstream, { clusters }: WaypointContext): Promise<void> {
  if (target.kind === 'service') await clusters.resolving({ service: target.entry.listener.service, port: target.port, subset: undefined })
}

async function dial(cluster: BackendCluster, endpoint: BalancedEndpoint, client: Client, waypoint: WaypointContext): Promise<Channel> {
  const refusal = refusalFor(client, endpoint, waypoint)
  if (refusal !== undefined) throw refusal
  const giveUp = new AbortController()
  const timer = waypoint.clock.after(cluster.policy.limits.connectTimeoutMs, () => giveUp.abort())
  try {
    return await waypoint.dialer.open(endpoint, { client, host: cluster.host }, giveUp.signal)
  } catch (error) {
    throw giveUp.signal.aborted ? waypointFailure('CONNECT_TIMEOUT', { to: formatEndpoint(endpoint.to) }, error) : error
  } finally {
    timer[Symbol.dispose]()
  }
}

/** As the destination's ztunnel would tell it, with the client that it does not see. */
function factsOf({ client, target, authority }: Downstream, upstream: TcpUpstream | undefined): ConnectionFacts {
  const endpoint = upstream?.endpoint
  const isInMesh = endpoint !== undefined && endpoint.workload.protocol !== 'NONE'
  return {
    direction: 'inbound',
    reporter: 'waypoint',
    source: {
      address: { ip: client.ip, port: client.port },
      workload: client.workload ?? { namespace: client.identity.namespace },
      identity: client.id,
    },
    destination: {
      address: endpoint?.to,
      workload: endpoint?.workload,
      identity: isInMesh ? spiffeIdOf(endpoint.workload) : undefined,
    },
    hboneAddress: authority,
    cluster: upstream?.cluster.name,
    service: target.service,
  }
}
