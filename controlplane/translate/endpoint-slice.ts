// Service + EndpointSlice -> which pods serve it on which ports, and workloads for endpoints that are no pods.
// Whether an endpoint is healthy is its pod's own matter: the slice says who belongs, and what named ports mean there.
import { type IpAddress, isLocal, parseIp } from '../../model/address.ts'
import type { EndpointSlice, Service } from '../../model/object.ts'
import { OUTSIDER, type PortPair, type ServiceKey, type Workload } from '../../model/workload.ts'
import { hostnameOf, type MeshNames, namespaceOf, type Note } from './mesh.ts'
import { tcpPorts } from './service.ts'

/** A pod's membership in one service. */
export interface Membership {
  readonly serviceKey: ServiceKey
  readonly ports: readonly PortPair[]
}

/** What one slice says. */
export interface SliceTranslation {
  /** By the pod's `namespace/name`. */
  readonly pods: ReadonlyMap<string, Membership>
  /** Endpoints without a pod (written by hand), as plaintext workloads that are never looked up by address. */
  readonly workloads: readonly Workload[]
}

/** Pure; `service` is the one that the slice belongs to. */
export function translateSlice(slice: EndpointSlice, service: Service, names: MeshNames, note: Note): SliceTranslation {
  const namespace = namespaceOf(slice)
  const membership: Membership = {
    serviceKey: `${namespace}/${hostnameOf(names, namespace, service.metadata.name)}`,
    ports: portsOf(slice, service, note),
  }
  const pods = new Map<string, Membership>()
  const workloads: Workload[] = []
  if (slice.addressType === 'FQDN') return { pods, workloads }
  for (const endpoint of slice.endpoints ?? []) {
    const target = endpoint.targetRef
    if (target?.kind === 'Pod') {
      // A slice can only name pods of its own namespace: another one's would let it take their traffic.
      if ((target.namespace ?? namespace) === namespace) pods.set(`${namespace}/${target.name}`, membership)
      else note('endpoints.targetRef', 'names a pod of another namespace')
      continue
    }
    const isServing = endpoint.conditions?.ready ?? true
    const addresses = endpoint.addresses.map((text) => addressIn(text, note)).filter((ip) => ip !== undefined)
    const [first] = addresses
    if (first !== undefined) workloads.push(bareWorkload(slice, addresses, first, isServing, endpoint.nodeName ?? '', membership, names))
  }
  return { pods, workloads }
}

function portsOf(slice: EndpointSlice, service: Service, note: Note): PortPair[] {
  const pairs: PortPair[] = []
  for (const port of tcpPorts(service)) {
    const found = (slice.ports ?? []).find((each) => (each.name ?? '') === (port.name ?? '') && (each.protocol ?? 'TCP') === 'TCP')
    const targetPort = found?.port
    if (targetPort === undefined) continue // no endpoint of this slice has the named port
    if (targetPort < 1 || targetPort > 65535) note('ports', `${targetPort} is not a port`)
    else pairs.push({ servicePort: port.port, targetPort })
  }
  return pairs
}

function addressIn(text: string, note: Note): IpAddress | undefined {
  const ip = parseIp(text)
  if (ip !== undefined && !isLocal(ip)) return ip
  note('endpoints.addresses', `${JSON.stringify(text)} is not an address that others can reach`)
  return undefined
}

function bareWorkload(
  slice: EndpointSlice,
  addresses: readonly IpAddress[],
  key: string,
  isServing: boolean,
  node: string,
  membership: Membership,
  names: MeshNames,
): Workload {
  const namespace = namespaceOf(slice)
  return {
    ...OUTSIDER,
    uid: `${names.clusterId}/discovery.k8s.io/EndpointSlice/${namespace}/${slice.metadata.name}/${key}`,
    name: slice.metadata.name,
    namespace,
    addresses,
    hostname: '',
    network: names.network,
    trustDomain: names.trustDomain,
    serviceAccount: 'default',
    node,
    canonicalName: slice.metadata.name,
    canonicalRevision: 'latest',
    workloadName: slice.metadata.name,
    health: isServing ? 'HEALTHY' : 'UNHEALTHY',
    clusterId: names.clusterId,
    locality: { region: '', zone: '', subzone: '' },
    capacity: 1,
    services: new Map([[membership.serviceKey, membership.ports]]),
  }
}
