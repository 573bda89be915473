// What a CONNECT leads to: pure, from the authority and the configuration to a plain value. Called by tunnel.ts.
import { parseAuthority } from '../hbone/connect.ts'
import type { Endpoint, IpAddress } from '../model/address.ts'
import { serviceKeyOf } from '../model/service.ts'
import type { Service } from '../model/service.ts'
import type { GatewayAddress, ServiceKey, Workload } from '../model/workload.ts'
import type { ListenerEntry } from './config.ts'
import type { WaypointCode } from './errors.ts'

/** A port of a service, or one pod by its address. */
export type Target =
  | {
      readonly kind: 'service'
      readonly service: Service
      readonly port: number
      readonly entry: ListenerEntry
      /** What the client dialled; undefined = the service by its name. */
      readonly to: Endpoint | undefined
    }
  | { readonly kind: 'workload'; readonly workload: Workload; readonly to: Endpoint; readonly service: Service | undefined }

/** The CONNECT is answered with a status. */
export interface Refusal {
  readonly kind: 'refuse'
  readonly code: WaypointCode & ('BAD_AUTHORITY' | 'NOT_SERVED')
}

/** What decisions read. */
export interface TargetView {
  serviceByVip(network: string, ip: IpAddress, fromNamespace: string): Service | undefined
  serviceByHost(namespace: string, hostname: string): Service | undefined
  servicesWithHost(hostname: string): readonly Service[]
  workloadByAddress(network: string, ip: IpAddress): Workload | undefined
}

/** Who this waypoint is. */
export interface Self {
  readonly network: string
  readonly ip: IpAddress
  /** Namespace and host name of the gateway's own Service. */
  readonly namespace: string
  readonly hostname: string
}

/** Ports of the mesh inside a pod: nobody's app, and a way around the checks of its ztunnel. */
const MESH_PORTS: ReadonlySet<number> = new Set([15001, 15006, 15008, 15053])

const NOT_SERVED: Refusal = { kind: 'refuse', code: 'NOT_SERVED' }
const BAD_AUTHORITY: Refusal = { kind: 'refuse', code: 'BAD_AUTHORITY' }

/**
 * Decides what an authority stands for.
 * @param authority as sent: `VIP:port` or `host:port` of a service, or `podIP:port`
 * @param fromNamespace the client's, for addresses that several namespaces use
 */
export function decideTarget(
  authority: string,
  fromNamespace: string,
  self: Self,
  mesh: TargetView,
  listenerFor: (service: ServiceKey, port: number) => ListenerEntry | undefined,
): Target | Refusal {
  const parsed = parseAuthority(authority)
  if (parsed === undefined) return BAD_AUTHORITY
  if (parsed.kind === 'host') {
    for (const service of mesh.servicesWithHost(parsed.host)) {
      const entry = listenerFor(serviceKeyOf(service), parsed.port)
      if (entry !== undefined) return { kind: 'service', service, port: parsed.port, entry, to: undefined }
    }
    return NOT_SERVED
  }
  const { ip, port } = parsed.endpoint
  const service = mesh.serviceByVip(self.network, ip, fromNamespace)
  if (service !== undefined) {
    const entry = listenerFor(serviceKeyOf(service), port)
    return entry === undefined ? NOT_SERVED : { kind: 'service', service, port, entry, to: parsed.endpoint }
  }
  const workload = mesh.workloadByAddress(self.network, ip)
  if (workload === undefined || MESH_PORTS.has(port) || !isOwn(workload.waypoint, self, mesh)) return NOT_SERVED
  return { kind: 'workload', workload, to: parsed.endpoint, service: serviceBehind(workload, port, mesh) }
}

function isOwn(waypoint: GatewayAddress | undefined, self: Self, mesh: TargetView): boolean {
  if (waypoint === undefined) return false
  if (waypoint.kind === 'hostname') return waypoint.namespace === self.namespace && waypoint.hostname === self.hostname
  if (waypoint.ip === self.ip) return true
  const service = mesh.serviceByVip(waypoint.network, waypoint.ip, self.namespace)
  return service !== undefined && service.namespace === self.namespace && service.hostname === self.hostname
}

/** The service that a pod's port belongs to, for its protocol and for records. */
function serviceBehind(workload: Workload, port: number, mesh: TargetView): Service | undefined {
  for (const [key, pairs] of workload.services) {
    if (!pairs.some(({ targetPort }) => targetPort === port)) continue
    const slash = key.indexOf('/')
    return mesh.serviceByHost(key.slice(0, slash), key.slice(slash + 1))
  }
  return undefined
}
