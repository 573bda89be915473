// The cluster of bench/scale.ts: 1,000 nodes, 50,000 pods, 500 services, as the API would give its objects, and what each node's
// proxy asks for. Everything follows from numbers, so that both processes know the same without telling each other.
import type { MeshObject } from '../model/object.ts'

/** Size of the cluster. */
export interface Scale {
  readonly nodes: number
  readonly pods: number
  readonly services: number
  readonly namespaces: number
  /** Services that a node's proxy asks for on demand. */
  readonly servicesPerNode: number
}

/** The size that is promised. */
export const FULL_SCALE: Scale = { nodes: 1000, pods: 50_000, services: 500, namespaces: 50, servicesPerNode: 20 }

const HASH = '5d9c7b6f48'
const SECONDS = 1_790_000_000

/** Every object, freshly parsed: no two objects share text, as when they come from the API. */
export function* objectsOf(scale: Scale): Generator<MeshObject> {
  for (let n = 0; n < scale.namespaces; n++) yield parsed(namespaceObject(n))
  yield parsed({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'weft-system' } })
  for (let n = 0; n < scale.nodes; n++) yield parsed(nodeObject(n))
  for (let n = 0; n < scale.nodes; n++) yield parsed(proxyPod(n))
  for (let s = 0; s < scale.services; s++) yield parsed(serviceObject(s, scale))
  for (let p = 0; p < scale.pods; p++) yield parsed(podObject(p, scale))
  for (let s = 0; s < scale.services; s++) yield parsed(sliceObject(s, scale))
  for (let n = 0; n < scale.namespaces; n++) yield parsed(policyObject(n))
  yield parsed({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'ServiceCIDR',
    metadata: { name: 'kubernetes' },
    spec: { cidrs: ['10.96.0.0/12'] },
  })
}

/** What the proxy of a node asks for: its own pods by address, services half by virtual address, half by name. */
export function keysOf(node: number, scale: Scale): string[] {
  const keys = podsOn(node, scale).map((p) => `/${podIp(p)}`)
  for (const [i, s] of servicesOf(node, scale).entries()) keys.push(i % 2 === 0 ? `/${vipOf(s)}` : serviceKey(s, scale))
  return keys
}

/** How many resources those keys stand for. */
export function expectedOf(node: number, scale: Scale): number {
  const own = podsOn(node, scale)
  const asked = new Set(servicesOf(node, scale))
  const perService = scale.pods / scale.services
  return asked.size * (1 + perService) + own.filter((p) => !asked.has(p % scale.services)).length
}

/** Nodes whose proxies follow a pod: its own and those that asked for its service. */
export function nodesThatNeed(pod: number, scale: Scale): number[] {
  const own = Math.floor((pod * scale.nodes) / scale.pods)
  const needing: number[] = []
  for (let n = 0; n < scale.nodes; n++) if (n === own || servicesOf(n, scale).includes(pod % scale.services)) needing.push(n)
  return needing
}

/** A pod, ready or not. */
export function podObject(p: number, scale: Scale, isReady = true): MeshObject {
  const app = serviceName(p % scale.services)
  const time = new Date((SECONDS + p) * 1000).toISOString()
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: podName(p, scale),
      namespace: namespaceName(p % scale.services, scale),
      uid: uidOf(p),
      resourceVersion: String(100_000 + p),
      creationTimestamp: time,
      labels: { app, version: 'v1', 'pod-template-hash': HASH },
      annotations: { 'ambient.istio.io/redirection': 'enabled' },
      ownerReferences: [
        {
          apiVersion: 'apps/v1',
          kind: 'ReplicaSet',
          name: `${app}-${HASH}`,
          uid: uidOf(1_000_000 + (p % scale.services)),
          controller: true,
        },
      ],
    },
    spec: { nodeName: nodeName(Math.floor((p * scale.nodes) / scale.pods)), serviceAccountName: app, containers: [] },
    status: {
      phase: 'Running',
      podIP: podIp(p),
      podIPs: [{ ip: podIp(p) }],
      conditions: [{ type: 'Ready', status: isReady ? 'True' : 'False', lastTransitionTime: time }],
    },
  } as MeshObject
}

/** The bearer token of a node's proxy. */
export function tokenOf(node: number): string {
  return `node-token-${node}`
}

