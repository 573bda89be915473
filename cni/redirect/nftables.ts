// Redirect mode `nftables`: rules in the pod's own namespace lead its connections to ztunnel's listeners there, a table in the
// node's recognises probes. Nothing is kept here: every question is answered from the kernel, so that a restarted agent
// knows as much. What this mode cannot do stands in docs/redirect.md.
import type { CapturedPod, PodDrops, PodState } from '../../bpf/datapath.ts'
import { keepSourceRouting, removeSourceRouting } from '../../linux/source-routing.ts'
import { listeningPorts } from './listeners.ts'
import { hashOf, type SeenTable } from './listing.ts'
import { NodeProbes } from './node-probes.ts'
import type { Redirect } from './redirect.ts'
import { POD_TABLE, podTable, type PodRules } from './rules.ts'
import { SeenTables } from './seen-tables.ts'
import { dropTable, writeTable } from './table.ts'

/** What the constructor takes. */
export interface NftablesOptions {
  /** False = the node's ztunnel serves no DNS: pods ask their resolver themselves. */
  readonly capturesDns: boolean
}

const NOTHING: PodRules = { inbound: false, outbound: false }

/** Kernel state of one node. Calls run in the node's network namespace. */
export class NftablesRedirect implements Redirect {
  readonly mode = 'nftables'
  readonly #capturesDns: boolean
  readonly #tables = new SeenTables(POD_TABLE)
  readonly #probes = new NodeProbes()

  constructor({ capturesDns }: NftablesOptions) {
    this.#capturesDns = capturesDns
  }

  /** Inbound TCP goes to the proxy, but what comes to its own port and what the node probes. @throws MeshError NFT_…, SYSCALL_FAILED */
  steerInbound(pod: CapturedPod): void {
    keepSourceRouting(pod.netnsFd)
    this.#probes.set(pod)
    this.#change(pod, { inbound: true })
  }

  unsteerInbound(pod: CapturedPod): void {
    this.#change(pod, { inbound: false })
    this.#probes.delete(pod.cookie)
  }

  /** TCP connects and DNS go to the proxy's listeners. @throws MeshError NFT_… */
  captureOutbound(pod: CapturedPod): void {
    this.#change(pod, { outbound: true })
  }

  releaseOutbound(pod: CapturedPod): void {
    this.#change(pod, { outbound: false })
  }

  /** There is no guard; what stands for it is that our table is there and nobody has changed it. */
  guardOn(pod: CapturedPod): void {
    this.#change(pod, {})
  }

  /** The table stays until `leave`: the kernel translates redirected connections only as long as there is one. */
  guardOff(): void {
    // see leave
  }

  leave(pod: CapturedPod): void {
    dropTable(pod.netnsFd, POD_TABLE)
    removeSourceRouting(pod.netnsFd)
    this.#probes.delete(pod.cookie)
  }

  /** The pod's rules died with its namespace. */
  forget(pod: { readonly cookie: bigint }): void {
    this.#tables.forget(pod.cookie)
    this.#probes.delete(pod.cookie)
  }

  inspect(pod: CapturedPod): PodState {
    const table = this.#tables.read(pod.cookie, pod.netnsFd)
    const rules = this.#rulesOf(table, pod)
    return {
      inbound: rules.inbound && this.#probes.has(pod),
      outbound: rules.outbound,
      guard: table !== undefined,
      listeners: listeningPorts(pod.netnsFd),
    }
  }

  reattach(): void {
    // nothing is attached: see isCgroupAttached
  }

  /** The node's share is seen and repaired with each pod's. */
  isCgroupAttached(): boolean {
    return true
  }

  /** Cookies of pods whose probes are recognised. */
  pods(): readonly bigint[] {
    return this.#probes.cookies()
  }

  addProxyCgroup(): void {
    // the proxy is known by its marks
  }

  removeProxyCgroup(): void {
    // as above
  }

  addProbeCgroup(): void {
    // the kubelet is known by its user and namespace
  }

  removeProbeCgroup(): void {
    // as above
  }

  setServices(): void {
    // service addresses of pods that are not enrolled are kube-proxy's
  }

  stats(): Readonly<Record<string, bigint>> {
    return {}
  }

  drops(): ReadonlyMap<bigint, PodDrops> {
    return new Map()
  }

  [Symbol.dispose](): void {
    // everything is in the kernel
  }

  #change(pod: CapturedPod, change: Partial<PodRules>): void {
    const seen = this.#tables.read(pod.cookie, pod.netnsFd)
    const rules = this.#rulesOf(seen, pod)
    const wanted = { ...rules, ...change }
    if (seen?.isIntact === true && wanted.inbound === rules.inbound && wanted.outbound === rules.outbound) return
    const text = this.#text(pod, wanted)
    writeTable(pod.netnsFd, POD_TABLE, text, noteOf(wanted, text))
  }

  /** What is in force: rules that somebody has changed, or that were written for other addresses, are not. */
  #rulesOf(seen: SeenTable | undefined, pod: CapturedPod): PodRules {
    if (seen?.isIntact !== true) return NOTHING
    return COMBINATIONS.find((rules) => noteOf(rules, this.#text(pod, rules)) === seen.note) ?? NOTHING
  }

  #text(pod: CapturedPod, rules: PodRules): string {
    return podTable(rules, { ips: pod.ips, capturesDns: this.#capturesDns })
  }
}

const COMBINATIONS: readonly PodRules[] = [true, false].flatMap((inbound) => [true, false].map((outbound) => ({ inbound, outbound })))

function noteOf(rules: PodRules, text: string): string {
  return `${rules.inbound ? 'in' : 'no'}-${rules.outbound ? 'out' : 'no'}-${hashOf(text)}`
}
