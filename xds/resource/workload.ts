// istio.workload.Workload <-> model Workload. Every field from the wire is checked; the first 16 faults are reported.
// Follows istio/ztunnel:src/state/workload.rs (elided defaults, refusal of legacy mTLS).
import { create } from '@bufbuild/protobuf'
import type { IpAddress } from '../../model/address.ts'
import { ipToBytes } from '../../model/address.ts'
import type { PortPair, ServiceKey, Workload, WorkloadType } from '../../model/workload.ts'
import {
  ApplicationTunnel_Protocol,
  NetworkMode,
  TunnelProtocol,
  type Workload as WireWorkload,
  WorkloadSchema,
  WorkloadStatus,
  WorkloadType as WireWorkloadType,
} from '../../proto/workload_pb.ts'
import { PENDING_TYPE } from '../kinds.ts'
import type { Faults } from './check.ts'
import { decodeGateway, encodeGateway, numberOf } from './gateway.ts'

const ADDRESSES_LIMIT = 64
const SERVICES_LIMIT = 4096
const PORTS_LIMIT = 1024
const POLICIES_LIMIT = 4096

/** What the wire leaves out because every peer assumes it. */
const ELIDED = { trustDomain: 'cluster.local', serviceAccount: 'default', clusterId: 'Kubernetes' } as const

const TYPES = {
  [WireWorkloadType.DEPLOYMENT]: 'DEPLOYMENT',
  [WireWorkloadType.CRONJOB]: 'CRONJOB',
  [WireWorkloadType.POD]: 'POD',
  [WireWorkloadType.JOB]: 'JOB',
} as const satisfies Readonly<Record<number, WorkloadType>>
const TUNNELS = { [ApplicationTunnel_Protocol.NONE]: 'NONE', [ApplicationTunnel_Protocol.PROXY]: 'PROXY' } as const

/** Turns a decoded message into a model workload; what is wrong is noted in `faults`, and then the value must not be used. */
export function workloadFromWire(faults: Faults, wire: WireWorkload): Workload {
  if (wire.uid === '') faults.note('uid', 'is empty')
  const locality = wire.locality
  const isPending = wire.extensions.some((extension) => extension.config?.typeUrl === PENDING_TYPE)
  return {
    uid: faults.text('uid', wire.uid),
    name: faults.text('name', wire.name),
    namespace: faults.name('namespace', wire.namespace),
    addresses: addressesFromWire(faults, wire.addresses),
    hostname: wire.hostname === '' ? '' : faults.host('hostname', wire.hostname),
    network: faults.text('network', wire.network),
    protocol: protocolFromWire(faults, wire.tunnelProtocol),
    trustDomain: faults.name('trust_domain', wire.trustDomain, ELIDED.trustDomain),
    serviceAccount: faults.name('service_account', wire.serviceAccount, ELIDED.serviceAccount),
    node: faults.text('node', wire.node),
    canonicalName: faults.text('canonical_name', wire.canonicalName),
    canonicalRevision: faults.text('canonical_revision', wire.canonicalRevision),
    workloadType: faults.choice('workload_type', wire.workloadType, TYPES, 'POD'),
    workloadName: faults.text('workload_name', wire.workloadName),
    health: faults.choice(
      'status',
      wire.status,
      { [WorkloadStatus.HEALTHY]: 'HEALTHY', [WorkloadStatus.UNHEALTHY]: 'UNHEALTHY' },
      'UNHEALTHY',
    ),
    clusterId: wire.clusterId === '' ? ELIDED.clusterId : faults.text('cluster_id', wire.clusterId),
    locality: {
      region: faults.text('locality.region', locality?.region ?? ''),
      zone: faults.text('locality.zone', locality?.zone ?? ''),
      subzone: faults.text('locality.subzone', locality?.subzone ?? ''),
    },
    isHostNetwork: faults.choice(
      'network_mode',
      wire.networkMode,
      { [NetworkMode.STANDARD]: false, [NetworkMode.HOST_NETWORK]: true },
      true,
    ),
    capacity: wire.capacity ?? 1,
    services: servicesFromWire(faults, wire),
    authorizationPolicies: faults
      .many('authorization_policies', wire.authorizationPolicies, POLICIES_LIMIT)
      .map((name) => faults.text('authorization_policies', name)),
    waypoint: decodeGateway(faults, 'waypoint', wire.waypoint),
    networkGateway: decodeGateway(faults, 'network_gateway', wire.networkGateway),
    hasNativeTunnel: wire.nativeTunnel,
    applicationTunnel: tunnelFromWire(faults, wire),
    isPending,
  }
}

