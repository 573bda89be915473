// State of the mesh in a cluster: its components with their versions, nodes, enrolled pods, certificates, what was released.
// Gathered from the API and from ztunnels; what cannot be had is said, never left out silently.
import { codeOf, messageOf } from '../../kit/error.ts'
import type { Namespace, Node, Pod } from '../../model/object.ts'
import type { ObjectApi } from '../../objects/api.ts'
import { REDIRECTION_ANNOTATION } from '../../runtime/annotations.ts'
import type { NodeDump } from '../node-dumps.ts'
import type { Redirection, Redirections } from '../redirects.ts'
import type { ZtunnelDump } from '../ztunnel-views.ts'
import type { ClusterAccess } from './access.ts'
import { COMPONENTS, componentOf, type ComponentName } from './components.ts'

/** Says since when a node or a namespace is released. */
export const RELEASED_ANNOTATION = 'weft.dev/released'

/** A pod of the mesh itself. `memoryBytes`: where the cluster has a metrics API. */
export interface ComponentPod {
  readonly component: ComponentName
  readonly name: string
  readonly node: string
  readonly version: string
  readonly isReady: boolean
  readonly restarts: number
  readonly memoryBytes: number | undefined
  /** Why it is not ready, or how it ended last; empty = nothing to say. */
  readonly remark: string
}

/** A node and what runs there. */
export interface NodeLine {
  readonly name: string
  readonly kernel: string
  readonly pods: number
  readonly enrolled: number
  readonly pending: number
  /** How connections are led to ztunnel; undefined = the agent could not be asked. */
  readonly redirection: Redirection | undefined
  /** Certificates that its ztunnel holds, good ones first; undefined = it could not be asked. */
  readonly certificates: { readonly valid: number; readonly total: number; readonly nextExpiry: string | undefined } | undefined
}

/** A pod of the users that is, or should be, in the mesh. */
export interface PodLine {
  readonly namespace: string
  readonly name: string
  readonly node: string
  readonly ip: string
  readonly isReady: boolean
  /** `enabled`, `pending`, or `-`: labelled, but not captured. */
  readonly enrolment: string
}

/** What `weft status -o json` prints of a cluster. */
export interface ClusterStatus {
  readonly server: string
  readonly version: string
  readonly isReady: boolean
  readonly components: readonly ComponentPod[]
  /** Components of which a node or the cluster has no ready pod. */
  readonly missing: readonly string[]
  readonly nodes: readonly NodeLine[]
  readonly pods: readonly PodLine[]
  readonly released: readonly { readonly what: string; readonly since: string }[]
  /** What could not be asked, a sentence each. */
  readonly unknown: readonly string[]
}

/** What is gathered before. */
export interface ClusterFacts {
  readonly server: string
  readonly version: string
  readonly systemNamespace: string
  readonly nodes: readonly Node[]
  readonly namespaces: readonly Namespace[]
  readonly pods: readonly Pod[]
  /** By `namespace/name`, bytes. */
  readonly memory: ReadonlyMap<string, number>
  readonly dumps: readonly NodeDump<ZtunnelDump>[]
  /** What the agents say; a node without one is not there. */
  readonly redirections: Redirections
  readonly nowMs: number
  readonly unknown: readonly string[]
}

/** Asks the API. @throws MeshError of the API, when nodes or pods cannot be listed */
export async function gatherFacts(
  api: ObjectApi,
  access: ClusterAccess,
  options: {
    readonly systemNamespace: string
    readonly nowMs: number
    dumps(): Promise<NodeDump<ZtunnelDump>[]>
    redirections(): Promise<Redirections>
  },
): Promise<ClusterFacts> {
  const { systemNamespace, nowMs } = options
  const unknown: string[] = []
  const [nodes, namespaces, pods] = await Promise.all([api.list('nodes'), api.list('namespaces'), api.list('pods')])
  const version = (await access.get('/version', { resource: 'version' })) as { readonly gitVersion?: string }
  const memory = await readMemory(access, systemNamespace)
  const has = (component: ComponentName): boolean => (pods.items as Pod[]).some((pod) => isOf(pod, systemNamespace, component))
  const [dumps, redirections] = await Promise.all([
    has('ztunnel') ? options.dumps() : [],
    has('cni') ? options.redirections() : (new Map() as Redirections),
  ])
  for (const one of dumps) if ('failure' in one) unknown.push(`ztunnel of ${one.node}: ${messageOf(one.failure)}`)
  for (const [node, one] of redirections) if (typeof one === 'string') unknown.push(`agent of ${node}: ${one}`)
  return {
    server: await access.server(),
    version: version.gitVersion ?? '?',
    systemNamespace,
    nodes: nodes.items as Node[],
    namespaces: namespaces.items as Namespace[],
    pods: pods.items as Pod[],
    memory,
    dumps,
    redirections,
    nowMs,
    unknown,
  }
}

