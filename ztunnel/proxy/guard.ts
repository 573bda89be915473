// Going round a waypoint: which ports of a pod must be reached through one, and whether a peer is that one. Pure; asked once per
// inbound connection by inbound.ts and passthrough.ts. Stricter than Istio, which lets calls of a pod's address pass beside the
// waypoint of its service: then its routes and policies would bind only those who want to be bound.
import type { SpiffeId } from '../../model/identity.ts'
import type { Service } from '../../model/service.ts'
import type { GatewayAddress, PortPair, Workload } from '../../model/workload.ts'

/** What is asked of the mesh. */
export interface WaypointView {
  serviceByHost(namespace: string, hostname: string): Service | undefined
  /** Identities of every pod behind a waypoint's address, ready or not; empty when there is none. */
  identitiesOf(waypoint: GatewayAddress): readonly SpiffeId[]
  /**
   * What held before the waypoint of a service (by key) or workload (by uid) changed, while not every node may have heard of the
   * change; undefined when nothing changed lately.
   */
  waypointBefore(name: string): { readonly waypoint: GatewayAddress | undefined } | undefined
}

/**
 * How a connection came: `open` = the port needs no waypoint; `waypoint` = from the waypoint that it needs, whose word about the
 * original client counts; `round` = past it.
 */
export type Way = 'open' | 'waypoint' | 'round'

/**
 * Judges a connection to a port of a pod. Not asked about what never comes to the proxy: probes of the node, the pod itself.
 * @param peer verified; undefined = plaintext
 * @param dialledHost the service that the peer says its client dialled
 */
export function judgeWay(
  pod: Workload,
  port: number,
  peer: SpiffeId | undefined,
  dialledHost: string | undefined,
  mesh: WaypointView,
): Way {
  let isClosed = false
  let isServed = false // by a service that needs no waypoint
  for (const [key, pairs] of pod.services) {
    const slash = key.indexOf('/')
    const service = mesh.serviceByHost(key.slice(0, slash), key.slice(slash + 1))
    // Without a virtual address it is dialled by the pods' addresses, which a service's waypoint does not take.
    if (service === undefined || service.vips.length === 0 || !leadsTo(pairs, service, port)) continue
    const verdict = judge(key, service.waypoint, peer, mesh)
    if (verdict === 'waypoint') return verdict
    isClosed ||= verdict === 'round'
    isServed ||= verdict === 'open' && service.hostname === dialledHost
  }
  // A waypoint of the pod takes what was dialled by the pod's address; who dialled a service comes straight from there.
  const own = judge(pod.uid, pod.waypoint, peer, mesh)
  if (own === 'waypoint') return own
  return isClosed || (own === 'round' && !isServed) ? 'round' : 'open'
}

function judge(name: string, waypoint: GatewayAddress | undefined, peer: SpiffeId | undefined, mesh: WaypointView): Way {
  const before = mesh.waypointBefore(name)
  if (waypoint === undefined && before === undefined) return 'open'
  if (peer !== undefined)
    for (const one of [waypoint, before?.waypoint]) if (one !== undefined && mesh.identitiesOf(one).includes(peer)) return 'waypoint'
  return waypoint === undefined || (before !== undefined && before.waypoint === undefined) ? 'open' : 'round'
}

function leadsTo(pairs: readonly PortPair[], service: Service, port: number): boolean {
  for (const { servicePort, targetPort } of pairs) {
    const target = targetPort === 0 ? service.ports.find((one) => one.servicePort === servicePort)?.targetPort : targetPort
    if (target === port) return true
  }
  return false
}
