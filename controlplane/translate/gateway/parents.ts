// parentRefs of a route -> ports of a Service or ServiceEntry behind a waypoint, or why not. References to other controllers' objects are left alone.
import { GATEWAY_GROUP, type ParentReference } from '../../../model/gateway-api.ts'
import { ISTIO_NETWORKING_GROUP } from '../../../model/istio-networking.ts'
import type { Service as KubeService } from '../../../model/object.ts'
import type { Service } from '../../../model/service.ts'
import type { ServiceKey } from '../../../model/workload.ts'
import type { HostTable } from '../host-table.ts'
import { hostnameOf, type MeshNames } from '../mesh.ts'
import type { EntriesResult } from '../service-entry/service-entries.ts'
import { isModelled } from '../service.ts'
import { accepted, type Finding } from './finding.ts'
import { protocolOf } from './protocol.ts'
import { type RoutedService, routedService } from './routed-service.ts'

/** What parents are looked up in. */
export interface ParentWorld {
  readonly names: MeshNames
  /** By `namespace/name`. */
  readonly kubeServices: ReadonlyMap<string, KubeService>
  readonly services: ReadonlyMap<ServiceKey, Service>
  readonly entries: Pick<EntriesResult, 'hosts' | 'routed'>
  readonly hosts: HostTable
  /** Gateway of the waypoint (`namespace/name`) by the waypoint's host name. */
  readonly gatewayByHost: ReadonlyMap<string, string>
  /** `namespace/name` of all waypoints. */
  readonly waypoints: ReadonlySet<string>
}

/**
 * `foreign` = another controller's, no status of ours; `ports` are those that can carry HTTP, never empty; several `services` are the
 * hosts of a ServiceEntry, which have the same ports and waypoint.
 */
export type ParentPlace =
  | { readonly kind: 'foreign' }
  | { readonly kind: 'refused'; readonly finding: Finding }
  | { readonly kind: 'service'; readonly services: readonly ServiceKey[]; readonly gateway: string; readonly ports: readonly number[] }

/** The reference with group and kind written out, as status shows it. */
export function explicitParent(parent: ParentReference): ParentReference {
  return { ...parent, group: parent.group ?? GATEWAY_GROUP, kind: parent.kind ?? 'Gateway' }
}

/** @param from namespace of the route */
export function resolveParent(parent: ParentReference, from: string, world: ParentWorld): ParentPlace {
  const { group, kind, name } = explicitParent(parent)
  const key = `${parent.namespace ?? from}/${name}`
  if (group === ISTIO_NETWORKING_GROUP && kind === 'ServiceEntry') return entryPlace(parent, key, world)
  if (group === ISTIO_NETWORKING_GROUP && kind === 'Hostname')
    return refused('UnsupportedValue', 'kind Hostname is not supported as a parent: name the ServiceEntry or Service')
  if (group === GATEWAY_GROUP && kind === 'Gateway') {
    if (!world.waypoints.has(key)) return { kind: 'foreign' }
    return refused('NotAllowedByListeners', 'a waypoint takes the routes of the services behind it: name a Service as parent')
  }
  if (kind !== 'Service' || (group !== '' && group !== 'core')) return { kind: 'foreign' }
  return servicePlace(parent, key, world)
}

function servicePlace(parent: ParentReference, key: string, world: ParentWorld): ParentPlace {
  const service = world.kubeServices.get(key)
  if (service === undefined) return refused('NoMatchingParent', `there is no Service ${key}`)
  if (!isModelled(service) || service.spec?.clusterIP === 'None')
    return refused('UnsupportedValue', `Service ${key} is headless or of type ExternalName: it has no address that could be routed`)
  const [namespace = '', name = ''] = key.split('/')
  const serviceKey = `${namespace}/${hostnameOf(world.names, namespace, name)}`
  return placeOf(parent, `Service ${key}`, [serviceKey], routedService(service), world)
}

function entryPlace(parent: ParentReference, key: string, world: ParentWorld): ParentPlace {
  const services = world.entries.hosts.get(key)
  if (services === undefined) return refused('NoMatchingParent', `there is no ServiceEntry ${key}`)
  const routed = world.entries.routed.get(services[0] ?? '')
  if (routed === undefined) return refused('NoMatchingParent', `no host of ServiceEntry ${key} is in force: see its status`)
  // Without an address connections are not known for theirs: nothing would come to the waypoint.
  if (services.every((service) => (world.services.get(service)?.vips.length ?? 0) === 0))
    return refused('UnsupportedValue', `ServiceEntry ${key} has no addresses: its connections do not go through a waypoint`)
  return placeOf(parent, `ServiceEntry ${key}`, services, routed, world)
}

/** @param what the object, for messages */
function placeOf(
  parent: ParentReference,
  what: string,
  services: readonly ServiceKey[],
  routed: RoutedService,
  world: ParentWorld,
): ParentPlace {
  const waypoint = world.services.get(services[0] ?? '')?.waypoint
  if (waypoint === undefined) return refused('NoMatchingParent', withoutWaypoint(what))
  const gateway = waypoint.kind === 'hostname' ? world.gatewayByHost.get(waypoint.hostname) : undefined
  if (gateway === undefined) return refused('NoMatchingParent', `the waypoint that ${what} names does not exist or does not admit it`)
  const selected = routed.ports.filter(
    (port) =>
      (parent.port === undefined || port.port === parent.port) && (parent.sectionName === undefined || port.name === parent.sectionName),
  )
  if (selected.length === 0) return refused('NoMatchingParent', `${what} has no such TCP port`)
  const ports = selected.filter((port) => protocolOf(port) !== 'TCP').map(({ port }) => port)
  if (ports.length === 0) return refused('NotAllowedByListeners', `${what} does not carry HTTP there, by appProtocol or the port's name`)
  return { kind: 'service', services, gateway, ports }
}

function withoutWaypoint(what: string): string {
  return (
    `${what} has no waypoint, so nothing reads its requests: create a Gateway of class istio-waypoint ` +
    `and label the ${what.split(' ')[0]} or its Namespace istio.io/use-waypoint=NAME`
  )
}

function refused(reason: string, message: string): ParentPlace {
  return { kind: 'refused', finding: accepted(reason, message) }
}