/** Whose a token is, as a token review says it. */
export function userOf(
  token: string,
): { namespace: string; serviceAccount: string; podName: string; podUid: string; nodeName: string } | undefined {
  const found = /^node-token-(\d+)$/.exec(token)
  if (found === null) return undefined
  const n = Number(found[1])
  return {
    namespace: 'weft-system',
    serviceAccount: 'ztunnel',
    podName: `ztunnel-${n}`,
    podUid: uidOf(2_000_000 + n),
    nodeName: nodeName(n),
  }
}

function parsed(object: object): MeshObject {
  return JSON.parse(JSON.stringify(object)) as MeshObject
}

function podsOn(node: number, { nodes, pods }: Scale): number[] {
  const perNode = pods / nodes
  return Array.from({ length: perNode }, (_, i) => node * perNode + i)
}

function servicesOf(node: number, { services, servicesPerNode }: Scale): number[] {
  const step = Math.max(1, Math.floor(services / servicesPerNode))
  return Array.from({ length: Math.min(services, servicesPerNode) }, (_, k) => (node * 13 + k * step) % services)
}

const nodeName = (n: number): string => `node-${n}`
const serviceName = (s: number): string => `app-${s}`
const namespaceName = (s: number, { namespaces }: Scale): string => `team-${s % namespaces}`
const serviceKey = (s: number, scale: Scale): string =>
  `${namespaceName(s, scale)}/${serviceName(s)}.${namespaceName(s, scale)}.svc.cluster.local`
const podName = (p: number, { services }: Scale): string => `${serviceName(p % services)}-${HASH}-${p.toString(36).padStart(5, '0')}`
const podIp = (p: number): string => `10.${128 + (p >> 16)}.${(p >> 8) & 255}.${p & 255}`
const vipOf = (s: number): string => `10.96.${s >> 8}.${s & 255}`
const uidOf = (n: number): string => `00000000-0000-4000-8000-${n.toString(16).padStart(12, '0')}`

function namespaceObject(n: number): object {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name: `team-${n}`, labels: { 'istio.io/dataplane-mode': 'ambient' } } }
}

function nodeObject(n: number): object {
  const zone = `zone-${n % 3}`
  const labels = { 'topology.kubernetes.io/region': 'region', 'topology.kubernetes.io/zone': zone, 'kubernetes.io/hostname': nodeName(n) }
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: nodeName(n), labels },
    spec: { podCIDR: `10.${128 + (n >> 8)}.${n & 255}.0/24` },
  }
}

function proxyPod(n: number): object {
  const { podName: name, podUid: uid, nodeName: node } = userOf(tokenOf(n)) ?? { podName: '', podUid: '', nodeName: '' }
  const ip = `172.20.${n >> 8}.${n & 255}`
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'weft-system', uid, labels: { app: 'ztunnel' } },
    spec: { nodeName: node, serviceAccountName: 'ztunnel', hostNetwork: true, containers: [] },
    status: { phase: 'Running', podIP: ip, podIPs: [{ ip }], conditions: [{ type: 'Ready', status: 'True' }] },
  }
}

function serviceObject(s: number, scale: Scale): object {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: serviceName(s), namespace: namespaceName(s, scale), uid: uidOf(3_000_000 + s) },
    spec: {
      selector: { app: serviceName(s) },
      clusterIP: vipOf(s),
      clusterIPs: [vipOf(s)],
      ports: [{ name: 'http', port: 80, targetPort: 8080, protocol: 'TCP' }],
    },
  }
}

function sliceObject(s: number, scale: Scale): object {
  const endpoints: object[] = []
  for (let p = s; p < scale.pods; p += scale.services) {
    const targetRef = { kind: 'Pod', namespace: namespaceName(s, scale), name: podName(p, scale) }
    endpoints.push({ addresses: [podIp(p)], conditions: { ready: true }, targetRef })
  }
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${serviceName(s)}-x7k2p`,
      namespace: namespaceName(s, scale),
      labels: { 'kubernetes.io/service-name': serviceName(s) },
    },
    addressType: 'IPv4',
    endpoints,
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
  }
}

function policyObject(n: number): object {
  return {
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'team', namespace: `team-${n}` },
    spec: { action: 'ALLOW', rules: [{ from: [{ source: { namespaces: [`team-${n}`, 'team-0'] } }] }] },
  }
}
