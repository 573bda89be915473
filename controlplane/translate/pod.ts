// Pod (with its namespace and node) -> Workload. Follows istio/istio:pilot/pkg/serviceregistry/ambient/workloads.go.
import { type IpAddress, isLocal, parseIp } from '../../model/address.ts'
import type { Namespace, Node, Pod } from '../../model/object.ts'
import type { GatewayAddress, PortPair, ServiceKey, Workload, WorkloadType } from '../../model/workload.ts'
import type { MeshNames, Note } from './mesh.ts'

const REDIRECTION = 'ambient.istio.io/redirection'
const NATIVE_TUNNEL = 'networking.istio.io/tunnel'
const NETWORK = 'topology.istio.io/network'
const NOWHERE: Workload['locality'] = { region: '', zone: '', subzone: '' }
/** Made of a node that does not change: a new one is another object. */
const LOCALITIES = new WeakMap<Node, Workload['locality']>()

/** What a workload is made of, besides its pod. */
export interface PodInputs {
  readonly namespace: Namespace | undefined
  readonly node: Node | undefined
  readonly services: ReadonlyMap<ServiceKey, readonly PortPair[]>
  /** Selector policies that apply, `namespace/name`. */
  readonly policies: readonly string[]
  readonly waypoint: GatewayAddress | undefined
  /** The pod is a waypoint: it takes HBONE by itself. */
  readonly isWaypoint: boolean
}

/** The uid under which a pod is published. */
export function uidOf(pod: Pod, names: MeshNames): string {
  return `${names.clusterId}//Pod/${pod.metadata.namespace ?? ''}/${pod.metadata.name}`
}

/** Whether the pod has ended: its address may belong to another pod by now. */
export function isTerminal(pod: Pod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed'
}

/** @returns undefined for pods that have ended and pods without an address */
export function podToWorkload(pod: Pod, inputs: PodInputs, names: MeshNames, note: Note): Workload | undefined {
  const addresses = isTerminal(pod) ? [] : addressesOf(pod, note)
  if (addresses.length === 0) return undefined
  const { metadata, spec } = pod
  const labels = metadata.labels ?? {}
  const owner = ownerOf(pod)
  const isHostNetwork = spec?.hostNetwork === true
  const redirection = isHostNetwork ? undefined : metadata.annotations?.[REDIRECTION]
  const hasNativeTunnel = inputs.isWaypoint || labels[NATIVE_TUNNEL] === 'http'
  return {
    uid: uidOf(pod, names),
    name: metadata.name,
    namespace: metadata.namespace ?? '',
    addresses,
    hostname: '',
    network: labels[NETWORK] ?? inputs.namespace?.metadata.labels?.[NETWORK] ?? names.network,
    protocol: redirection === 'enabled' || redirection === 'pending' || hasNativeTunnel ? 'HBONE' : 'NONE',
    trustDomain: names.trustDomain,
    serviceAccount: spec?.serviceAccountName ?? 'default',
    node: spec?.nodeName ?? '',
    canonicalName: labels['service.istio.io/canonical-name'] ?? labels['app.kubernetes.io/name'] ?? labels.app ?? owner.name,
    canonicalRevision: labels['service.istio.io/canonical-revision'] ?? labels['app.kubernetes.io/version'] ?? labels.version ?? 'latest',
    workloadType: owner.type,
    workloadName: owner.name,
    health: isReady(pod) ? 'HEALTHY' : 'UNHEALTHY',
    clusterId: names.clusterId,
    locality: localityOf(inputs.node),
    isHostNetwork,
    capacity: 1,
    services: inputs.services,
    authorizationPolicies: inputs.policies,
    waypoint: inputs.waypoint,
    networkGateway: undefined,
    hasNativeTunnel,
    applicationTunnel: undefined,
    isPending: redirection === 'pending',
  }
}

function addressesOf(pod: Pod, note: Note): IpAddress[] {
  const texts = pod.status?.podIPs?.map(({ ip }) => ip) ?? []
  if (texts.length === 0 && pod.status?.podIP) texts.push(pod.status.podIP)
  const addresses: IpAddress[] = []
  for (const text of texts) {
    const ip = parseIp(text)
    if (ip === undefined || isLocal(ip)) note('status.podIPs', `${JSON.stringify(text)} is not an address that others can reach`)
    else if (!addresses.includes(ip)) addresses.push(ip)
  }
  return addresses.slice() // no room for more: an array that was pushed to has some for 17
}

function isReady(pod: Pod): boolean {
  if (pod.metadata.deletionTimestamp !== undefined) return false
  return pod.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') === true
}

/** What made the pod, as people know it: its Deployment rather than the ReplicaSet, its CronJob rather than the Job. */
function ownerOf(pod: Pod): { name: string; type: WorkloadType } {
  const { metadata } = pod
  const owner = metadata.ownerReferences?.find(({ controller }) => controller === true) ?? metadata.ownerReferences?.[0]
  if (owner === undefined) return { name: metadata.name, type: 'POD' }
  const hash = metadata.labels?.['pod-template-hash']
  if (owner.kind === 'Deployment') return { name: owner.name, type: 'DEPLOYMENT' }
  if (owner.kind === 'ReplicaSet' && hash !== undefined && owner.name.endsWith(`-${hash}`))
    return { name: owner.name.slice(0, -hash.length - 1), type: 'DEPLOYMENT' }
  if (owner.kind === 'Job') {
    const scheduled = /^(.+)-\d{8,10}$/.exec(owner.name)?.[1]
    return scheduled === undefined ? { name: owner.name, type: 'JOB' } : { name: scheduled, type: 'CRONJOB' }
  }
  return { name: owner.name, type: 'POD' }
}

/** Where pods of a node run; one value for all of them. */
export function localityOf(node: Node | undefined): Workload['locality'] {
  if (node === undefined) return NOWHERE
  const kept = LOCALITIES.get(node)
  if (kept !== undefined) return kept
  const labels = node.metadata.labels ?? {}
  const locality = {
    region: labels['topology.kubernetes.io/region'] ?? '',
    zone: labels['topology.kubernetes.io/zone'] ?? '',
    subzone: labels['topology.istio.io/subzone'] ?? '',
  }
  LOCALITIES.set(node, locality)
  return locality
}
