// The effect of each stage of enrolment: what is done to the kernel, to ztunnel and to the pod's object. Each may be
// repeated, and each fails by throwing. The order is machine.ts's.
import type { CapturedPod } from '../bpf/datapath.ts'
import { type Clock, pause } from '../kit/clock.ts'
import { countCarried, countWaiting, socketInodes, socketsIn } from './connections.ts'
import { cniFailure } from './errors.ts'
import type { Enrolment } from './machine.ts'
import { openPodNetns, type PodPlace } from './pods.ts'
import type { Publisher } from './publish.ts'
import type { Redirect } from './redirect/redirect.ts'
import type { Ztunnels } from './ztunnels.ts'

/** The part of Redirect that enrolment needs; a fake in unit tests. */
export type EnrolmentDatapath = Pick<
  Redirect,
  'steerInbound' | 'unsteerInbound' | 'captureOutbound' | 'releaseOutbound' | 'guardOn' | 'guardOff' | 'leave' | 'forget' | 'inspect'
>

/** What the effects work on. */
export interface StepsOptions {
  readonly datapath: EnrolmentDatapath
  readonly ztunnels: Pick<Ztunnels, 'add' | 'remove' | 'pids'>
  readonly publisher: Pick<Publisher, 'setRedirection' | 'tell'>
  readonly clock: Clock
  /** Ports that ztunnel must listen on before anything is steered. */
  readonly requiredPorts: readonly number[]
  readonly releaseWaitMs: number
  readonly open?: (place: PodPlace) => Disposable & { readonly fd: number }
  /** App connections that ztunnel carries for the pod, or waits for. Default: counted in the kernel's tables. */
  readonly countConnections?: (pod: CapturedPod, pids: readonly number[]) => { readonly carried: number; readonly waiting: number }
}

/** What a stage is run with besides the pod. */
export interface StepContext {
  readonly enrolment: Enrolment
  /** Aborted when the stage is left early. */
  readonly signal: AbortSignal
  /** Why the last stage failed. */
  readonly failure: unknown
  readonly backoffMs: () => number
}

/** Stages whose effect is only kernel state; those of two or three steps do them in the order of enrolment or release. */
type KernelStage = 'steering' | 'capturing' | 'guarding' | 'securing' | 'undoing' | 'unguarding' | 'uncapturing' | 'unsteering'

const LISTENER_WAIT_MS = 500
const LISTENER_POLL_MS = 20
const CARRIED_POLL_MS = 500
const ACCEPT_WAIT_MS = 5_000

/** Runs effects. */
export class Steps {
  readonly #options: StepsOptions

  constructor(options: StepsOptions) {
    this.#options = options
  }

  /** Does what the stage is for. `out` and `enrolled` have nothing to do. @throws whatever the kernel or ztunnel says; NETNS_GONE */
  async run(place: PodPlace, context: StepContext): Promise<void> {
    const { datapath, ztunnels, publisher, clock, releaseWaitMs } = this.#options
    const { stage, isPublished } = context.enrolment
    const { signal } = context
    switch (stage) {
      case 'out':
      case 'enrolled':
        return
      case 'announcing':
        await ztunnels.add(place, signal)
        return this.#awaitListeners(place, signal)
      case 'publishing':
        return publisher.setRedirection(place, 'enabled', signal)
      case 'marking':
        publisher.tell(place, 'Warning', 'EnrolmentFailed', context.failure)
        return publisher.setRedirection(place, 'pending', AbortSignal.any([signal, AbortSignal.timeout(MARK_TIMEOUT_MS)]))
      case 'failed':
        return pause(clock, context.backoffMs(), signal)
      case 'unpublishing':
        return publisher.setRedirection(place, undefined, signal)
      case 'quiescing':
        return isPublished ? pause(clock, releaseWaitMs, signal) : undefined
      case 'parting':
        return this.#awaitParted(place, signal)
      case 'retracting':
        await ztunnels.remove(place.uid)
        return this.#on(place, (pod) => datapath.leave(pod))
      case 'stuck':
        publisher.tell(place, 'Warning', 'ReleaseFailed', context.failure)
        return pause(clock, context.backoffMs(), signal)
      case 'gone':
        datapath.forget(place)
        return ztunnels.remove(place.uid)
      default:
        return this.#on(place, (pod) => this.#changeKernel(stage, place, pod))
    }
  }

  #changeKernel(stage: KernelStage, { bypassesInbound }: PodPlace, pod: CapturedPod): void {
    const { datapath } = this.#options
    if (!bypassesInbound && (stage === 'steering' || stage === 'securing')) datapath.steerInbound(pod)
    if (stage === 'capturing' || stage === 'securing') datapath.captureOutbound(pod)
    if (stage === 'guarding' || stage === 'securing') datapath.guardOn(pod)
    if (stage === 'unguarding' || stage === 'undoing') datapath.guardOff(pod)
    if (stage === 'uncapturing' || stage === 'undoing') datapath.releaseOutbound(pod)
    if (stage === 'unsteering' || stage === 'undoing') datapath.unsteerInbound(pod)
  }

  #on<T>(place: PodPlace, work: (pod: CapturedPod) => T): T {
    using netns = (this.#options.open ?? openPodNetns)(place)
    const { uid, cookie, ips, hostIfindex } = place
    return work({ uid, netnsFd: netns.fd, cookie, ips, hostIfindex })
  }

  /** An ack is not enough: only a registered listener may be steered to. */
  async #awaitListeners(place: PodPlace, signal: AbortSignal): Promise<void> {
    const { clock, datapath, requiredPorts } = this.#options
    const deadlineMs = clock.monotonicMs() + LISTENER_WAIT_MS
    for (;;) {
      const { listeners } = this.#on(place, (pod) => datapath.inspect(pod))
      const missing = requiredPorts.filter((port) => !listeners.includes(port))
      if (missing.length === 0 || signal.aborted) return
      if (clock.monotonicMs() >= deadlineMs) throw cniFailure('LISTENERS_MISSING', { ports: missing.join(',') })
      await pause(clock, LISTENER_POLL_MS, signal)
    }
  }

  /** Connections that wait to be accepted may be the app's: they are waited for only as long as they can be ztunnel's. */
  async #awaitParted(place: PodPlace, signal: AbortSignal): Promise<void> {
    const { clock, ztunnels, countConnections = countInKernel } = this.#options
    const deadlineMs = clock.monotonicMs() + ACCEPT_WAIT_MS
    for (;;) {
      const { carried, waiting } = this.#on(place, (pod) => countConnections(pod, ztunnels.pids()))
      const isParted = carried === 0 && (waiting === 0 || clock.monotonicMs() >= deadlineMs)
      if (isParted || signal.aborted) return
      await pause(clock, CARRIED_POLL_MS, signal)
    }
  }
}

function countInKernel(pod: CapturedPod, pids: readonly number[]): { carried: number; waiting: number } {
  const rows = socketsIn(pod.netnsFd)
  return { carried: countCarried(rows, socketInodes(pids)), waiting: countWaiting(rows) }
}

/** A pod that cannot be enrolled is tried again even when nobody can be told. */
const MARK_TIMEOUT_MS = 2_000
