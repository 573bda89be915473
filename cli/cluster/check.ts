// weft check on a cluster: what the mesh needs of it, before and after the installation, each with the way out. Changes nothing.
import { codeOf, messageOf } from '../../kit/error.ts'
import type { Pod } from '../../model/object.ts'
import type { Finding } from '../check.ts'
import { foreignParts, type SurveyedNode, surveyNodes, type Workload } from '../install/survey.ts'
import { redirectionFindings, type Redirections } from '../redirects.ts'
import type { ClusterAccess } from './access.ts'
import { type AnyObject, type AnyObjects, KIND, type KindPath } from './any-objects.ts'
import { componentOf } from './components.ts'

const OLDEST_MINOR = 30
const NEEDED_KINDS: readonly string[] = [
  'gatewayclasses.gateway.networking.k8s.io',
  'gateways.gateway.networking.k8s.io',
  'httproutes.gateway.networking.k8s.io',
  'authorizationpolicies.security.istio.io',
  'peerauthentications.security.istio.io',
]
const MORE_KINDS: readonly string[] = [
  'grpcroutes.gateway.networking.k8s.io',
  'referencegrants.gateway.networking.k8s.io',
  'destinationrules.networking.istio.io',
  'serviceentries.networking.istio.io',
  'virtualservices.networking.istio.io',
  'ratelimitpolicies.weft.dev',
]
/** What people do with the mesh; installing needs more, and `weft install` checks that itself. */
const RIGHTS: readonly (readonly [verb: string, group: string, plural: string, what: string])[] = [
  ['list', '', 'nodes', 'weft status'],
  ['list', '', 'namespaces', 'weft status'],
  ['list', '', 'pods', 'weft status'],
  ['patch', '', 'namespaces', 'weft label, weft release'],
  ['patch', '', 'nodes', 'weft release'],
  ['create', '', 'pods/exec', 'weft exec, weft release'],
  ['create', '', 'pods/portforward', 'weft ztunnel-config, weft status'],
  ['get', '', 'pods/log', 'weft logs'],
  ['patch', 'gateway.networking.k8s.io', 'gateways', 'weft waypoint'],
  ['patch', 'security.istio.io', 'authorizationpolicies', 'weft apply'],
]
/** Says of a kubelet whose cgroup is not its own; the agent writes it in the log and in this annotation of its pod. */
const SHARED_KUBELET = /other processes share the cgroup of the kubelet/
const CILIUM = ['kube-system', 'cilium-config'] as const

/** What the findings are made from. */
export interface CheckedCluster {
  readonly access: Pick<ClusterAccess, 'get'>
  readonly cluster: Pick<AnyObjects, 'list' | 'get' | 'may'>
  readonly systemNamespace: string
  /** What the node agents say of themselves. */
  redirections(): Promise<Redirections>
  /** The last lines that a pod of the mesh wrote. */
  lastLines(namespace: string, pod: string): Promise<string>
}

/** @throws MeshError API_UNREACHABLE | UNAUTHENTICATED; what the account may not see becomes a finding */
export async function checkCluster(given: CheckedCluster): Promise<Finding[]> {
  const { cluster } = given
  return [
    await apiVersion(given.access),
    ...(await rights(cluster)),
    ...(await attempt('kinds', () => kinds(cluster))),
    ...(await attempt('nodes', () => nodes(cluster))),
    ...(await attempt('other meshes', () => foreign(given))),
    ...(await attempt('socket load balancer', () => socketLoadBalancer(cluster))),
    ...(await attempt('cgroups of kubelets', () => kubelets(given))),
    ...(await attempt('redirection', () => redirection(given))),
  ]
}

async function apiVersion(access: CheckedCluster['access']): Promise<Finding> {
  const { major = '', minor = '', gitVersion = '?' } = (await access.get('/version', { resource: 'version' })) as Record<string, string>
  const isGood = major !== '1' || Number.parseInt(minor, 10) >= OLDEST_MINOR
  return finding('API server', isGood, gitVersion, `Kubernetes 1.${OLDEST_MINOR} or newer is needed`)
}

/** One finding for all that are there, one for each that is missing. */
async function rights(cluster: CheckedCluster['cluster']): Promise<Finding[]> {
  const missing: Finding[] = []
  for (const [verb, group, plural, what] of RIGHTS) {
    if (await cluster.may(verb, { group, plural }, undefined)) continue
    const resource = group === '' ? plural : `${plural}.${group}`
    const wayOut = `needed for ${what}: grant ${verb} on ${resource} to your account (in the namespaces where you use it)`
    missing.push({ ...finding(`right to ${verb} ${resource}`, false, 'not granted in the whole cluster', wayOut), isNeeded: false })
  }
  return missing.length > 0 ? missing : [finding('rights of your account', true, `all ${RIGHTS.length} that commands need`, '')]
}

