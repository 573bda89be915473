// How far the mesh's own workloads are, and what holds them up, in words. Pure; wait.ts asks and prints.
import type { AnyObject } from '../cluster/any-objects.ts'

/** A Deployment or DaemonSet with what its controller says. */
export interface Rollout extends AnyObject {
  readonly spec?: { readonly replicas?: number }
  readonly status?: {
    readonly observedGeneration?: number
    readonly replicas?: number
    readonly updatedReplicas?: number
    readonly availableReplicas?: number
    readonly desiredNumberScheduled?: number
    readonly updatedNumberScheduled?: number
    readonly numberAvailable?: number
    readonly currentNumberScheduled?: number
  }
}

interface ContainerStatus {
  readonly name: string
  readonly ready?: boolean
  readonly restartCount?: number
  readonly state?: { readonly waiting?: { readonly reason?: string; readonly message?: string } }
  readonly lastState?: { readonly terminated?: { readonly exitCode?: number; readonly message?: string } }
}

/** A pod, as far as it can be held up. */
export interface HeldPod extends AnyObject {
  readonly spec?: { readonly nodeName?: string; readonly containers?: readonly { readonly image?: string }[] }
  readonly status?: {
    readonly phase?: string
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly message?: string }[]
    readonly containerStatuses?: readonly ContainerStatus[]
    readonly initContainerStatuses?: readonly ContainerStatus[]
  }
}

/** `want` is how many there should be. */
export interface Count {
  readonly name: string
  readonly ready: number
  readonly want: number
}

const MAX_WORDS = 240

/** Pods that run what is wanted now and are available; nothing counts while the controller has not seen the change. */
export function countOf(rollout: Rollout): Count {
  const { metadata, spec, status = {} } = rollout
  const isSeen = (status.observedGeneration ?? 0) >= (metadata.generation ?? 0)
  const isDaemonSet = status.desiredNumberScheduled !== undefined || status.currentNumberScheduled !== undefined
  const want = isDaemonSet ? (status.desiredNumberScheduled ?? 0) : (spec?.replicas ?? 1)
  const updated = (isDaemonSet ? status.updatedNumberScheduled : status.updatedReplicas) ?? 0
  const available = (isDaemonSet ? status.numberAvailable : status.availableReplicas) ?? 0
  const ready = isSeen ? Math.min(updated, available) : 0
  return { name: metadata.name, ready, want: isSeen ? want : Math.max(want, 1) }
}

/** `waiting for controlplane (0 of 2) and cni (1 of 2)`; undefined when nothing is waited for. */
export function describeCounts(counts: readonly Count[]): string | undefined {
  const open = counts.filter(({ ready, want }) => ready < want).map(({ name, ready, want }) => `${name} (${ready} of ${want})`)
  if (open.length === 0) return undefined
  return `waiting for ${open.length < 2 ? open.join('') : `${open.slice(0, -1).join(', ')} and ${open.at(-1)}`}`
}

/** Why a pod is not ready, one sentence with what to do where that is known; undefined while it just starts. */
export function reasonOf(pod: HeldPod): string | undefined {
  const { metadata, spec, status = {} } = pod
  const where = `pod ${metadata.name}${spec?.nodeName === undefined ? '' : ` on ${spec.nodeName}`}`
  const unscheduled = status.conditions?.find(({ type, status: is }) => type === 'PodScheduled' && is === 'False')
  if (unscheduled !== undefined) return `${where} finds no node: ${cut(unscheduled.message ?? 'no reason given')}`
  for (const container of [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])]) {
    const { reason = '', message = '' } = container.state?.waiting ?? {}
    if (/^(ErrImagePull|ImagePullBackOff|ErrImageNeverPull|InvalidImageName)$/.test(reason))
      return `${where} cannot get the image ${spec?.containers?.[0]?.image ?? ''}: load it into the nodes, or push it to a registry and say --image`
    if (/^(CreateContainerConfigError|CreateContainerError|RunContainerError)$/.test(reason))
      return `${where} cannot start: ${cut(message)}`
    const ended = container.lastState?.terminated
    if (ended !== undefined && container.ready !== true)
      return `${where} keeps ending with status ${ended.exitCode ?? '?'}: ${cut(lastLine(ended.message))}`
  }
  return undefined
}

/** The line that says why; lines are JSON where the log is ours: then its message and error. */
function lastLine(text: string | undefined): string {
  const lines = (text ?? '').trim().split('\n')
  const line = lines.findLast((one) => /^\w*Error\b/.test(one)) ?? lines.at(-1) ?? ''
  try {
    const { msg, message, error, code } = JSON.parse(line) as Readonly<Record<string, unknown>>
    const words = [msg ?? message, code, error].filter((part) => typeof part === 'string' && part !== '')
    return words.length === 0 ? line : words.join(': ')
  } catch {
    return line === '' ? 'it wrote nothing' : line // not a line of ours: shown as it is
  }
}

function cut(text: string): string {
  return text.length <= MAX_WORDS ? text : `${text.slice(0, MAX_WORDS)}…`
}