/** The message of a workload; services sorted, so that equal workloads have equal bytes. */
export function workloadToWire(workload: Workload): WireWorkload {
  const { region, zone, subzone } = workload.locality
  const services = [...workload.services].sort(([a], [b]) => (a < b ? -1 : 1))
  const tunnel = workload.applicationTunnel
  const waypoint = encodeGateway(workload.waypoint)
  const networkGateway = encodeGateway(workload.networkGateway)
  return create(WorkloadSchema, {
    uid: workload.uid,
    name: workload.name,
    namespace: workload.namespace,
    addresses: workload.addresses.map((ip) => ipToBytes(ip)),
    hostname: workload.hostname,
    network: workload.network,
    // A peer that does not know the mark dials HBONE and fails: refused, never plaintext.
    tunnelProtocol: workload.protocol === 'HBONE' || workload.isPending ? TunnelProtocol.HBONE : TunnelProtocol.NONE,
    trustDomain: unless(ELIDED.trustDomain, workload.trustDomain),
    serviceAccount: unless(ELIDED.serviceAccount, workload.serviceAccount),
    ...(waypoint && { waypoint }),
    ...(networkGateway && { networkGateway }),
    node: workload.node,
    canonicalName: workload.canonicalName,
    canonicalRevision: workload.canonicalRevision,
    workloadType: numberOf(TYPES, workload.workloadType),
    workloadName: workload.workloadName,
    nativeTunnel: workload.hasNativeTunnel,
    ...(tunnel && { applicationTunnel: { protocol: numberOf(TUNNELS, tunnel.protocol), port: tunnel.port } }),
    services: Object.fromEntries(services.map(([key, ports]) => [key, { ports: ports.map((pair) => ({ ...pair })) }])),
    authorizationPolicies: [...workload.authorizationPolicies],
    status: workload.health === 'HEALTHY' ? WorkloadStatus.HEALTHY : WorkloadStatus.UNHEALTHY,
    clusterId: unless(ELIDED.clusterId, workload.clusterId),
    ...(region + zone + subzone === '' ? {} : { locality: { region, zone, subzone } }),
    networkMode: workload.isHostNetwork ? NetworkMode.HOST_NETWORK : NetworkMode.STANDARD,
    extensions: workload.isPending ? [{ name: 'pending', config: { typeUrl: PENDING_TYPE } }] : [],
    ...(workload.capacity === 1 ? {} : { capacity: workload.capacity }),
  })
}

function addressesFromWire(faults: Faults, list: readonly Uint8Array[]): IpAddress[] {
  const addresses = faults.many('addresses', list, ADDRESSES_LIMIT).map((bytes) => faults.ip('addresses', bytes))
  return addresses.filter((ip) => ip !== undefined)
}

function protocolFromWire(faults: Faults, value: number): Workload['protocol'] {
  if (value === TunnelProtocol.LEGACY_ISTIO_MTLS) faults.note('tunnel_protocol', 'legacy Istio mTLS is not spoken here')
  const known = { [TunnelProtocol.NONE]: 'NONE', [TunnelProtocol.HBONE]: 'HBONE', [TunnelProtocol.LEGACY_ISTIO_MTLS]: 'HBONE' } as const
  return faults.choice('tunnel_protocol', value, known, 'HBONE')
}

function servicesFromWire(faults: Faults, wire: WireWorkload): Map<ServiceKey, PortPair[]> {
  const services = new Map<ServiceKey, PortPair[]>()
  for (const [key, list] of faults.many('services', Object.entries(wire.services), SERVICES_LIMIT)) {
    const field = `services[${faults.text('services', key)}]`
    if (!/^[^/]+\/[^/]+$/.test(key)) faults.note(field, 'is not namespace/hostname')
    const ports = faults.many(field, list.ports, PORTS_LIMIT).map((port) => ({
      servicePort: faults.port(`${field}.service_port`, port.servicePort),
      targetPort: faults.port(`${field}.target_port`, port.targetPort, 0),
    }))
    services.set(key, ports)
  }
  return services
}

function tunnelFromWire(faults: Faults, wire: WireWorkload): Workload['applicationTunnel'] {
  if (wire.applicationTunnel === undefined) return undefined
  const { protocol, port } = wire.applicationTunnel
  return {
    protocol: faults.choice('application_tunnel.protocol', protocol, TUNNELS, 'NONE'),
    port: faults.port('application_tunnel.port', port, 0),
  }
}

function unless(standard: string, value: string): string {
  return value === standard ? '' : value
}
