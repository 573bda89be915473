// A ServiceEntry that was read -> services of the mesh, one per host, and workloads for the endpoints that it writes. Names and uids
// are Istio's: pilot/pkg/serviceregistry/ambient/services.go constructServiceEntries, workloads.go serviceEntryWorkloadBuilder.
import { type Cidr, isIpv6 } from '../../../model/address.ts'
import type { EntryPort } from '../../../model/service-entry.ts'
import type { LoadBalancing, Service } from '../../../model/service.ts'
import { OUTSIDER, type GatewayAddress, type PortPair, type ServiceKey, type Workload } from '../../../model/workload.ts'
import type { RoutedService } from '../gateway/routed-service.ts'
import type { MeshNames } from '../mesh.ts'
import { appProtocolOf } from '../service.ts'
import type { ParsedEndpoint, ParsedEntry } from './parse.ts'

/** What a host is published with. */
export interface HostFacts {
  readonly host: string
  readonly vips: readonly Cidr[]
  /** It answers for its host name to those who have none of their own. */
  readonly isCanonical: boolean
}

/** What all hosts of an entry share. */
export interface EntryFacts {
  readonly waypoint: GatewayAddress | undefined
  readonly balancing: LoadBalancing | undefined
  readonly names: MeshNames
}

/** The service of one host. */
export function serviceOf(entry: ParsedEntry, { host, vips, isCanonical }: HostFacts, { waypoint, balancing, names }: EntryFacts): Service {
  return {
    name: entry.name,
    namespace: entry.namespace,
    hostname: host,
    vips: vips.map((cidr) => ({ network: names.network, cidr })),
    ports: entry.ports.map((port) => ({
      servicePort: port.number,
      targetPort: port.targetPort ?? port.number,
      appProtocol: appProtocolOf({ name: port.name, ...appProtocol(port) }),
    })),
    subjectAltNames: entry.subjectAltNames,
    waypoint,
    loadBalancing: entry.resolution === 'NONE' ? PASSTHROUGH : balancing,
    ipFamilies: 'AUTOMATIC',
    isCanonical,
    isPrivate: entry.isPrivate,
  }
}

/** As routes see the ports. */
export function routedEntry({ namespace, ports }: ParsedEntry): RoutedService {
  return { namespace, ports: ports.map((port) => ({ port: port.number, name: port.name, ...appProtocol(port) })) }
}

/** How ports of the entry lead to ports of pods that it selects. */
export function pairsOf({ ports }: ParsedEntry, own: Readonly<Record<string, number>> = {}): PortPair[] {
  return ports.map(({ number, name, targetPort }) => ({
    servicePort: number,
    targetPort: (Object.hasOwn(own, name) ? own[name] : undefined) ?? targetPort ?? number,
  }))
}

/** Workloads of written endpoints; of hosts that are their own endpoints, one each. */
export function workloadsOf(entry: ParsedEntry, keys: readonly ServiceKey[], names: MeshNames): Workload[] {
  if (!entry.isImplicit) return entry.endpoints.map((endpoint) => workloadOf(entry, endpoint, keys, names))
  return keys.map((key) => {
    const hostname = key.slice(key.indexOf('/') + 1)
    return workloadOf(entry, { address: hostname, hostname, ip: undefined }, [key], names)
  })
}

const PASSTHROUGH: LoadBalancing = { routingPreference: [], mode: 'PASSTHROUGH', allowsUnhealthy: true }

function appProtocol({ protocol }: EntryPort): { appProtocol?: string } {
  return protocol === undefined || protocol === '' ? {} : { appProtocol: protocol.toLowerCase() }
}

function workloadOf(entry: ParsedEntry, endpoint: ParsedEndpoint, keys: readonly ServiceKey[], names: MeshNames): Workload {
  const { ip, hostname, labels = {}, locality = '', weight = 0, serviceAccount = '', network = '' } = endpoint
  const [region = '', zone = '', subzone = ''] = locality.split('/')
  const pairs = pairsOf(entry, endpoint.ports)
  return {
    ...OUTSIDER,
    uid: endpointUid(entry, endpoint, names),
    name: entry.name,
    namespace: entry.namespace,
    addresses: ip === undefined ? [] : [ip],
    hostname,
    network: network === '' ? names.network : network,
    trustDomain: names.trustDomain,
    serviceAccount: serviceAccount === '' ? 'default' : serviceAccount,
    node: '',
    canonicalName: labels['service.istio.io/canonical-name'] ?? labels['app.kubernetes.io/name'] ?? labels.app ?? entry.name,
    canonicalRevision: labels['service.istio.io/canonical-revision'] ?? labels['app.kubernetes.io/version'] ?? labels.version ?? 'latest',
    workloadName: entry.name,
    health: 'HEALTHY',
    clusterId: names.clusterId,
    locality: { region, zone, subzone },
    capacity: weight === 0 ? 1 : weight,
    services: new Map(keys.map((key) => [key, pairs])),
  }
}

/** The uid of a written endpoint. */
export function endpointUid({ namespace, name }: ParsedEntry, { address }: Pick<ParsedEndpoint, 'address'>, names: MeshNames): string {
  return `${names.clusterId}/networking.istio.io/ServiceEntry/${namespace}/${name}/${address}`
}

/** One address as a block. */
export function single(ip: Cidr['ip']): Cidr {
  return { ip, prefix: isIpv6(ip) ? 128 : 32 }
}
