// The JSON of /config_dump in the shape of Istio's ztunnel (istio/ztunnel:src/admin.rs, src/state/*.rs), so that istioctl and
// our own CLI read either. Pure: values in, plain JSON out.
import type { Cidr } from '../../model/address.ts'
import { isIpv6 } from '../../model/address.ts'
import type { Authorization, PolicyMatch, StringMatch } from '../../model/policy.ts'
import { serviceKeyOf } from '../../model/service.ts'
import type { Service } from '../../model/service.ts'
import type { GatewayAddress, PortPair, Workload } from '../../model/workload.ts'
import type { PodConnections } from '../channel.ts'
import type { EnrolledState } from '../enroll.ts'

/** One certificate as PEM with its facts; times in RFC 3339. */
export interface CertificateDump {
  readonly pem: string
  readonly serialNumber: string
  readonly validFrom: string
  readonly expirationTime: string
}

/** An identity and how its certificate is. */
export interface IdentityDump {
  readonly identity: string
  /** `Initializing`, `Available` or `Unavailable: REASON` */
  readonly state: string
  readonly certChain: readonly CertificateDump[]
  readonly rootCerts: readonly CertificateDump[]
}

/** All that is dumped. */
export interface DumpInput {
  readonly workloads: Iterable<Workload>
  readonly services: Iterable<Service>
  readonly policies: Iterable<Authorization>
  readonly networks: readonly Cidr[]
  readonly certificates: readonly IdentityDump[]
  readonly pods: readonly EnrolledState[]
  readonly connections: readonly PodConnections[]
  readonly config: Readonly<Record<string, unknown>>
  readonly version: Readonly<Record<string, string>>
}

/** @returns the dump; lists are sorted, so that two dumps can be compared */
export function configDump(input: DumpInput): Record<string, unknown> {
  const workloads = [...input.workloads].sort(by((workload) => workload.uid))
  return {
    workloads: workloads.map(dumpWorkload),
    services: [...input.services].sort(by(serviceKeyOf)).map((service) => dumpService(service, workloads)),
    policies: [...input.policies].sort(by((policy) => `${policy.namespace}/${policy.name}`)).map(dumpPolicy),
    stagedServices: {},
    staticConfig: { workloads: [], services: [], policies: [] },
    networks: input.networks.map((cidr) => `${cidr.ip}/${cidr.prefix}`),
    version: input.version,
    config: input.config,
    certificates: [...input.certificates].sort(by((certificate) => certificate.identity)),
    workloadState: Object.fromEntries(input.pods.map((pod) => [pod.uid, dumpPod(pod, input.connections)])),
  }
}

function dumpPod(pod: EnrolledState, connections: readonly PodConnections[]): Record<string, unknown> {
  const own = connections.filter((entry) => entry.uid === pod.uid)
  return {
    state: pod.state,
    info: pod.info,
    connections: { inbound: own.flatMap((entry) => entry.inbound), outbound: own.flatMap((entry) => entry.outbound) },
  }
}

function dumpWorkload(workload: Workload): Record<string, unknown> {
  return {
    workloadIps: workload.addresses,
    ...optional('waypoint', dumpGateway(workload.waypoint)),
    ...optional('networkGateway', dumpGateway(workload.networkGateway)),
    protocol: workload.protocol === 'HBONE' ? 'HBONE' : 'TCP',
    networkMode: workload.isHostNetwork ? 'HostNetwork' : 'Standard',
    uid: workload.uid,
    name: workload.name,
    namespace: workload.namespace,
    trustDomain: workload.trustDomain,
    serviceAccount: workload.serviceAccount,
    network: workload.network,
    workloadName: workload.workloadName,
    workloadType: workload.workloadType.toLowerCase(),
    canonicalName: workload.canonicalName,
    canonicalRevision: workload.canonicalRevision,
    hostname: workload.hostname,
    node: workload.node,
    nativeTunnel: workload.hasNativeTunnel,
    ...optional('applicationTunnel', workload.applicationTunnel),
    authorizationPolicies: workload.authorizationPolicies,
    status: workload.health === 'HEALTHY' ? 'Healthy' : 'Unhealthy',
    clusterId: workload.clusterId,
    locality: workload.locality,
    services: [...workload.services.keys()],
    capacity: workload.capacity,
    pending: workload.isPending,
  }
}

