// Workloads and services for tests: whole values from the few facts that a test is about.
import { parseCidr, parseIp } from '../../model/address.ts'
import type { IpAddress } from '../../model/address.ts'
import type { Service } from '../../model/service.ts'
import type { Workload } from '../../model/workload.ts'

/** @returns the address; throws for text that is none, so that a typo fails the test */
export function ip(text: string): IpAddress {
  const parsed = parseIp(text)
  if (parsed === undefined) throw new Error(`${text} is no address`)
  return parsed
}

/** A healthy pod of namespace `shop` on node-1 that speaks HBONE. */
export function workloadOf(name: string, addresses: readonly string[], change: Partial<Workload> = {}): Workload {
  const namespace = change.namespace ?? 'shop'
  return {
    uid: `Kubernetes//Pod/${namespace}/${name}`,
    name,
    namespace,
    addresses: addresses.map(ip),
    hostname: '',
    network: '',
    protocol: 'HBONE',
    trustDomain: 'cluster.local',
    serviceAccount: name,
    node: 'node-1',
    canonicalName: name,
    canonicalRevision: 'latest',
    workloadType: 'POD',
    workloadName: name,
    health: 'HEALTHY',
    clusterId: 'Kubernetes',
    locality: { region: '', zone: '', subzone: '' },
    isHostNetwork: false,
    capacity: 1,
    services: new Map(),
    authorizationPolicies: [],
    waypoint: undefined,
    networkGateway: undefined,
    hasNativeTunnel: false,
    applicationTunnel: undefined,
    isPending: false,
    ...change,
  }
}

/** A service of namespace `shop` with port 80 to 8080. */
export function serviceOf(name: string, vips: readonly string[], change: Partial<Service> = {}): Service {
  const namespace = change.namespace ?? 'shop'
  return {
    name,
    namespace,
    hostname: `${name}.${namespace}.svc.cluster.local`,
    vips: vips.map((vip) => {
      const cidr = parseCidr(vip)
      if (cidr === undefined) throw new Error(`${vip} is no block`)
      return { network: '', cidr }
    }),
    ports: [{ servicePort: 80, targetPort: 8080, appProtocol: 'UNKNOWN' }],
    subjectAltNames: [],
    waypoint: undefined,
    loadBalancing: undefined,
    ipFamilies: 'AUTOMATIC',
    isCanonical: true,
    isPrivate: false,
    ...change,
  }
}
