// weft release on a cluster, through its API: labels and annotations say what is wanted, and in each node's agent pod the release is
// carried out by `weft release --local`, which works with the control plane and ztunnel dead. What the API cannot reach is named
// with the command to run on the node.
import { PassThrough } from 'node:stream'
import { messageOf } from '../../kit/error.ts'
import type { Node, Pod } from '../../model/object.ts'
import type { ObjectApi } from '../../objects/api.ts'
import { objectFailure } from '../../objects/errors.ts'
import type { ClusterAccess } from './access.ts'
import { componentPods } from './components.ts'
import { execInPod } from './exec.ts'
import { RELEASED_ANNOTATION } from './status.ts'

const MODE = 'istio.io/dataplane-mode'
const AGENT_CONTAINER = 'cni'

/** What is to be released, or taken back; `node` and `namespace` undefined = every node. */
export interface ClusterRelease {
  readonly namespace?: string
  readonly node?: string
  readonly isHard: boolean
  readonly isResume: boolean
  readonly systemNamespace: string
}

/** `done`: what was done. `left`: what could not be, each with its reason; the release is not whole. */
export interface ClusterReleaseResult {
  readonly done: readonly string[]
  readonly left: readonly string[]
}

/**
 * @param nowIso RFC 3339, for the marks
 * @throws MeshError NOT_FOUND (no such node or namespace) | FORBIDDEN | API_UNREACHABLE
 */
export async function releaseCluster(
  api: ObjectApi,
  access: Pick<ClusterAccess, 'openChannels'>,
  request: ClusterRelease,
  nowIso: string,
): Promise<ClusterReleaseResult> {
  const { namespace, node: wanted, isResume, systemNamespace } = request
  const nodes = ((await api.list('nodes')).items as readonly Node[]).filter(
    ({ metadata }) => wanted === undefined || metadata.name === wanted,
  )
  if (nodes.length === 0) throw objectFailure('NOT_FOUND', { what: `there is no node ${wanted}` })
  const done: string[] = []
  const left: string[] = []
  const mark = { metadata: { annotations: { [RELEASED_ANNOTATION]: isResume ? null : nowIso } } }
  if (namespace !== undefined) done.push(...(await markNamespace(api, namespace, isResume, mark)))
  const agents = await componentPods(api, systemNamespace, 'cni')
  for (const { metadata } of nodes) {
    if (namespace === undefined) await api.patch('nodes', undefined, metadata.name, mark)
    try {
      const agent = agents.find((pod) => pod.spec?.nodeName === metadata.name && isRunning(pod))
      if (agent === undefined) throw new Error('no agent runs there')
      const sentences = await runOnNode(access, agent, localWords(request))
      done.push(...sentences.map((sentence) => `${metadata.name}: ${sentence}`))
    } catch (error) {
      left.push(`${metadata.name}: ${messageOf(error)}; on the node, as root: weft ${localWords(request).join(' ')}`)
    }
  }
  return { done, left }
}

/** The namespace and its pods are labelled `none`, so that agents agree with what is done; the owner labels them again. */
async function markNamespace(api: ObjectApi, namespace: string, isResume: boolean, mark: { metadata: object }): Promise<string[]> {
  if (isResume) {
    await api.patch('namespaces', undefined, namespace, mark)
    return [`${namespace}: not marked as released any more; to enrol it: weft label namespace ${namespace} ${MODE}=ambient`]
  }
  const labels = { [MODE]: 'none' }
  await api.patch('namespaces', undefined, namespace, { metadata: { ...mark.metadata, labels } })
  const pods = (await api.list('pods', namespace)).items.filter(({ metadata }) => metadata.labels?.[MODE] === 'ambient')
  for (const { metadata } of pods) await api.patch('pods', namespace, metadata.name, { metadata: { labels } })
  return [`${namespace}: labelled ${MODE}=none`]
}

function localWords({ namespace, isHard, isResume }: ClusterRelease): string[] {
  return [
    'release',
    '--local',
    ...(namespace === undefined ? ['--all'] : ['-n', namespace]),
    ...(isHard ? ['--hard'] : []),
    ...(isResume ? ['--resume'] : []),
  ]
}

function isRunning(pod: Pod): boolean {
  return pod.status?.containerStatuses?.some((one) => one.name === AGENT_CONTAINER && one.state.running !== undefined) === true
}

/** @returns what it printed, line by line @throws Error with what it printed when it failed */
async function runOnNode(access: Pick<ClusterAccess, 'openChannels'>, agent: Pod, words: readonly string[]): Promise<string[]> {
  const stdout = new PassThrough()
  const stderr = new PassThrough()
  const [printed, noted] = [collect(stdout), collect(stderr)]
  const status = await execInPod(access, {
    namespace: agent.metadata.namespace ?? '',
    pod: agent.metadata.name,
    container: AGENT_CONTAINER,
    command: ['node', 'cli/main.js', ...words], // the image's working directory is the package
    stdout,
    stderr,
  })
  stdout.end()
  stderr.end()
  const lines = (await printed).split('\n').filter((line) => line !== '')
  if (status !== 0) throw new Error((await noted).trim().replaceAll('\n', '; ') || `status ${status}`)
  return lines
}

async function collect(stream: PassThrough): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks).toString('utf8')
}
