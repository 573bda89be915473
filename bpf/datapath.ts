// The agent's view of one node's kernel state. Everything lives in pins and maps: a new process adopts what is there,
// replaces the code in place, and can undo every step. Steps are idempotent; the order of enrolment is the caller's
// (docs/capture.md). Called by cni/ in the node's network namespace.
import { closeSync, existsSync, fstatSync, mkdirSync, openSync } from 'node:fs'
import { codeOf } from '../kit/error.ts'
import type { Log } from '../kit/log.ts'
import { cgroupId } from '../linux/cgroup.ts'
import { inNetns } from '../linux/netns.ts'
import { keepSourceRouting, reuseTimeWait } from '../linux/source-routing.ts'
import type { IpAddress } from '../model/address.ts'
import { bpfFailure } from './errors.ts'
import { detectFeatures, featureBits, isBpffs } from './feature.ts'
import type { GuardKind } from './guard.ts'
import { attachGuard, attachTo, detachGuard, isGuardOn } from './guard.ts'
import { attachPinned, detachPinned, readLink } from './link.ts'
import type { LoadedObject } from './load.ts'
import { loadObject } from './load.ts'
import { readStats } from './map.ts'
import { NodeMaps, pinnedNumbers } from './node-maps.ts'
import { isSameRecord, recordOf } from './pod-record.ts'
import type { VipService } from './services.ts'
import { ServiceTable } from './services.ts'
import type { ObjectName } from './spec.ts'
import { ATTACH_SK_LOOKUP, CGROUP_PROGRAMS, MAPS, objectPath, pins, POD_DNS, POD_INBOUND, POD_OUTBOUND, POD_SEALED } from './spec.ts'

/** A pod to be captured. The fd is only used during a call. */
export interface CapturedPod {
  readonly uid: string
  readonly netnsFd: number
  /** linux/netns.ts netnsCookie */
  readonly cookie: bigint
  /** At most one per family. */
  readonly ips: readonly IpAddress[]
  /** Host side of its veth, in the node's namespace; 0 = none (cannot be guarded). */
  readonly hostIfindex: number
}

/** What the kernel says about a pod. */
export interface PodState {
  /** Steering is attached to this namespace and knows its addresses. */
  readonly inbound: boolean
  /** Capture is on, and every program is attached to the node's cgroup. */
  readonly outbound: boolean
  /** The device is guarded for this pod. */
  readonly guard: boolean
  /** Ports of the proxy with a live registered listener (15053 only with both TCP and UDP). */
  readonly listeners: readonly number[]
}

/** Packets that a pod's guard has dropped since it was enrolled. */
export interface PodDrops {
  /** Not the pod's address. */
  readonly source: bigint
  /** A SYN that no registered socket sent. */
  readonly syn: bigint
  /** Fragmented TCP, tunnels, other protocols. */
  readonly other: bigint
}

/** What open takes. */
export interface DatapathOptions {
  /** On a bpffs; made when missing. One per node. */
  readonly bpffsDir: string
  /** The node's cgroup: the proxy's, the kubelet's and all pods' are below it. */
  readonly cgroupPath: string
  readonly log: Log
  /** False = the node's ztunnel serves no DNS: pods ask their resolver themselves. Default true. */
  readonly capturesDns?: boolean
  /** Default tcx, with clsact as fallback. */
  readonly guard?: GuardKind
  /** Other objects than the committed ones, for tests that show what a change breaks. */
  readonly objectPath?: (name: ObjectName) => string
}

/** Kernel state of one node; only one process per node may hold it for writing. */
export class NodeDatapath implements Disposable {
  readonly #options: DatapathOptions
  readonly #maps: NodeMaps
  readonly #guard: LoadedObject
  #guardKind: GuardKind
  #services: ServiceTable | undefined

  private constructor(options: DatapathOptions, maps: NodeMaps, guard: LoadedObject) {
    this.#options = options
    this.#maps = maps
    this.#guard = guard
    this.#guardKind = options.guard ?? 'tcx'
  }

