// Where a connection goes: pure functions from what is known to a plain value that is logged as it is. Called by outbound.ts
// and inbound.ts. The order follows istio/ztunnel:src/proxy/outbound.rs build_request and src/proxy/inbound.rs; it is
// stricter where that leaks: an absent waypoint and an unknown address of the mesh are refused.
import { isLocal, parseEndpoint } from '../../model/address.ts'
import type { Endpoint, IpAddress } from '../../model/address.ts'
import { spiffeIdOf } from '../../model/identity.ts'
import type { SpiffeId } from '../../model/identity.ts'
import { serviceKeyOf } from '../../model/service.ts'
import type { Service } from '../../model/service.ts'
import type { GatewayAddress, Workload, WorkloadEndpoint } from '../../model/workload.ts'
import type { ZtunnelCode } from '../errors.ts'

/** Where HBONE is accepted in every enrolled pod. */
export const HBONE_PORT = 15008
/** Ports that belong to the mesh inside an enrolled pod; nothing is proxied to them. */
export const MESH_PORTS: readonly number[] = [15001, 15006, HBONE_PORT, 15053]

/** What decisions read; `chooseEndpoint` holds the random choice. */
export interface MeshView {
  workloadByAddress(network: string, ip: IpAddress): Workload | undefined
  serviceByVip(network: string, ip: IpAddress, fromNamespace: string): Service | undefined
  serviceByHost(namespace: string, hostname: string): Service | undefined
  isInMesh(ip: IpAddress): boolean
  chooseEndpoint(service: Service, port: number, source: Workload): WorkloadEndpoint | undefined
  /** Names of endpoints that are known by name only. */
  unresolvedNames(service: Service, port: number): readonly string[]
}

/** Plain TCP to where the app dialled, or to the endpoint of the service that it dialled. */
export interface DirectRoute {
  readonly kind: 'direct'
  readonly to: Endpoint
  readonly destination: Workload | undefined
  readonly service: Service | undefined
}

/** Through mutual TLS: dial `to`, expect one of `peers`, ask for `authority`. */
export interface HboneRoute {
  readonly kind: 'hbone'
  readonly to: Endpoint
  readonly authority: Endpoint
  readonly via: 'workload' | 'waypoint'
  readonly peers: readonly SpiffeId[]
  readonly destination: Workload
  readonly service: Service | undefined
}

/** Way of a connection that leaves a pod. */
export type Route = DirectRoute | HboneRoute

/** The connection is not proxied, and why. */
export interface Refusal {
  readonly kind: 'refuse'
  readonly code: ZtunnelCode
}

/** An address of the mesh that nothing describes (yet): wait for it, decide again, then refuse with UNKNOWN_DESTINATION. */
export interface UnknownYet {
  readonly kind: 'unknown'
  readonly ip: IpAddress
}

/** The service's endpoints are known by name only, and no address of any is known (yet): resolve, decide again, then refuse with NAME_NOT_RESOLVED. */
export interface UnresolvedYet {
  readonly kind: 'unresolved'
  readonly hostnames: readonly string[]
}

/**
 * Decides where a captured connection goes.
 * @param source the pod that dialled
 * @param dst what the app dialled
 */
export function decideOutbound(source: Workload, dst: Endpoint, mesh: MeshView): Route | Refusal | UnknownYet | UnresolvedYet {
  if (source.isPending) return refuse('SOURCE_PENDING')
  const isOwn = source.addresses.includes(dst.ip)
  if (isLocal(dst.ip) || (isOwn && MESH_PORTS.includes(dst.port))) return refuse('SELF_CALL')
  const service = mesh.serviceByVip(source.network, dst.ip, source.namespace)
  if (service !== undefined) return towardService(source, service, dst, mesh)
  const destination = mesh.workloadByAddress(source.network, dst.ip)
  if (destination !== undefined) return towardPod(source, destination, dst, mesh)
  if (mesh.isInMesh(dst.ip)) return { kind: 'unknown', ip: dst.ip }
  return { kind: 'direct', to: dst, destination: undefined, service: undefined }
}

/** What came in on port 15008 (or 15006, then without identity) and may be delivered. */
export interface Delivery {
  readonly kind: 'deliver'
  /** Address of the pod that was dialled, and the port of the app. */
  readonly to: Endpoint
}

/**
 * Checks the authority of a CONNECT that arrived in a pod.
 * @param dialled the pod's address as the peer dialled it
 * @param pod the workload with that address
 * @param authority as sent, unparsed
 */
