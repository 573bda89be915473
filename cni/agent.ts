// All pods of the node: joins what the kubelet says (cmdadd, cmddel), what the objects say (labels) and what ztunnel says
// into events for each pod's runner.
import { type Clock, pause } from '../kit/clock.ts'
import { messageOf } from '../kit/error.ts'
import type { Log } from '../kit/log.ts'
import type { Namespace, Pod } from '../model/object.ts'
import { PodRunner } from './enroll.ts'
import { cniFailure } from './errors.ts'
import { OUTSIDE } from './machine.ts'
import type { AgentMetrics } from './metrics.ts'
import type { PodFiles, PodPlace } from './pods.ts'
import { isGone, openPodNetns } from './pods.ts'
import type { Publisher } from './publish.ts'
import { type Decision, decide, explain } from './rules.ts'
import type { Steps } from './steps.ts'
import type { Ztunnels } from './ztunnels.ts'

/** Objects as the agent sees them. */
export interface ObjectView {
  pod(namespace: string, name: string): Pod | undefined
  namespace(name: string): Namespace | undefined
}

/** What the constructor takes. */
export interface AgentOptions {
  readonly node: string
  readonly steps: Pick<Steps, 'run'>
  readonly files: PodFiles
  readonly ztunnels: Pick<Ztunnels, 'expect' | 'remove'>
  readonly publisher: Pick<Publisher, 'tell'>
  readonly objects: ObjectView
  readonly excludedNamespaces: ReadonlySet<string>
  /** Whether the pods of a namespace are kept out for the time being (`weft release`, the end of the mesh here). */
  readonly isReleased?: (namespace: string) => boolean
  readonly metrics: AgentMetrics
  readonly log: Log
  readonly clock: Clock
  /** Throws NETNS_GONE when the pod's namespace is not there any more. Default: opens it. */
  readonly checkNetns?: (place: PodPlace) => void
}

/** Pods that are kept at most; a node has some hundred. */
const MAX_PODS = 4096

/** The pods of one node. */
export class Agent {
  readonly #options: AgentOptions
  readonly #runners = new Map<string, PodRunner>()
  /** Told when a pod's stage changes. */
  readonly #watchers = new Set<() => void>()
  /** uid of pods that asked for what cannot be: told once. */
  readonly #refused = new Set<string>()

  constructor(options: AgentOptions) {
    this.#options = options
  }

  /** Pods by uid. */
  runners(): ReadonlyMap<string, PodRunner> {
    return this.#runners
  }

  /** Takes over what an earlier process recorded; call before ztunnels may connect. Half-done stages go on. */
  restore(): void {
    const { files, log } = this.#options
    for (const { place, enrolment } of files.load()) {
      const runner = this.#makeRunner(place, enrolment)
      if (enrolment.stage !== 'out') this.#options.ztunnels.expect(place)
      try {
        this.#checkNetns(place)
        runner.start()
      } catch (error) {
        log.info('a recorded pod is gone', { pod: place.name, namespace: place.namespace, error: messageOf(error) })
        runner.dispatch('gone')
      }
    }
  }