  /**
   * Loads the programs, or adopts what is pinned and replaces its code without a gap (cgroup, pods and guards alike).
   * @throws MeshError NOT_BPFFS, OBJECT_REFUSED, ATTACH_FAILED, LIBRARY_MISSING; what ran before still runs then
   */
  static open(options: DatapathOptions): NodeDatapath {
    const directory = options.bpffsDir
    if (!existsSync(directory)) mkdirSync(directory, { mode: 0o700 })
    if (!isBpffs(directory)) throw bpfFailure('NOT_BPFFS', { directory })
    const path = options.objectPath ?? objectPath
    const adopted = attachToCgroup(options.cgroupPath, directory, path)
    const maps = new NodeMaps(directory)
    const guard = loadObject({ path: path('guard'), directory })
    const datapath = new NodeDatapath(options, maps, guard)
    const pods = datapath.#replacePodPrograms()
    options.log.info('node datapath is in force', { directory, cgroup: options.cgroupPath, adoptedLinks: adopted, adoptedPods: pods })
    return datapath
  }

  /** Processes of this cgroup (and not below it) are the proxy. @throws MeshError MAP_FULL */
  addProxyCgroup(id: bigint): void {
    this.#maps.get('proxy_cgroups').set(id, 1)
  }

  removeProxyCgroup(id: bigint): void {
    this.#maps.get('proxy_cgroups').delete(id)
  }

  /** Connects of this cgroup's processes to enrolled pods reach the app directly: the node's kubelet. @throws MeshError MAP_FULL */
  addProbeCgroup(id: bigint): void {
    this.#maps.get('probe_cgroups').set(id, 1)
  }

  removeProbeCgroup(id: bigint): void {
    this.#maps.get('probe_cgroups').delete(id)
  }

  /** Inbound TCP goes to the proxy, the proxy's ports to its listeners or nobody. @throws MeshError OBJECT_REFUSED, ATTACH_FAILED, MAP_FULL, TOO_MANY_ADDRESSES */
  steerInbound(pod: CapturedPod): void {
    keepSourceRouting(pod.netnsFd) // proxies connect to the app with the client's address; Istio's ztunnel leaves this to the agent
    this.#setFlag(pod, POD_INBOUND) // the proxy's connects are permitted before anything asks for it
    for (const ip of pod.ips) this.#maps.get('pod_ips').set({ ip }, pod.cookie)
    this.#attachSteer(pod.cookie, pod.netnsFd)
    this.#setFlag(pod, POD_SEALED) // from here on the app takes nothing that was not steered, also if steering is lost
  }

