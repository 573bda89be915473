// The ztunnels of this node: who may be one, what they are told, and which cgroups are the proxy's in the kernel.
// New pods go to the newest connection, removals to all (a rollout has two); each new connection gets a snapshot.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Clock, pause } from '../kit/clock.ts'
import { codeOf, messageOf } from '../kit/error.ts'
import type { Log } from '../kit/log.ts'
import { cgroupId } from '../linux/cgroup.ts'
import type { ZdsConnection } from '../zds/server.ts'
import { cniFailure } from './errors.ts'
import { isGone, openPodNetns, type PodPlace } from './pods.ts'
import type { ProxyGroups } from './proxy-groups.ts'
import type { Redirect } from './redirect/redirect.ts'

/** The part of ZdsConnection that is used here. */
export type ZtunnelConnection = Pick<ZdsConnection, 'id' | 'peer' | 'closed' | 'send' | 'close'>

/** Questions to the kernel about cgroups; replaced in unit tests. */
export interface CgroupView {
  idOf(path: string): bigint
  /** Whether a process is in the group; false when the group is gone. */
  isPopulated(path: string): boolean
}

/** The real cgroup tree. */
export const CGROUPS: CgroupView = {
  idOf: cgroupId,
  isPopulated(path) {
    try {
      return /^populated 1$/m.test(readFileSync(join(path, 'cgroup.events'), 'utf8'))
    } catch (error) {
      if (['ENOENT', 'ENODEV'].includes(codeOf(error))) return false
      throw error
    }
  },
}

/** What the constructor takes. */
export interface ZtunnelsOptions {
  readonly datapath: Pick<Redirect, 'addProxyCgroup' | 'removeProxyCgroup'>
  readonly cgroups: CgroupView
  readonly groups: ProxyGroups
  readonly log: Log
  readonly clock: Clock
  /** A process that is not the ztunnel tried. */
  onRefused(): void
  /** A ztunnel cannot serve a pod of its snapshot. */
  onLost(uid: string, error: unknown): void
  /** A ztunnel has its snapshot, or one has left; `isConnected` = at least one is there. */
  onChange(isConnected: boolean): void
  /** Opens a pod's namespace for the length of one message. Default openPodNetns. */
  readonly open?: (place: PodPlace) => Disposable & { readonly fd: number }
}

/** How long a pod waits for a ztunnel that is not there (restart), before it counts as failed. */
const WAIT_FOR_ZTUNNEL_MS = 5_000

/** All connections. */
export class Ztunnels {
  readonly #options: ZtunnelsOptions
  /** Pods that every new connection is told about. */
  readonly #announced = new Map<string, PodPlace>()
  readonly #connections = new Map<number, ZtunnelConnection>()
  /** Group -> id, while its entry is in the kernel: until no connection and no process is left in it. */
  readonly #proxyGroups = new Map<string, bigint>()
  readonly #arrivals = new Set<() => void>()
  /** When the last connection ended, or the start. */
  #awaySinceMs: number

  constructor(options: ZtunnelsOptions) {
    this.#options = options
    this.#awaySinceMs = options.clock.monotonicMs()
  }