/** Facts -> status. Pure. */
export function statusOfCluster(facts: ClusterFacts): ClusterStatus {
  const { systemNamespace, nodes } = facts
  const components = facts.pods.flatMap((pod) => componentLine(pod, facts) ?? []).sort((a, b) => rank(a).localeCompare(rank(b)))
  const pods = podLines(facts)
  const missing = missingOf(components, nodes)
  const released = releasedOf(facts)
  const isWhole = missing.length === 0 && components.every((one) => one.isReady) && pods.every((one) => one.enrolment === 'enabled')
  return {
    server: facts.server,
    version: facts.version,
    isReady: isWhole && released.length === 0,
    components,
    missing: components.length === 0 ? [`weft is not installed in namespace ${systemNamespace}`] : missing,
    nodes: nodes.map((node) => nodeLine(node, pods, facts)),
    pods,
    released,
    unknown: facts.unknown,
  }
}

function isOf(pod: Pod, namespace: string, component: ComponentName): boolean {
  return pod.metadata.namespace === namespace && componentOf(pod) === component
}

function rank({ component, node, name }: ComponentPod): string {
  return `${COMPONENTS.indexOf(component)} ${node} ${name}`
}

function componentLine(pod: Pod, { systemNamespace, memory }: ClusterFacts): ComponentPod | undefined {
  const component = componentOf(pod)
  if (component === undefined || pod.metadata.namespace !== systemNamespace) return undefined
  const statuses = pod.status?.containerStatuses ?? []
  const waiting = statuses.find((one) => one.state.waiting !== undefined)?.state.waiting
  const ended = statuses.find((one) => one.lastState?.terminated !== undefined)?.lastState?.terminated
  return {
    component,
    name: pod.metadata.name,
    node: pod.spec?.nodeName ?? '-',
    version: versionOf(pod.spec?.containers[0]?.image),
    isReady: isReady(pod),
    restarts: statuses.reduce((sum, one) => sum + one.restartCount, 0),
    memoryBytes: memory.get(`${systemNamespace}/${pod.metadata.name}`),
    remark:
      waiting?.reason ?? (ended === undefined ? (pod.status?.reason ?? '') : `ended before: ${ended.reason}, status ${ended.exitCode}`),
  }
}

/** The control plane anywhere; agent and ztunnel on every node that takes pods. */
function missingOf(components: readonly ComponentPod[], nodes: readonly Node[]): string[] {
  const missing: string[] = []
  if (!components.some((one) => one.component === 'controlplane' && one.isReady)) missing.push('no control plane is ready')
  for (const { metadata } of nodes)
    for (const name of ['cni', 'ztunnel'] as const)
      if (!components.some((one) => one.component === name && one.node === metadata.name && one.isReady))
        missing.push(`node ${metadata.name} has no ready ${name}`)
  return missing
}

function podLines({ pods, namespaces, systemNamespace }: ClusterFacts): PodLine[] {
  const modes = new Map(namespaces.map(({ metadata }) => [metadata.name, metadata.labels?.['istio.io/dataplane-mode']]))
  return pods
    .filter((pod) => pod.metadata.namespace !== systemNamespace && isAlive(pod))
    .filter((pod) => pod.metadata.annotations?.[REDIRECTION_ANNOTATION] !== undefined || isLabelled(pod, modes))
    .map((pod) => ({
      namespace: pod.metadata.namespace ?? '',
      name: pod.metadata.name,
      node: pod.spec?.nodeName ?? '-',
      ip: pod.status?.podIP ?? '-',
      isReady: isReady(pod),
      enrolment: pod.metadata.annotations?.[REDIRECTION_ANNOTATION] ?? '-',
    }))
    .sort((a, b) => `${a.namespace}/${a.name}`.localeCompare(`${b.namespace}/${b.name}`))
}