  /** Takes steering off; open connections stay, and so does the pod's record while its outbound is captured. */
  unsteerInbound(pod: CapturedPod): void {
    this.#clearFlag(pod.cookie, POD_SEALED)
    detachPinned(pins.steer(this.#options.bpffsDir, pod.cookie))
    this.#maps.forgetAddresses(pod.cookie)
    this.#clearFlag(pod.cookie, POD_INBOUND)
  }

  /** TCP connects and DNS go to the proxy's listeners at the pod's address. @throws MeshError MAP_FULL, TOO_MANY_ADDRESSES */
  captureOutbound(pod: CapturedPod): void {
    inNetns(pod.netnsFd, reuseTimeWait) // all captured connects share one destination: ports must come back quickly
    if (this.#options.capturesDns === false) this.#clearFlag(pod.cookie, POD_DNS)
    this.#setFlag(pod, this.#options.capturesDns === false ? POD_OUTBOUND : POD_OUTBOUND | POD_DNS)
  }

  releaseOutbound(pod: CapturedPod): void {
    this.#clearFlag(pod.cookie, POD_OUTBOUND | POD_DNS)
  }

  /** Drops what leaves the pod's device unregistered; connects whose SYN is under way may finish. @throws MeshError NO_HOST_DEVICE, ATTACH_FAILED, MAP_FULL */
  guardOn(pod: CapturedPod): void {
    const record = recordOf(pod.ips, 0)
    this.#guardKind = attachGuard(this.#maps, pod, record, this.#guard.programFd('guard'), this.#guardKind)
  }

  guardOff(pod: CapturedPod): void {
    detachGuard(this.#maps, pod)
  }

  /** Removes everything of a pod whose namespace is gone; what another pod has taken over (address, device) stays. */
  forget(pod: { readonly cookie: bigint; readonly hostIfindex: number }): void {
    detachGuard(this.#maps, pod)
    this.#maps.get('pods').delete(pod.cookie)
    detachPinned(pins.steer(this.#options.bpffsDir, pod.cookie))
    this.#maps.forgetAddresses(pod.cookie)
    this.#maps.forgetTuples(pod.cookie)
    this.#maps.get('pod_drops').delete(pod.cookie)
  }

  /** The kernel's truth, not what was asked for: pins, what their links are attached to, records, listeners. */
  inspect(pod: CapturedPod): PodState {
    const wanted = recordOf(pod.ips, 0)
    const record = this.#maps.get('pods').get(pod.cookie)
    const flags = record !== undefined && isSameRecord(record, wanted) ? record.flags : 0
    const steer = readLink(pins.steer(this.#options.bpffsDir, pod.cookie))
    const isSteered = steer?.kind === 'netns' && steer.target === fstatSync(pod.netnsFd, { bigint: true }).ino
    const hasAddresses = pod.ips.every((ip) => this.#maps.get('pod_ips').get({ ip }) === pod.cookie)
    return {
      inbound: (flags & INBOUND) === INBOUND && isSteered && hasAddresses,
      outbound: (flags & POD_OUTBOUND) !== 0 && this.isCgroupAttached(),
      guard: isGuardOn(this.#maps, pod, wanted),
      listeners: this.#maps.listeners(pod.cookie),
    }
  }

  /** Whether every program is attached to the node's cgroup, as the kernel says. */
  isCgroupAttached(): boolean {
    const id = cgroupId(this.#options.cgroupPath)
    return Object.keys(CGROUP_PROGRAMS).every((name) => {
      const link = readLink(pins.cgroupLink(this.#options.bpffsDir, name))
      return link?.kind === 'cgroup' && link.target === id
    })
  }

  /** Cookies of every pod that any record, pin or guard names, ascending. */
  pods(): readonly bigint[] {
    const records = this.#maps
      .get('pods')
      .entries()
      .map(([cookie]) => cookie)
    const guards = this.#maps
      .get('guards')
      .entries()
      .map(([, guard]) => guard.netns)
    const all = new Set([...records, ...guards, ...pinnedNumbers(this.#options.bpffsDir, 'steer_')])
    return [...all].sort((a, b) => (a < b ? -1 : 1))
  }

  /**
   * The whole table of services for what the proxy does not take (pods not enrolled, the node, UDP); compared with the
   * kernel's and changed one service at a time.
   * @throws MeshError MAP_FULL after everything that fits was written
   */
  setServices(services: readonly VipService[]): void {
    this.#services ??= new ServiceTable(this.#maps.get('services'), this.#maps.get('backends'))
    this.#services.setAll(services)
  }

  /** Counters (never reset) and, for maps that can fill up, `NAME_entries` and `NAME_size`. */
  stats(): Readonly<Record<string, bigint>> {
    const fill = SHOWN_MAPS.flatMap((name) => [
      [`${name}_entries`, BigInt(this.#maps.get(name).count())],
      [`${name}_size`, BigInt(MAPS[name].entries)],
    ])
    return { ...readStats(this.#options.bpffsDir), ...Object.fromEntries(fill) }
  }

  /** What each guarded pod's guard has dropped, by cookie. */
  drops(): ReadonlyMap<bigint, PodDrops> {
    return new Map(this.#maps.get('pod_drops').entries())
  }

  /** Closes fds; kernel state stays. */
  [Symbol.dispose](): void {
    this.#guard[Symbol.dispose]()
    this.#maps[Symbol.dispose]()
  }

  #setFlag(pod: CapturedPod, flag: number): void {
    const map = this.#maps.get('pods')
    map.set(pod.cookie, recordOf(pod.ips, (map.get(pod.cookie)?.flags ?? 0) | flag))
  }

  #clearFlag(cookie: bigint, flag: number): void {
    const map = this.#maps.get('pods')
    const record = map.get(cookie)
    if (record === undefined) return
    const flags = record.flags & ~flag
    if (flags === 0) map.delete(cookie)
    else map.set(cookie, { ...record, flags })
  }

  #attachSteer(cookie: bigint, netnsFd: number): void {
    const path = (this.#options.objectPath ?? objectPath)('steer')
    using steer = loadObject({ path, directory: this.#options.bpffsDir, constant: cookie })
    attachPinned({
      pin: pins.steer(this.#options.bpffsDir, cookie),
      programFd: steer.programFd('steer'),
      targetFd: netnsFd,
      target: fstatSync(netnsFd, { bigint: true }).ino,
      attach: ATTACH_SK_LOOKUP,
    })
  }

  /** New code for the pods and devices that an earlier process left; those that died wait for forget(). */
  #replacePodPrograms(): number {
    let replaced = 0
    const directory = this.#options.bpffsDir
    for (const cookie of pinnedNumbers(directory, 'steer_')) {
      const pin = pins.steer(directory, cookie)
      const target = readLink(pin)?.target ?? 0n
      if (target === 0n) continue
      using steer = loadObject({ path: (this.#options.objectPath ?? objectPath)('steer'), directory, constant: cookie })
      const options = { pin, programFd: steer.programFd('steer'), targetFd: -1, target, attach: ATTACH_SK_LOOKUP }
      if (this.#unlessGone(cookie, () => attachPinned(options))) replaced++
    }
    for (const [ifindex, guard] of this.#maps.get('guards').entries())
      this.#unlessGone(guard.netns, () => attachTo(this.#maps, ifindex, this.#guard.programFd('guard'), this.#guardKind))
    return replaced
  }

  /** A pod may die while it is adopted: that is said, and not the node's failure. */
  #unlessGone(cookie: bigint, attach: () => unknown): boolean {
    try {
      attach()
      return true
    } catch (error) {
      if (codeOf(error) !== 'ATTACH_FAILED') throw error
      this.#options.log.warn('a pod of an earlier process cannot be adopted', { cookie: String(cookie), error: String(error) })
      return false
    }
  }
}

const INBOUND = POD_INBOUND | POD_SEALED
const SHOWN_MAPS = ['pods', 'permitted', 'dialled', 'in_flight', 'services', 'backends'] as const

/** @returns how many links were adopted */
function attachToCgroup(cgroupPath: string, directory: string, path: (name: ObjectName) => string): number {
  const constant = featureBits(detectFeatures())
  const objects = new Map<ObjectName, LoadedObject>()
  const targetFd = openSync(cgroupPath, 'r')
  let adopted = 0
  try {
    // The hooks that keep and show original destinations come before those that divert.
    for (const [name, { object, attach }] of Object.entries(CGROUP_PROGRAMS).reverse()) {
      const loaded = objects.get(object) ?? loadObject({ path: path(object), directory, constant })
      objects.set(object, loaded)
      const pin = pins.cgroupLink(directory, name)
      const options = { pin, programFd: loaded.programFd(name), targetFd, target: cgroupId(cgroupPath), attach }
      if (attachPinned(options)) adopted++
    }
  } finally {
    closeSync(targetFd)
    for (const object of objects.values()) object[Symbol.dispose]()
  }
  return adopted
}
