// Status of a pod from what its worker knows: phase, conditions, addresses, container states. Pure.
import type { Container, ContainerStatus } from '../../model/container.ts'
import type { Condition, Pod, PodPhase, PodStatus } from '../../model/object.ts'
import type { ContainerView } from './container.ts'

/** What the worker knows. `ips` undefined = no sandbox yet. */
export interface PodFactsForStatus {
  readonly pod: Pod
  readonly ips: { readonly v4: string; readonly v6: string } | undefined
  readonly hostIps: readonly string[]
  readonly inits: readonly { readonly container: Container; readonly view: ContainerView }[]
  readonly containers: readonly { readonly container: Container; readonly view: ContainerView }[]
  readonly isInitialized: boolean
  readonly startTime: string
  readonly nowIso: string
  /** Why there is no sandbox, when making it failed. */
  readonly sandboxFault: string | undefined
}

/** @returns the whole status; times of conditions that did not change are kept */
export function podStatus(facts: PodFactsForStatus): PodStatus {
  const isReady = facts.isInitialized && facts.containers.every(({ view }) => view.isReady)
  const conditions = [
    condition('PodScheduled', true),
    condition('PodReadyToStartContainers', facts.ips !== undefined, facts.sandboxFault),
    condition('Initialized', facts.isInitialized),
    condition('ContainersReady', isReady, unreadyMessage(facts)),
    condition('Ready', isReady, unreadyMessage(facts)),
  ].map((one) => keepTime(one, facts))
  return {
    phase: phaseOf(facts),
    conditions,
    hostIP: facts.hostIps[0] ?? '',
    hostIPs: facts.hostIps.map((ip) => ({ ip })),
    ...(facts.ips === undefined ? {} : { podIP: facts.ips.v4, podIPs: [{ ip: facts.ips.v4 }, { ip: facts.ips.v6 }] }),
    startTime: facts.startTime,
    ...(facts.inits.length === 0 ? {} : { initContainerStatuses: facts.inits.map(containerStatus) }),
    containerStatuses: facts.containers.map(containerStatus),
  }
}

function phaseOf({ pod, isInitialized, inits, containers }: PodFactsForStatus): PodPhase {
  const policy = pod.spec?.restartPolicy ?? 'Always'
  const exits = containers.map(({ view }) => view.state.terminated?.exitCode)
  if (inits.some(({ view }) => view.state.terminated !== undefined && view.state.terminated.exitCode !== 0 && policy === 'Never'))
    return 'Failed'
  if (!isInitialized) return 'Pending'
  if (policy !== 'Always' && exits.every((exit) => exit !== undefined)) {
    if (exits.every((exit) => exit === 0)) return 'Succeeded'
    if (policy === 'Never') return 'Failed'
  }
  const hasRun = containers.some(({ view }) => view.state.running !== undefined || view.state.terminated !== undefined || view.restarts > 0)
  return hasRun ? 'Running' : 'Pending'
}

function containerStatus({ container, view }: { container: Container; view: ContainerView }): ContainerStatus {
  return {
    name: container.name,
    ready: view.isReady,
    started: view.isStarted,
    restartCount: view.restarts,
    image: container.image ?? '',
    imageID: '',
    state: view.state,
    ...(view.lastState === undefined ? {} : { lastState: view.lastState }),
  }
}

function condition(type: string, isTrue: boolean, message?: string): Condition {
  return { type, status: isTrue ? 'True' : 'False', ...(isTrue || message === undefined ? {} : { message }) }
}

function unreadyMessage(facts: PodFactsForStatus): string | undefined {
  const names = facts.containers.filter(({ view }) => !view.isReady).map(({ container }) => container.name)
  return names.length === 0 ? undefined : `containers that are not ready: ${names.join(', ')}`
}

function keepTime(next: Condition, { pod, nowIso }: PodFactsForStatus): Condition {
  const old = pod.status?.conditions?.find((one) => one.type === next.type)
  return { ...next, lastTransitionTime: old?.status === next.status ? (old.lastTransitionTime ?? nowIso) : nowIso }
}