  /** Takes over the kernel's entries of an earlier process, so that they go when their groups are empty. */
  adopt(): void {
    for (const [group, id] of this.#options.groups.earlier()) this.#proxyGroups.set(group, id)
    this.dropDeadGroups()
  }

  /** Writes the groups into maps that were made anew. */
  restoreGroups(): void {
    for (const id of this.#proxyGroups.values()) this.#options.datapath.addProxyCgroup(id)
  }

  isConnected(): boolean {
    return this.#connections.size > 0
  }

  /** For how long no ztunnel has been connected, in milliseconds; 0 = one is. */
  awayMs(): number {
    return this.isConnected() ? 0 : this.#options.clock.monotonicMs() - this.#awaySinceMs
  }

  /** Processes that are connected now. */
  pids(): number[] {
    return [...this.#connections.values()].map((connection) => connection.peer.pid)
  }

  /** A connection that has said hello; closed when its process is not the node's ztunnel. */
  accept(connection: ZtunnelConnection): void {
    const { cgroups, datapath, groups, log } = this.#options
    const { pid, uid } = connection.peer
    try {
      const group = groups.groupOf(pid)
      const id = cgroups.idOf(group)
      datapath.addProxyCgroup(id) // before the first Add: its listeners register themselves as they open
      this.#proxyGroups.set(group, id)
      groups.remember(this.#proxyGroups)
    } catch (error) {
      log.warn('connection refused: not the ztunnel of this node', { pid, uid, error: messageOf(error) })
      this.#options.onRefused()
      connection.close()
      return
    }
    this.#connections.set(connection.id, connection)
    void connection.closed.then(() => this.#left(connection))
    void this.#sendSnapshot(connection)
    for (const tell of [...this.#arrivals]) tell()
  }

  /** Makes a pod part of later snapshots without telling anybody now (restart of the agent). */
  expect(place: PodPlace): void {
    this.#announced.set(place.uid, place)
  }

  /**
   * Announces a pod to the newest ztunnel and waits for its ack; waits up to 5 s for a ztunnel.
   * @throws MeshError NO_ZTUNNEL, NETNS_GONE, ZDS_NACK, ZDS_TIMEOUT
   */
  async add(place: PodPlace, signal: AbortSignal): Promise<void> {
    this.#announced.set(place.uid, place)
    const deadlineMs = this.#options.clock.monotonicMs() + WAIT_FOR_ZTUNNEL_MS
    for (;;) {
      const connection = this.#newest() ?? (await this.#arrival(deadlineMs, signal))
      if (connection === undefined) throw cniFailure('NO_ZTUNNEL', { pod: place.name, namespace: place.namespace })
      try {
        await this.#sendAdd(connection, place)
        return
      } catch (error) {
        if (codeOf(error) !== 'ZDS_CLOSED') throw error // died meanwhile: the next one is told
      }
    }
  }

  /** Takes a pod back from every ztunnel; one that left has forgotten it. Never rejects. */
  async remove(uid: string): Promise<void> {
    if (!this.#announced.delete(uid)) return
    const sent = [...this.#connections.values()].map((connection) =>
      connection.send({ kind: 'del', uid }).catch((error: unknown) => {
        if (codeOf(error) !== 'ZDS_CLOSED') this.#options.log.warn('ztunnel did not take back a pod', { uid, error: messageOf(error) })
      }),
    )
    await Promise.all(sent)
  }

  /** Takes groups out of the kernel in which neither a connection nor a process is left. Called on each reconcile. */
  dropDeadGroups(): void {
    const { cgroups, datapath, groups } = this.#options
    for (const [group, id] of [...this.#proxyGroups]) {
      if (cgroups.isPopulated(group)) continue
      datapath.removeProxyCgroup(id)
      this.#proxyGroups.delete(group)
      groups.remember(this.#proxyGroups)
    }
  }

  async #sendSnapshot(connection: ZtunnelConnection): Promise<void> {
    const { log, onLost, onChange } = this.#options
    try {
      for (const place of [...this.#announced.values()]) {
        if (this.#announced.get(place.uid) !== place) continue // taken back meanwhile
        await this.#sendAdd(connection, place).catch((error: unknown) => {
          if (codeOf(error) !== 'ZDS_NACK' && !isGone(error)) throw error
          onLost(place.uid, error)
        })
      }
      await connection.send({ kind: 'snapshot-sent' })
      log.info('ztunnel has its snapshot', { id: connection.id, pods: this.#announced.size })
      onChange(true)
    } catch (error) {
      log.warn('ztunnel did not take its snapshot', { id: connection.id, error: messageOf(error) })
      connection.close() // it comes again and gets a whole one
    }
  }

  #left(connection: ZtunnelConnection): void {
    const wasNewest = this.#newest() === connection
    this.#connections.delete(connection.id)
    const next = this.#newest()
    if (wasNewest && next !== undefined) void this.#sendSnapshot(next) // it was not told what the newer one was
    if (next === undefined) this.#awaySinceMs = this.#options.clock.monotonicMs()
    this.#options.onChange(next !== undefined)
    this.dropDeadGroups()
  }

  async #sendAdd(connection: ZtunnelConnection, place: PodPlace): Promise<void> {
    const { uid, name, namespace, serviceAccount } = place
    using netns = (this.#options.open ?? openPodNetns)(place)
    await connection.send({ kind: 'add', uid, info: { name, namespace, serviceAccount } }, netns.fd)
  }

  #newest(): ZtunnelConnection | undefined {
    return this.#connections.get(Math.max(...this.#connections.keys()))
  }

  async #arrival(deadlineMs: number, signal: AbortSignal): Promise<ZtunnelConnection | undefined> {
    const { clock } = this.#options
    const arrived = new AbortController()
    const wake = (): void => arrived.abort()
    this.#arrivals.add(wake)
    await pause(clock, deadlineMs - clock.monotonicMs(), AbortSignal.any([arrived.signal, signal]))
    this.#arrivals.delete(wake)
    return this.#newest()
  }
}