function isLabelled(pod: Pod, modes: ReadonlyMap<string, string | undefined>): boolean {
  const mode = pod.metadata.labels?.['istio.io/dataplane-mode'] ?? modes.get(pod.metadata.namespace ?? '')
  return mode === 'ambient' && pod.spec?.hostNetwork !== true
}

function isAlive({ metadata, status }: Pod): boolean {
  return metadata.deletionTimestamp === undefined && status?.phase !== 'Succeeded' && status?.phase !== 'Failed'
}

function nodeLine({ metadata, status }: Node, lines: readonly PodLine[], facts: ClusterFacts): NodeLine {
  const own = lines.filter((pod) => pod.node === metadata.name)
  const redirection = facts.redirections.get(metadata.name)
  const info = (status as { readonly nodeInfo?: { readonly kernelVersion?: string } } | undefined)?.nodeInfo
  return {
    name: metadata.name,
    kernel: info?.kernelVersion ?? '-',
    pods: facts.pods.filter((pod) => pod.spec?.nodeName === metadata.name && isAlive(pod)).length,
    enrolled: own.filter((pod) => pod.enrolment === 'enabled').length,
    pending: own.filter((pod) => pod.enrolment !== 'enabled').length,
    redirection: typeof redirection === 'string' ? undefined : redirection,
    certificates: certificatesOf(
      facts.dumps.find((one) => one.node === metadata.name),
      facts.nowMs,
    ),
  }
}

function certificatesOf(found: NodeDump<ZtunnelDump> | undefined, nowMs: number): NodeLine['certificates'] {
  if (found === undefined || !('dump' in found)) return undefined
  const all = found.dump.certificates ?? []
  const ends = all.flatMap((one) => one.certChain?.slice(0, 1).map((leaf) => leaf.expirationTime ?? '') ?? []).sort()
  return { valid: ends.filter((end) => Date.parse(end) > nowMs).length, total: all.length, nextExpiry: ends[0] }
}

function releasedOf({ nodes, namespaces }: ClusterFacts): { what: string; since: string }[] {
  return [...nodes.map((one) => ['node', one] as const), ...namespaces.map((one) => ['namespace', one] as const)].flatMap(
    ([kind, { metadata }]) => {
      const since = metadata.annotations?.[RELEASED_ANNOTATION]
      return since === undefined ? [] : [{ what: `${kind} ${metadata.name}`, since }]
    },
  )
}

/** Without a metrics API there is nothing to say. */
async function readMemory(access: ClusterAccess, namespace: string): Promise<ReadonlyMap<string, number>> {
  interface Usage {
    readonly items?: readonly {
      readonly metadata: { readonly name: string }
      readonly containers?: readonly { usage?: { memory?: string } }[]
    }[]
  }
  let list: Usage
  try {
    const path = `/apis/metrics.k8s.io/v1beta1/namespaces/${encodeURIComponent(namespace)}/pods`
    list = (await access.get(path, { resource: 'pods.metrics.k8s.io', namespace })) as Usage
  } catch (error) {
    if (!['NOT_FOUND', 'FORBIDDEN', 'NOT_READY'].includes(codeOf(error))) throw error
    return new Map() // most clusters for tests have no such API, and not everybody may read it
  }
  return new Map(
    (list.items ?? []).map(({ metadata, containers }) => [
      `${namespace}/${metadata.name}`,
      (containers ?? []).reduce((sum, one) => sum + bytesOf(one.usage?.memory), 0),
    ]),
  )
}

function bytesOf(quantity: string | undefined): number {
  const match = /^(\d+)(Ki|Mi|Gi)?$/.exec(quantity ?? '')
  const unit = { Ki: 1024, Mi: 1024 ** 2, Gi: 1024 ** 3 }[match?.[2] as 'Ki' | 'Mi' | 'Gi'] ?? 1
  return Number(match?.[1] ?? 0) * unit
}

function versionOf(image: string | undefined): string {
  const [path = '-'] = (image ?? '-').split('@')
  return /:([^/:]+)$/.exec(path)?.[1] ?? '-'
}

function isReady({ status }: Pod): boolean {
  return status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True') === true
}
