// Gives the pods of all nodes back to the network without the mesh before anything is removed: nodes are marked as released, their
// agents let go of every pod in the order that loses nothing, and say so in the pod's annotation.
import { type Clock, pause } from '../../kit/clock.ts'
import { type AnyObject, type AnyObjects, KIND } from '../cluster/any-objects.ts'
import { installFailure } from './errors.ts'

/** On a Node: released since then; the agent heeds it. */
export const RELEASED_ANNOTATION = 'weft.dev/released'
/** On a pod while the mesh has it. */
export const REDIRECTION_ANNOTATION = 'ambient.istio.io/redirection'

const POLL_MS = 1000
const MOST_NAMED = 3

interface PlacedPod extends AnyObject {
  readonly spec?: { readonly nodeName?: string }
  readonly status?: { readonly phase?: string }
}

/** What to work on. */
export interface ReleaseOptions {
  readonly cluster: Pick<AnyObjects, 'list' | 'patch'>
  readonly timeoutMs: number
  readonly clock: Clock
  tell(line: string): void
}

/**
 * Resolves when no pod is in the mesh any more. The marks stay, or agents would take the pods back.
 * @throws NODES_NOT_RELEASED naming nodes; FORBIDDEN
 */
export async function releaseNodes(options: ReleaseOptions): Promise<void> {
  const { cluster, timeoutMs, clock, tell } = options
  await markNodes(cluster, new Date(clock.nowMs()).toISOString())
  const endMs = clock.monotonicMs() + timeoutMs
  let told = ''
  for (;;) {
    const left = await enrolledPods(cluster)
    if (left.length === 0) return
    const line = `waiting for ${left.length} pods to leave the mesh`
    if (line !== told) tell(line)
    told = line
    if (clock.monotonicMs() > endMs)
      throw installFailure('NODES_NOT_RELEASED', { what: `${left.length} pods are still in the mesh, on ${nodesOf(left)}` })
    await pause(clock, POLL_MS)
  }
}

/** Takes the marks off, and annotations of pods that no agent could take off. */
export async function unmark(cluster: Pick<AnyObjects, 'list' | 'patch'>): Promise<void> {
  await markNodes(cluster, null)
  for (const { metadata } of await enrolledPods(cluster))
    await cluster.patch(KIND.pods, metadata.namespace, metadata.name, { metadata: { annotations: { [REDIRECTION_ANNOTATION]: null } } })
}

/** Marks that an earlier uninstall left would keep every pod out of the mesh. @returns names of nodes that carry one */
export async function markedNodes(cluster: Pick<AnyObjects, 'list'>): Promise<string[]> {
  return (await cluster.list(KIND.nodes, undefined, undefined, isMarked)).map(({ metadata }) => metadata.name)
}

async function markNodes(cluster: Pick<AnyObjects, 'list' | 'patch'>, value: string | null): Promise<void> {
  const nodes = await cluster.list(KIND.nodes, undefined, undefined, (node) => isMarked(node) !== (value !== null))
  for (const { metadata } of nodes)
    await cluster.patch(KIND.nodes, undefined, metadata.name, { metadata: { annotations: { [RELEASED_ANNOTATION]: value } } })
}

function isMarked({ metadata }: AnyObject): boolean {
  return metadata.annotations?.[RELEASED_ANNOTATION] !== undefined
}

/** Pods that have ended keep the annotation: nothing of them is in the mesh. */
function enrolledPods(cluster: Pick<AnyObjects, 'list'>): Promise<readonly PlacedPod[]> {
  const isEnrolled = ({ metadata, status }: PlacedPod): boolean =>
    metadata.annotations?.[REDIRECTION_ANNOTATION] !== undefined && !/^(Succeeded|Failed)$/.test(status?.phase ?? '')
  return cluster.list<PlacedPod>(KIND.pods, undefined, undefined, isEnrolled)
}

function nodesOf(pods: readonly PlacedPod[]): string {
  const names = [...new Set(pods.map(({ spec }) => spec?.nodeName ?? 'no node'))].sort()
  return `${names.slice(0, MOST_NAMED).join(', ')}${names.length > MOST_NAMED ? ` and ${names.length - MOST_NAMED} more` : ''}`
}
