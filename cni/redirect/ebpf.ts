// Redirect mode `ebpf`: the node's kernel state as the agent's parts hold it, one object that stays while the programs behind it are attached
// again after somebody removed them (drift of the cgroup, pins deleted by hand).
import type { CapturedPod, DatapathOptions, PodDrops, PodState } from '../../bpf/datapath.ts'
import { NodeDatapath } from '../../bpf/datapath.ts'
import type { VipService } from '../../bpf/services.ts'
import type { Redirect } from './redirect.ts'

/** What NodeDatapath does, plus `reattach`. Calls run in the node's network namespace. */
export class EbpfRedirect implements Redirect {
  readonly mode = 'ebpf'
  readonly #options: DatapathOptions
  #current: NodeDatapath

  /** @throws what NodeDatapath.open throws */
  constructor(options: DatapathOptions) {
    this.#options = options
    this.#current = NodeDatapath.open(options)
  }

  /** Loads and attaches everything again; maps that are gone are empty then. @throws what NodeDatapath.open throws */
  reattach(): void {
    const old = this.#current
    this.#current = NodeDatapath.open(this.#options)
    old[Symbol.dispose]()
  }

  addProxyCgroup(id: bigint): void {
    this.#current.addProxyCgroup(id)
  }

  removeProxyCgroup(id: bigint): void {
    this.#current.removeProxyCgroup(id)
  }

  addProbeCgroup(id: bigint): void {
    this.#current.addProbeCgroup(id)
  }

  removeProbeCgroup(id: bigint): void {
    this.#current.removeProbeCgroup(id)
  }

  steerInbound(pod: CapturedPod): void {
    this.#current.steerInbound(pod)
  }

  unsteerInbound(pod: CapturedPod): void {
    this.#current.unsteerInbound(pod)
  }

  captureOutbound(pod: CapturedPod): void {
    this.#current.captureOutbound(pod)
  }

  releaseOutbound(pod: CapturedPod): void {
    this.#current.releaseOutbound(pod)
  }

  guardOn(pod: CapturedPod): void {
    this.#current.guardOn(pod)
  }

  guardOff(pod: CapturedPod): void {
    this.#current.guardOff(pod)
  }

  /** Routes that carry nothing stay: the namespace may be enrolled again, and apps do not see them. */
  leave(): void {
    // see above
  }

  forget(pod: { readonly cookie: bigint; readonly hostIfindex: number }): void {
    this.#current.forget(pod)
  }

  inspect(pod: CapturedPod): PodState {
    return this.#current.inspect(pod)
  }

  isCgroupAttached(): boolean {
    return this.#current.isCgroupAttached()
  }

  pods(): readonly bigint[] {
    return this.#current.pods()
  }

  setServices(services: readonly VipService[]): void {
    this.#current.setServices(services)
  }

  stats(): Readonly<Record<string, bigint>> {
    return this.#current.stats()
  }

  drops(): ReadonlyMap<bigint, PodDrops> {
    return this.#current.drops()
  }

  /** Closes descriptors; kernel state stays. */
  [Symbol.dispose](): void {
    this.#current[Symbol.dispose]()
  }
}
