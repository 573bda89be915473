// istio.workload.Service <-> model Service. Every field from the wire is checked; the first 16 faults are reported.
import { create } from '@bufbuild/protobuf'
import { ipToBytes } from '../../model/address.ts'
import type { IpFamilies, LoadBalancing, LoadBalancingMode, RoutingScope, Service, ServiceVip } from '../../model/service.ts'
import type { GatewayAddress } from '../../model/workload.ts'
import {
  IPFamilies as WireFamilies,
  LoadBalancing_HealthPolicy,
  LoadBalancing_Mode,
  LoadBalancing_Scope,
  type Service as WireService,
  Service_Visibility,
  ServiceSchema,
} from '../../proto/workload_pb.ts'
import type { Faults } from './check.ts'
import { APP_PROTOCOLS, decodeGateway, encodeGateway, numberOf } from './gateway.ts'

const VIPS_LIMIT = 256
const PORTS_LIMIT = 1024
const SANS_LIMIT = 256
const SCOPES_LIMIT = 16
const WAYPOINTS_LIMIT = 64

const FAMILIES = {
  [WireFamilies.AUTOMATIC]: 'AUTOMATIC',
  [WireFamilies.IPV4_ONLY]: 'IPV4_ONLY',
  [WireFamilies.IPV6_ONLY]: 'IPV6_ONLY',
  [WireFamilies.DUAL]: 'DUAL',
} as const satisfies Readonly<Record<number, IpFamilies>>
const SCOPES = {
  [LoadBalancing_Scope.REGION]: 'REGION',
  [LoadBalancing_Scope.ZONE]: 'ZONE',
  [LoadBalancing_Scope.SUBZONE]: 'SUBZONE',
  [LoadBalancing_Scope.NODE]: 'NODE',
  [LoadBalancing_Scope.CLUSTER]: 'CLUSTER',
  [LoadBalancing_Scope.NETWORK]: 'NETWORK',
} as const satisfies Readonly<Record<number, RoutingScope>>
const MODES = {
  [LoadBalancing_Mode.UNSPECIFIED_MODE]: 'UNSPECIFIED',
  [LoadBalancing_Mode.STRICT]: 'STRICT',
  [LoadBalancing_Mode.FAILOVER]: 'FAILOVER',
  [LoadBalancing_Mode.PASSTHROUGH]: 'PASSTHROUGH',
} as const satisfies Readonly<Record<number, LoadBalancingMode>>
const VISIBILITY = { [Service_Visibility.PUBLIC]: false, [Service_Visibility.NAMESPACE]: true } as const
const HEALTH = { [LoadBalancing_HealthPolicy.ONLY_HEALTHY]: false, [LoadBalancing_HealthPolicy.ALLOW_ALL]: true } as const

/** Turns a decoded message into a model service; what is wrong is noted in `faults`, and then the value must not be used. */
export function serviceFromWire(faults: Faults, wire: WireService): Service {
  return {
    name: faults.text('name', wire.name),
    namespace: faults.name('namespace', wire.namespace),
    hostname: faults.host('hostname', wire.hostname),
    vips: vipsFromWire(faults, wire),
    ports: faults.many('ports', wire.ports, PORTS_LIMIT).map((port) => ({
      servicePort: faults.port('ports.service_port', port.servicePort),
      targetPort: faults.port('ports.target_port', port.targetPort, 0),
      appProtocol: faults.choice('ports.app_protocol', port.appProtocol, APP_PROTOCOLS, 'UNKNOWN'),
    })),
    subjectAltNames: faults
      .many('subject_alt_names', wire.subjectAltNames, SANS_LIMIT)
      .map((name) => faults.text('subject_alt_names', name)),
    waypoint: waypointFromWire(faults, wire),
    loadBalancing: loadBalancingFromWire(faults, wire),
    ipFamilies: faults.choice('ip_families', wire.ipFamilies, FAMILIES, 'AUTOMATIC'),
    isCanonical: wire.canonical,
    // What is not known is kept narrow.
    isPrivate: faults.choice('visibility', wire.visibility, VISIBILITY, true),
  }
}

/** The message of a service. */
export function serviceToWire(service: Service): WireService {
  const balancing = service.loadBalancing
  const waypoint = encodeGateway(service.waypoint)
  return create(ServiceSchema, {
    name: service.name,
    namespace: service.namespace,
    hostname: service.hostname,
    addresses: service.vips.map(vipToWire),
    ports: service.ports.map((port) => ({ ...port, appProtocol: numberOf(APP_PROTOCOLS, port.appProtocol) })),
    subjectAltNames: [...service.subjectAltNames],
    ...(waypoint && { waypoint }),
    ...(balancing && {
      loadBalancing: {
        routingPreference: balancing.routingPreference.map((scope) => numberOf(SCOPES, scope)),
        mode: numberOf(MODES, balancing.mode),
        healthPolicy: balancing.allowsUnhealthy ? LoadBalancing_HealthPolicy.ALLOW_ALL : LoadBalancing_HealthPolicy.ONLY_HEALTHY,
      },
    }),
    ipFamilies: numberOf(FAMILIES, service.ipFamilies),
    canonical: service.isCanonical,
    visibility: service.isPrivate ? Service_Visibility.NAMESPACE : Service_Visibility.PUBLIC,
  })
}

function vipsFromWire(faults: Faults, wire: WireService): ServiceVip[] {
  const vips: ServiceVip[] = []
  for (const { network, address, length } of faults.many('addresses', wire.addresses, VIPS_LIMIT)) {
    const cidr = faults.cidr('addresses', address, length ?? address.length * 8)
    if (cidr !== undefined) vips.push({ network: faults.text('addresses.network', network), cidr })
  }
  return vips
}

function vipToWire({ network, cidr }: ServiceVip): { network: string; address: Uint8Array; length?: number } {
  const address = ipToBytes(cidr.ip)
  // Absent for a single address: that is what peers without CIDR support expect.
  return cidr.prefix === address.length * 8 ? { network, address } : { network, address, length: cidr.prefix }
}

function waypointFromWire(faults: Faults, wire: WireService): GatewayAddress | undefined {
  const plain = decodeGateway(faults, 'waypoint', wire.waypoint)
  const weighted = faults.many('weighted_waypoints', wire.weightedWaypoints, WAYPOINTS_LIMIT)
  if (weighted.length === 0) return plain
  // The heaviest one takes all: proxies here have no canary between waypoints, and must not bypass them.
  const heaviest = weighted.reduce((best, next) => (next.weight > best.weight ? next : best))
  return decodeGateway(faults, 'weighted_waypoints', heaviest.destination) ?? plain
}

function loadBalancingFromWire(faults: Faults, wire: WireService): LoadBalancing | undefined {
  const balancing = wire.loadBalancing
  if (balancing === undefined) return undefined
  return {
    routingPreference: faults
      .many('load_balancing.routing_preference', balancing.routingPreference, SCOPES_LIMIT)
      .map((scope) => faults.choice('load_balancing.routing_preference', scope, SCOPES, 'NETWORK')),
    mode: faults.choice('load_balancing.mode', balancing.mode, MODES, 'STRICT'),
    allowsUnhealthy: faults.choice('load_balancing.health_policy', balancing.healthPolicy, HEALTH, false),
  }
}