function dumpService(service: Service, workloads: readonly Workload[]): Record<string, unknown> {
  const key = serviceKeyOf(service)
  const endpoints = workloads.flatMap((workload) => {
    const ports = workload.services.get(key)
    const status = workload.health === 'HEALTHY' ? 'Healthy' : 'Unhealthy'
    return ports === undefined ? [] : [[workload.uid, { workloadUid: workload.uid, port: portMap(ports), status }] as const]
  })
  return {
    name: service.name,
    namespace: service.namespace,
    hostname: service.hostname,
    vips: service.vips.map((vip) => `${vip.network}/${vip.cidr.ip}${isSingle(vip.cidr) ? '' : `/${vip.cidr.prefix}`}`),
    ports: portMap(service.ports),
    endpoints: Object.fromEntries(endpoints),
    subjectAltNames: service.subjectAltNames,
    ...optional('waypoint', dumpGateway(service.waypoint)),
    ...optional('loadBalancer', service.loadBalancing),
    ipFamilies: service.ipFamilies,
    canonical: service.isCanonical,
    ...(service.isPrivate ? { visibility: 'Namespace' } : {}),
  }
}

const SCOPES = { GLOBAL: 'Global', NAMESPACE: 'Namespace', WORKLOAD_SELECTOR: 'WorkloadSelector' } as const

function dumpPolicy(policy: Authorization): Record<string, unknown> {
  return {
    name: policy.name,
    namespace: policy.namespace,
    scope: SCOPES[policy.scope],
    action: policy.action === 'ALLOW' ? 'Allow' : 'Deny',
    rules: policy.rules.map((clauses) => clauses.map((matches) => matches.map(dumpMatch))),
    dryRun: policy.isDryRun,
  }
}

/** Only the fields that say something. */
function dumpMatch(match: PolicyMatch): Record<string, unknown> {
  const block = (cidr: Cidr): string => `${cidr.ip}/${cidr.prefix}`
  const all = {
    namespaces: match.namespaces.map(dumpString),
    notNamespaces: match.notNamespaces.map(dumpString),
    principals: match.principals.map(dumpString),
    notPrincipals: match.notPrincipals.map(dumpString),
    sourceIps: match.sourceIps.map(block),
    notSourceIps: match.notSourceIps.map(block),
    destinationIps: match.destinationIps.map(block),
    notDestinationIps: match.notDestinationIps.map(block),
    destinationPorts: match.destinationPorts,
    notDestinationPorts: match.notDestinationPorts,
    serviceAccounts: match.serviceAccounts,
    notServiceAccounts: match.notServiceAccounts,
  }
  return Object.fromEntries(Object.entries(all).filter(([, values]) => values.length > 0))
}

function dumpString(match: StringMatch): unknown {
  switch (match.kind) {
    case 'exact':
      return { Exact: match.value }
    case 'prefix':
      return { Prefix: match.value }
    case 'suffix':
      return { Suffix: match.value }
    case 'presence':
      return 'Presence'
  }
}

function dumpGateway(gateway: GatewayAddress | undefined): Record<string, unknown> | undefined {
  if (gateway === undefined) return undefined
  const destination = gateway.kind === 'address' ? `${gateway.network}/${gateway.ip}` : `${gateway.namespace}/${gateway.hostname}`
  return { destination, hboneMtlsPort: gateway.hbonePort }
}

function portMap(pairs: readonly PortPair[]): Record<string, number> {
  return Object.fromEntries(pairs.map((pair) => [String(pair.servicePort), pair.targetPort]))
}

function isSingle(cidr: Cidr): boolean {
  return cidr.prefix === (isIpv6(cidr.ip) ? 128 : 32)
}

function optional(name: string, value: unknown): Record<string, unknown> {
  return value === undefined ? {} : { [name]: value }
}

function by<T>(key: (value: T) => string): (a: T, b: T) => number {
  return (a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0)
}