async function kinds(cluster: CheckedCluster['cluster']): Promise<Finding[]> {
  const names = new Set((await cluster.list(KIND.definitions)).map(({ metadata }) => metadata.name))
  const missing = (wanted: readonly string[]): string[] => wanted.filter((name) => !names.has(name))
  const [needed, more] = [missing(NEEDED_KINDS), missing(MORE_KINDS)]
  const wayOut = 'weft install brings them; a kind is taken up as soon as its definition is there'
  return [
    finding('definitions of kinds', needed.length === 0, needed.length === 0 ? 'there' : `missing: ${needed.join(', ')}`, wayOut),
    ...(more.length === 0 ? [] : [{ ...finding('further kinds', false, `missing: ${more.join(', ')}`, wayOut), isNeeded: false }]),
  ]
}

async function nodes(cluster: CheckedCluster['cluster']): Promise<Finding[]> {
  const all = await cluster.list<SurveyedNode>(KIND.nodes)
  const { faults, notes } = surveyNodes(all)
  const kernels = [...new Set(all.map(({ status }) => status?.nodeInfo?.kernelVersion ?? '?'))].join(', ')
  return [
    finding('nodes', faults.length === 0, `${all.length} with Linux ${kernels}`, faults.join('; ')),
    ...notes.map((note) => ({ ...finding('nodes', false, note, 'pods on such nodes can stay out of the mesh'), isNeeded: false })),
  ]
}

async function foreign({ cluster, systemNamespace }: CheckedCluster): Promise<Finding[]> {
  const of = async (kind: string, path: KindPath): Promise<(Workload & { kind: string })[]> =>
    (await cluster.list<Workload>(path)).map((one) => ({ ...one, kind }))
  const all = [...(await of('DaemonSet', KIND.daemonsets)), ...(await of('Deployment', KIND.deployments))]
  const found = foreignParts(all, systemNamespace)
  const wayOut = 'two meshes cannot share a node: move node by node as docs/kubernetes.md says, or take the other one away first'
  return [finding('other meshes', found.length === 0, found.length === 0 ? 'none' : found.join(', '), wayOut)]
}

/** It rewrites a service's address before ztunnel could see it. */
async function socketLoadBalancer(cluster: CheckedCluster['cluster']): Promise<Finding[]> {
  const config = (await cluster.get(KIND.configmaps, ...CILIUM)) as (AnyObject & { readonly data?: Record<string, string> }) | undefined
  const { data = {} } = config ?? {}
  const replaces = data['kube-proxy-replacement'] === 'true' || data['bpf-lb-sock'] === 'true'
  const isGood = !replaces || data['bpf-lb-sock-hostns-only'] === 'true'
  const wayOut = 'set Cilium’s socketLB.hostNamespaceOnly=true: pods’ service addresses must reach ztunnel as they were dialled'
  const seen = config === undefined ? 'none' : isGood ? 'Cilium, in the host’s namespace only' : 'Cilium, in the namespaces of pods'
  return [finding('socket load balancer', isGood, seen, wayOut)]
}

/** Without agents there is nothing to ask. */
async function runningAgents({ cluster, systemNamespace }: CheckedCluster): Promise<readonly Pod[]> {
  const pods = (await cluster.list(KIND.pods, systemNamespace)) as readonly (AnyObject & Pod)[]
  return pods.filter((pod) => componentOf(pod) === 'cni' && pod.status?.phase === 'Running')
}

async function redirection(given: CheckedCluster): Promise<Finding[]> {
  return (await runningAgents(given)).length === 0 ? [] : redirectionFindings(await given.redirections())
}

async function kubelets(given: CheckedCluster): Promise<Finding[]> {
  const { systemNamespace, lastLines } = given
  const agents = await runningAgents(given)
  if (agents.length === 0) return []
  const shared: string[] = []
  for (const agent of agents) {
    const lines = await lastLines(systemNamespace, agent.metadata.name)
    if (SHARED_KUBELET.test(lines)) shared.push(agent.spec?.nodeName ?? agent.metadata.name)
  }
  const wayOut =
    'give the kubelet a cgroup of its own (systemd: its own service; kubelet: kubeletCgroups), else what shares it reaches pods past the mesh'
  const seen = shared.length === 0 ? `of their own on ${agents.length} nodes` : `shared with other processes on ${shared.join(', ')}`
  return [{ ...finding('cgroups of kubelets', shared.length === 0, seen, wayOut), isNeeded: false }]
}

/** What the account may not look at is said as such. */
async function attempt(what: string, look: () => Promise<Finding[]>): Promise<Finding[]> {
  try {
    return await look()
  } catch (error) {
    if (codeOf(error) !== 'FORBIDDEN') throw error
    return [{ ...finding(what, false, messageOf(error), 'ask somebody with this right to run weft check'), isNeeded: false }]
  }
}

function finding(what: string, isGood: boolean, seen: string, wayOut: string): Finding {
  return { what, isGood, isNeeded: true, seen, wayOut }
}
