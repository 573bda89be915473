// The guard on one pod's veth: its record, the connects under way, and the attachment (tcx, else clsact).
// Devices are named by ifindex in the node's namespace, where the calling thread must be.
import { codeOf, MeshError } from '../kit/error.ts'
import { bpfFailure } from './errors.ts'
import { connectsInFlight } from './in-flight.ts'
import { Errno } from './libbpf.ts'
import { attachClsact, attachPinned, detachClsact, detachPinned, hasClsact, readLink } from './link.ts'
import type { NodeMaps } from './node-maps.ts'
import type { PodRecord } from './pod-record.ts'
import { isSameRecord } from './pod-record.ts'
import { ATTACH_TCX_INGRESS, pins } from './spec.ts'

/** A pod as the guard sees it. */
export interface GuardedPod {
  readonly netnsFd: number
  readonly cookie: bigint
  /** 0 = none */
  readonly hostIfindex: number
}

/** How the guard is attached; `tcx` needs Linux 6.6. */
export type GuardKind = 'tcx' | 'clsact'

/**
 * Records first, then the attachment: no packet meets the guard before the connects under way are known.
 * @param kind the way to try first; tcx falls back to clsact where the kernel has none
 * @throws MeshError NO_HOST_DEVICE, ATTACH_FAILED, MAP_FULL
 */
export function attachGuard(maps: NodeMaps, pod: GuardedPod, record: PodRecord, programFd: number, kind: GuardKind): GuardKind {
  if (pod.hostIfindex === 0) throw bpfFailure('NO_HOST_DEVICE', { cookie: String(pod.cookie) })
  if (!isGuardAttached(maps, pod)) permitInFlight(maps, pod)
  maps.get('pod_drops').set(pod.cookie, { source: 0n, syn: 0n, other: 0n }, 'new')
  maps.get('guards').set(pod.hostIfindex, { netns: pod.cookie, pod: record })
  return attachTo(maps, pod.hostIfindex, programFd, kind)
}

/** Puts the program of this process on a device that has a record (or replaces the older one in place). */
export function attachTo(maps: NodeMaps, ifindex: number, programFd: number, kind: GuardKind): GuardKind {
  const pin = pins.guard(maps.directory, ifindex)
  if (kind === 'tcx' && !hasClsact(ifindex)) {
    try {
      attachPinned({ pin, programFd, targetFd: ifindex, target: BigInt(ifindex), attach: ATTACH_TCX_INGRESS })
      return 'tcx'
    } catch (error) {
      if (!isWithoutTcx(error)) throw error
    }
  }
  attachClsact(ifindex, programFd)
  return 'clsact'
}

/** Takes the guard off; the pod's drop counters stay until it is forgotten. What is off already is fine. */
export function detachGuard(maps: NodeMaps, pod: Pick<GuardedPod, 'cookie' | 'hostIfindex'>): void {
  const guards = maps.get('guards')
  const owner = guards.get(pod.hostIfindex)
  if (owner === undefined || owner.netns === pod.cookie) {
    detachPinned(pins.guard(maps.directory, pod.hostIfindex))
    if (hasClsact(pod.hostIfindex)) detachClsact(pod.hostIfindex)
    guards.delete(pod.hostIfindex)
  }
  for (const [ifindex, other] of guards.entries()) if (other.netns === pod.cookie) guards.delete(ifindex) // its device had another number
  maps.forgetInFlight(pod.cookie)
}

/** Whether the kernel says that this pod's device is guarded, with this pod's addresses. */
export function isGuardOn(maps: NodeMaps, pod: GuardedPod, record: PodRecord): boolean {
  const guard = pod.hostIfindex === 0 ? undefined : maps.get('guards').get(pod.hostIfindex)
  return guard !== undefined && guard.netns === pod.cookie && isSameRecord(guard.pod, record) && isGuardAttached(maps, pod)
}

/** SYNs are retried for up to 127 s (net.ipv4.tcp_syn_retries = 6). */
const IN_FLIGHT_NS = 130_000_000_000n

function isGuardAttached(maps: NodeMaps, pod: GuardedPod): boolean {
  const link = readLink(pins.guard(maps.directory, pod.hostIfindex))
  return (link?.kind === 'tcx' && link.target === BigInt(pod.hostIfindex)) || hasClsact(pod.hostIfindex)
}

function permitInFlight(maps: NodeMaps, pod: GuardedPod): void {
  const now = process.hrtime.bigint() // CLOCK_MONOTONIC, as bpf_ktime_get_ns
  const map = maps.get('in_flight')
  for (const [key, until] of map.entries()) if (until < now) map.delete(key)
  try {
    for (const connect of connectsInFlight(pod.netnsFd)) map.set({ netns: pod.cookie, ...connect }, now + IN_FLIGHT_NS)
  } catch (error) {
    if (codeOf(error) !== 'MAP_FULL') throw error // the rest is retried by the app: full = refuse
  }
}

function isWithoutTcx(error: unknown): boolean {
  const isCreate = error instanceof MeshError && error.code === 'ATTACH_FAILED' && error.detail.call === 'create'
  return isCreate && error.detail.errno === Errno.EINVAL
}