export function decideInbound(pod: Workload, dialled: IpAddress, authority: string): Delivery | Refusal {
  const target = parseEndpoint(authority)
  if (target !== undefined) {
    if (target.ip !== dialled) return refuse('WRONG_AUTHORITY')
    return deliver(target)
  }
  const named = /^([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?):(\d{1,5})$/i.exec(authority)
  if (named === null || !/[a-z]/i.test(named[1] ?? '')) return refuse('BAD_AUTHORITY')
  const port = portOfHost(pod, (named[1] ?? '').toLowerCase(), Number(named[2]))
  return port === undefined ? refuse('UNKNOWN_HOST') : deliver({ ip: dialled, port })
}

/** Checks where a plaintext connection to a pod goes. */
export function decidePlaintext(dialled: Endpoint): Delivery | Refusal {
  return deliver(dialled)
}

/**
 * The service that inbound traffic counts for: what the peer says in `forwarded`, if this pod serves it, else the first
 * service of the pod with that target port.
 * @param port the pod's port
 */
export function inboundService(
  pod: Workload,
  port: number,
  forwardedHost: string | undefined,
  mesh: Pick<MeshView, 'serviceByHost'>,
): Service | undefined {
  let byPort: Service | undefined
  for (const [key, pairs] of pod.services) {
    const slash = key.indexOf('/')
    const hostname = key.slice(slash + 1)
    const isNamed = hostname === forwardedHost
    if (!isNamed && (byPort !== undefined || !pairs.some((pair) => pair.targetPort === port))) continue
    const service = mesh.serviceByHost(key.slice(0, slash), hostname)
    if (service !== undefined && isNamed && serviceKeyOf(service) === key) return service
    byPort ??= isNamed ? undefined : service
  }
  return byPort
}

function towardService(source: Workload, service: Service, dst: Endpoint, mesh: MeshView): Route | Refusal | UnresolvedYet {
  if (service.waypoint !== undefined) return towardWaypoint(source, service.waypoint, service, dst, mesh)
  if (service.loadBalancing?.mode === 'PASSTHROUGH') return { kind: 'direct', to: dst, destination: undefined, service }
  const chosen = mesh.chooseEndpoint(service, dst.port, source)
  if (chosen === undefined) {
    const hostnames = mesh.unresolvedNames(service, dst.port)
    return hostnames.length > 0 ? { kind: 'unresolved', hostnames } : refuse('NO_HEALTHY_UPSTREAM')
  }
  return toEndpoint(source, chosen.workload, chosen.endpoint, service)
}

function towardPod(source: Workload, destination: Workload, dst: Endpoint, mesh: MeshView): Route | Refusal {
  if (destination.waypoint !== undefined) {
    const route = towardWaypoint(source, destination.waypoint, undefined, dst, mesh)
    const isWaypointItself = route.kind === 'hbone' && route.destination.uid === source.uid
    if (!isWaypointItself) return route
  }
  return toEndpoint(source, destination, dst, undefined)
}

function toEndpoint(source: Workload, destination: Workload, to: Endpoint, service: Service | undefined): Route | Refusal {
  if (destination.isPending) return refuse('DESTINATION_PENDING')
  if (destination.network !== source.network) return refuse('OTHER_NETWORK')
  if (destination.protocol === 'NONE') return { kind: 'direct', to, destination, service }
  const names = (service?.subjectAltNames ?? []).filter((name) => name.startsWith('spiffe://')) as SpiffeId[]
  const peers = [...new Set([identityOf(destination), ...names])]
  return { kind: 'hbone', to: { ip: to.ip, port: HBONE_PORT }, authority: to, via: 'workload', peers, destination, service }
}

function towardWaypoint(
  source: Workload,
  gateway: GatewayAddress,
  service: Service | undefined,
  dst: Endpoint,
  mesh: MeshView,
): Route | Refusal {
  const found = findWaypoint(source, gateway, mesh)
  if (found === undefined || found.workload.isPending) return refuse('UNKNOWN_WAYPOINT')
  if (found.workload.network !== source.network) return refuse('OTHER_NETWORK')
  const peers = [identityOf(found.workload)]
  return { kind: 'hbone', to: found.endpoint, authority: dst, via: 'waypoint', peers, destination: found.workload, service }
}

function findWaypoint(source: Workload, gateway: GatewayAddress, mesh: MeshView): WorkloadEndpoint | undefined {
  if (gateway.kind === 'hostname') {
    const service = mesh.serviceByHost(gateway.namespace, gateway.hostname)
    return service === undefined ? undefined : mesh.chooseEndpoint(service, gateway.hbonePort, source)
  }
  const service = mesh.serviceByVip(gateway.network, gateway.ip, source.namespace)
  if (service !== undefined) return mesh.chooseEndpoint(service, gateway.hbonePort, source)
  const workload = mesh.workloadByAddress(gateway.network, gateway.ip)
  return workload === undefined ? undefined : { workload, endpoint: { ip: gateway.ip, port: gateway.hbonePort } }
}

function portOfHost(pod: Workload, host: string, servicePort: number): number | undefined {
  for (const [key, pairs] of pod.services) {
    if (key.slice(key.indexOf('/') + 1) !== host) continue
    const pair = pairs.find((candidate) => candidate.servicePort === servicePort)
    if (pair !== undefined && pair.targetPort !== 0) return pair.targetPort
  }
  return undefined
}

function deliver(to: Endpoint): Delivery | Refusal {
  return MESH_PORTS.includes(to.port) || to.port === 0 ? refuse('SELF_CALL') : { kind: 'deliver', to }
}

function identityOf(workload: Workload): SpiffeId {
  return spiffeIdOf(workload)
}

const refusals = new Map<ZtunnelCode, Refusal>()

/** Refusals are made once: they are values, and floods produce many. */
function refuse(code: ZtunnelCode): Refusal {
  let value = refusals.get(code)
  if (value === undefined) {
    value = Object.freeze({ kind: 'refuse' as const, code })
    refusals.set(code, value)
  }
  return value
}
