// The pods that the node's agent announces over ZDS: kept here with their namespaces, served by the data threads. Called by
// app.ts on the admin thread. Follows istio/ztunnel:src/inpod/statemanager.rs.
import type { Clock } from '../kit/clock.ts'
import { messageOf } from '../kit/error.ts'
import type { Log } from '../kit/log.ts'
import type { Netns } from '../linux/netns.ts'
import type { ZdsRequest } from '../zds/messages.ts'
import type { PodInfo } from './channel.ts'
import { ztunnelFailure } from './errors.ts'

/** Who serves pods: the data threads. */
export interface PodServer {
  addPod(pod: { kind: 'pod-add'; uid: string; info: PodInfo; netnsFd: number; inode: bigint }): Promise<void>
  removePod(uid: string): Promise<void>
}

/** What enrolment needs and tells. */
export interface EnrollerOptions {
  readonly server: PodServer
  readonly log: Log
  readonly clock: Clock
  readonly retryMs?: number
  onStarted?(info: PodInfo): void
  onStopped?(info: PodInfo): void
}

/** One announced pod, for dumps. */
export interface EnrolledState {
  readonly uid: string
  readonly info: PodInfo
  readonly state: 'Pending' | 'Up'
}

interface Entry {
  readonly info: PodInfo
  readonly netns: Netns
  /** False while its listeners could not be opened: tried again every RETRY_MS. */
  isUp: boolean
}

const RETRY_MS = 5_000 // as Istio's ztunnel

/** Keeps the announced pods. Requests are taken one at a time. */
export class Enroller {
  readonly #options: EnrollerOptions
  readonly #pods = new Map<string, Entry>()
  /** Pods seen since the agent connected; those not seen are dropped at the end of its snapshot. */
  readonly #seen = new Set<string>()
  #isConnected = false
  #hasSnapshot = false
  #queue: Promise<void> = Promise.resolve()
  #retry: Disposable | undefined

  constructor(options: EnrollerOptions) {
    this.#options = options
  }

  /**
   * Acts on one request of the agent.
   * @throws MeshError NO_POD_INFO, LISTEN_FAILED, THREAD_FAILED: the text goes back in the ack
   */
  request(message: ZdsRequest & { netns?: Netns }): Promise<void> {
    const done = this.#queue.then(() => this.#act(message))
    this.#queue = done.catch(() => undefined) // the caller gets the error; the next request goes on
    return done
  }

  /** The connection to the agent came or went. Pods are served on without it. */
  connection(isConnected: boolean): void {
    this.#isConnected = isConnected
    this.#hasSnapshot = false
    this.#seen.clear()
    this.#options.log.info(isConnected ? 'connected to the agent' : 'no connection to the agent')
  }

  /** What readiness waits for. */
  waitingFor(): string[] {
    if (!this.#isConnected) return ['connection to the agent']
    if (!this.#hasSnapshot) return ['snapshot of pods']
    return [...this.#pods].filter(([, pod]) => !pod.isUp).map(([, pod]) => `pod ${pod.info.namespace}/${pod.info.name}`)
  }

  list(): EnrolledState[] {
    return [...this.#pods].map(([uid, { info, isUp }]) => ({ uid, info, state: isUp ? 'Up' : 'Pending' }))
  }

  /** Stops retrying; namespaces stay open until the process ends. */
  close(): void {
    this.#retry?.[Symbol.dispose]()
  }

  async #act(message: ZdsRequest & { netns?: Netns }): Promise<void> {
    switch (message.kind) {
      case 'add':
        return this.#add(message)
      case 'keep':
        return this.#keep(message.uid)
      case 'del':
        return this.#remove(message.uid)
      case 'snapshot-sent':
        for (const uid of [...this.#pods.keys()]) if (!this.#seen.has(uid)) await this.#remove(uid)
        this.#hasSnapshot = true
        return
    }
  }

  async #add(message: Extract<ZdsRequest, { kind: 'add' }> & { netns?: Netns }): Promise<void> {
    const { uid, info, netns } = message
    if (info === undefined || netns === undefined) {
      netns?.[Symbol.dispose]()
      throw ztunnelFailure('NO_POD_INFO', { uid })
    }
    this.#seen.add(uid)
    const old = this.#pods.get(uid)
    if (old !== undefined && old.netns.inode === netns.inode) {
      netns[Symbol.dispose]()
      return this.#start(uid, old)
    }
    if (old !== undefined) await this.#remove(uid)
    const entry = { info, netns, isUp: false }
    this.#pods.set(uid, entry)
    await this.#start(uid, entry)
  }

  async #keep(uid: string): Promise<void> {
    const known = this.#pods.get(uid)
    if (known === undefined) throw ztunnelFailure('NO_POD_INFO', { uid })
    this.#seen.add(uid)
    await this.#start(uid, known)
  }

  /** Serves a pod; one that is served already only registers its listeners again. */
  async #start(uid: string, entry: Entry): Promise<void> {
    const wasUp = entry.isUp
    entry.isUp = false
    try {
      await this.#options.server.addPod({ kind: 'pod-add', uid, info: entry.info, netnsFd: entry.netns.fd, inode: entry.netns.inode })
      entry.isUp = true
    } catch (error) {
      this.#options.log.warn('a pod could not be served', { pod: `${entry.info.namespace}/${entry.info.name}`, error: messageOf(error) })
      if (wasUp) this.#options.onStopped?.(entry.info)
      this.#retryLater()
      throw error
    }
    if (wasUp) return
    this.#options.log.info('serving a pod', { pod: `${entry.info.namespace}/${entry.info.name}`, uid })
    this.#options.onStarted?.(entry.info)
  }

  async #remove(uid: string): Promise<void> {
    const entry = this.#pods.get(uid)
    if (entry === undefined) return // removed before its snapshot was sent
    this.#pods.delete(uid)
    this.#seen.delete(uid)
    try {
      await this.#options.server.removePod(uid)
    } finally {
      entry.netns[Symbol.dispose]()
      if (entry.isUp) this.#options.onStopped?.(entry.info)
      this.#options.log.info('no longer serving a pod', { pod: `${entry.info.namespace}/${entry.info.name}`, uid })
    }
  }

  #retryLater(): void {
    this.#retry ??= this.#options.clock.after(this.#options.retryMs ?? RETRY_MS, () => {
      this.#retry = undefined
      this.#queue = this.#queue.then(async () => {
        for (const [uid, entry] of this.#pods) if (!entry.isUp) await this.#start(uid, entry).catch(() => undefined) // logged there
      })
    })
  }
}
