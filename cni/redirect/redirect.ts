// How pods' connections are led to ztunnel: one interface, two ways. `ebpf` is bpf/'s programs, `nftables` Istio's in-pod rules
// for kernels that cannot load them. Used by steps.ts, repair.ts, ztunnels.ts, metrics.ts; chosen by choose.ts.
import type { CapturedPod, NodeDatapath } from '../../bpf/datapath.ts'

/** The two ways. */
export type RedirectMode = 'ebpf' | 'nftables'

/** What the setting asks for. */
export type RedirectWish = RedirectMode | 'auto'

/** Whether a setting's text is one. */
export function isRedirectWish(text: string): text is RedirectWish {
  return text === 'ebpf' || text === 'nftables' || text === 'auto'
}

/** The way that was chosen, and why: shown in the log, in `/config_dump` and by `weft status`. */
export interface RedirectChoice {
  readonly mode: RedirectMode
  readonly reason: string
}

/** What NodeDatapath does to a pod and a node, whatever does it. Every step may be repeated. Calls run in the node's namespace. */
export interface Redirect
  extends Disposable,
    Pick<
      NodeDatapath,
      | 'addProxyCgroup'
      | 'removeProxyCgroup'
      | 'addProbeCgroup'
      | 'removeProbeCgroup'
      | 'steerInbound'
      | 'unsteerInbound'
      | 'captureOutbound'
      | 'releaseOutbound'
      | 'guardOn'
      | 'guardOff'
      | 'forget'
      | 'inspect'
      | 'isCgroupAttached'
      | 'pods'
      | 'setServices'
      | 'stats'
      | 'drops'
    > {
  readonly mode: RedirectMode
  /** Puts the node's share in force again. @throws when the kernel refuses */
  reattach(): void
  /** The last step of a release, when no proxied connection of the pod is left: nothing of ours stays in its namespace. */
  leave(pod: CapturedPod): void
}