  /**
   * A pod's network is made. Resolves when the pod may start: at once if it is not to be enrolled, else when it is.
   * @param pod its object, current; @throws MeshError ENROL_FAILED, ENROL_TIMEOUT, POD_REPLACED, TOO_MANY_PODS
   */
  async add(place: PodPlace, pod: Pod, namespace: Namespace | undefined, timeoutMs: number): Promise<'enrolled' | 'recorded'> {
    const runner = this.#adopt(place)
    runner.dispatch('retry') // what failed before is tried now, not after its back-off
    if (this.#judge(runner, pod, namespace) === 'out') return 'recorded'
    const deadlineMs = this.#options.clock.monotonicMs() + timeoutMs
    for (;;) {
      const { stage, failure } = runner
      if (stage === 'enrolled') return 'enrolled'
      if (stage === 'gone') throw cniFailure('POD_REPLACED', { pod: place.name })
      if (stage === 'failed') throw cniFailure('ENROL_FAILED', { pod: place.name }, failure)
      if (runner.enrolment.wanted === 'out') return 'recorded' // the label was taken away meanwhile
      const leftMs = deadlineMs - this.#options.clock.monotonicMs()
      if (leftMs <= 0) throw cniFailure('ENROL_TIMEOUT', { pod: place.name, stage }, failure)
      await this.#change(leftMs)
    }
  }

  /**
   * A pod's network goes away; kernel state is gone when this returns. An unknown pod is fine.
   * @param containerId the sandbox that goes; a pod that has another one by now stays as it is
   */
  remove(uid: string, containerId?: string): void {
    const runner = this.#runners.get(uid)
    const current = runner?.place.containerId
    if (containerId !== undefined && current !== undefined && current !== containerId) return
    runner?.dispatch('gone')
  }

  /** The uid of the pod whose sandbox it is. */
  uidOfContainer(containerId: string): string | undefined {
    for (const { place } of this.#runners.values()) if (place.containerId === containerId) return place.uid
    return undefined
  }

  /** Forgets pods whose namespace is gone, among those with a sandbox that is not of `live`; living ones are never let go. */
  collect(live: ReadonlySet<string>): void {
    for (const runner of [...this.#runners.values()]) {
      const { place } = runner
      if (place.containerId === undefined || live.has(place.containerId)) continue
      try {
        this.#checkNetns(place)
        this.#options.log.warn('the runtime does not list a pod that lives; it stays', { pod: place.name, namespace: place.namespace })
      } catch (error) {
        if (!isGone(error)) throw error
        runner.dispatch('gone')
      }
    }
  }

  /** The uid of a pod that the agent knows by name. */
  uidOf(namespace: string, name: string): string | undefined {
    for (const { place } of this.#runners.values()) if (place.name === name && place.namespace === namespace) return place.uid
    return undefined
  }

  /** A pod that runs already was found. @throws MeshError TOO_MANY_PODS */
  found(place: PodPlace, pod: Pod, namespace: Namespace | undefined): void {
    this.#judge(this.#adopt(place), pod, namespace)
  }

  /** Whether labels and rules put a pod into the mesh. */
  isWanted(pod: Pod, namespace: Namespace | undefined): boolean {
    return this.#decide(pod, namespace).kind === 'enrol'
  }

  #decide(pod: Pod, namespace: Namespace | undefined): Decision {
    const { excludedNamespaces, isReleased } = this.#options
    const decision = decide(pod, namespace, excludedNamespaces)
    const isHeld = decision.kind === 'enrol' && isReleased?.(pod.metadata.namespace ?? '') === true
    return isHeld ? { kind: 'skip', reason: 'RELEASED' } : decision
  }

  /** A pod object is new or changed. */
  podChanged(pod: Pod): void {
    const runner = this.#runners.get(pod.metadata.uid ?? '')
    if (runner !== undefined) this.#judge(runner, pod, this.#options.objects.namespace(pod.metadata.namespace ?? ''))
  }

  /** Labels of a namespace may have changed; undefined = look at every pod. */
  namespaceChanged(name: string | undefined): void {
    const { objects } = this.#options
    for (const runner of [...this.#runners.values()]) {
      const { place } = runner
      if (name !== undefined && place.namespace !== name) continue
      const pod = objects.pod(place.namespace, place.name)
      if (pod?.metadata.uid === place.uid) this.#judge(runner, pod, objects.namespace(place.namespace))
    }
  }

  /** A ztunnel of a snapshot cannot serve the pod. */
  podLost(uid: string, error: unknown): void {
    this.#options.log.warn('ztunnel does not serve a pod', { uid, error: messageOf(error) })
    this.#runners.get(uid)?.dispatch('lost')
  }

  /** A ztunnel has come: what failed is tried again now. */
  retryAll(): void {
    for (const runner of [...this.#runners.values()]) runner.dispatch('retry')
  }

  /** Stops every effect; kernel state and files stay. */
  stop(): void {
    for (const runner of this.#runners.values()) runner.stop()
  }

  #adopt(place: PodPlace): PodRunner {
    const { log } = this.#options
    const known = this.#runners.get(place.uid)
    if (known !== undefined && known.place.cookie === place.cookie && known.place.netnsInode === place.netnsInode) return known
    known?.dispatch('gone') // a new sandbox of the same pod
    for (const other of [...this.#runners.values()]) {
      if (!other.place.ips.some((ip) => place.ips.includes(ip))) continue
      log.warn('a pod has the address of another, which must be gone', { pod: place.name, other: other.place.name })
      other.dispatch('gone')
    }
    if (this.#runners.size >= MAX_PODS) throw cniFailure('TOO_MANY_PODS', { limit: MAX_PODS })
    const runner = this.#makeRunner(place, OUTSIDE)
    runner.start()
    return runner
  }

  #judge(runner: PodRunner, pod: Pod, namespace: Namespace | undefined): 'in' | 'out' {
    const { log, publisher, metrics } = this.#options
    const decision = this.#decide(pod, namespace)
    const wanted = decision.kind === 'enrol' ? 'in' : 'out'
    const { name, namespace: podNamespace, uid } = runner.place
    if (decision.kind === 'refuse' && !this.#refused.has(uid)) {
      this.#refused.add(uid)
      publisher.tell(runner.place, 'Warning', 'NotEnrolled', explain(decision))
    }
    if (runner.enrolment.wanted !== wanted || (wanted === 'in' && runner.stage === 'out')) {
      metrics.reconciled(wanted === 'in' ? 'enrol' : 'release')
      log.info(wanted === 'in' ? 'pod is to be enrolled' : 'pod is not to be enrolled', {
        pod: name,
        namespace: podNamespace,
        reason: decision.reason,
      })
    }
    runner.dispatch(wanted)
    return wanted
  }

  #makeRunner(place: PodPlace, enrolment: PodRunner['enrolment']): PodRunner {
    const { steps, files, log } = this.#options
    const runner: PodRunner = new PodRunner(place, enrolment, { steps, files, log, onStage: (changed) => this.#stageChanged(changed) })
    this.#runners.set(place.uid, runner)
    return runner
  }

  #stageChanged(runner: PodRunner): void {
    const { metrics, log } = this.#options
    const { stage, place } = runner
    if (stage === 'enrolled' || stage === 'failed' || stage === 'out') metrics.settled(stage)
    if (stage === 'enrolled') log.info('pod is enrolled', { pod: place.name, namespace: place.namespace })
    if (stage === 'gone' && this.#runners.get(place.uid) === runner) {
      this.#runners.delete(place.uid)
      this.#refused.delete(place.uid)
    }
    for (const tell of [...this.#watchers]) tell()
  }

  async #change(limitMs: number): Promise<void> {
    const changed = new AbortController()
    const tell = (): void => changed.abort()
    this.#watchers.add(tell)
    await pause(this.#options.clock, limitMs, changed.signal)
    this.#watchers.delete(tell)
  }

  #checkNetns(place: PodPlace): void {
    if (this.#options.checkNetns !== undefined) this.#options.checkNetns(place)
    else openPodNetns(place)[Symbol.dispose]()
  }
}
