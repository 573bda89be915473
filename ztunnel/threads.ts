// The admin thread's end of the data threads: starts them, sends to one or all, gathers answers. A thread that dies takes the
// process down (the supervisor restarts it): half a data plane is worse than none.
import { Worker } from 'node:worker_threads'
import type { Clock } from '../kit/clock.ts'
import { messageOf } from '../kit/error.ts'
import type { DataThreadStart, Query, ToAdmin, ToData } from './channel.ts'
import { ztunnelFailure } from './errors.ts'

/** A message of a thread that is neither an answer nor about a pod. */
export type ThreadNote = Extract<ToAdmin, { kind: 'need-certificate' | 'demand' }>

/** What the owner of the threads is told. */
export interface ThreadsOptions {
  readonly starts: readonly DataThreadStart[]
  readonly clock: Clock
  onNote(note: ThreadNote, thread: number): void
  /** A thread ended without being asked to. */
  onFailure(error: Error): void
}

const ANSWER_TIMEOUT_MS = 5_000 // a thread that does not answer /metrics for so long is stuck
const POD_TIMEOUT_MS = 4_500 // the agent gives up on an announcement after 5 s

/** The data threads. */
export class DataThreads {
  readonly #options: ThreadsOptions
  readonly #workers: readonly Worker[]
  readonly #waiting = new Map<string, { readonly left: Set<number>; readonly values: unknown[]; done(error?: Error): void }>()
  #lastId = 0
  #isClosing = false

  private constructor(options: ThreadsOptions) {
    this.#options = options
    this.#workers = options.starts.map((start, index) => this.#start(start, index))
  }

  /** Starts the threads and waits until each listens to its channel. @throws MeshError THREAD_FAILED */
  static async start(options: ThreadsOptions): Promise<DataThreads> {
    const threads = new DataThreads(options)
    await threads.#gather('ready', POD_TIMEOUT_MS * 4)
    return threads
  }

  get count(): number {
    return this.#workers.length
  }

  send(message: ToData): void {
    for (const worker of this.#workers) worker.postMessage(message)
  }

  sendTo(thread: number, message: ToData): void {
    this.#workers[thread]?.postMessage(message)
  }

  /** One answer per thread. @throws MeshError THREAD_FAILED when one does not answer */
  async query(what: Query): Promise<unknown[]> {
    const id = ++this.#lastId
    const answers = this.#gather(`answer ${id}`, ANSWER_TIMEOUT_MS)
    this.send({ kind: 'query', id, what })
    return answers
  }

  /** Opens a pod's listeners in every thread. @throws MeshError THREAD_FAILED | LISTEN_FAILED; then no thread serves it */
  async addPod(pod: Extract<ToData, { kind: 'pod-add' }>): Promise<void> {
    const added = this.#gather(`pod ${pod.uid}`, POD_TIMEOUT_MS)
    this.send(pod)
    try {
      await added
    } catch (error) {
      await this.removePod(pod.uid)
      throw error
    }
  }

  /** Ends a pod's service in every thread; its namespace is unused afterwards. */
  async removePod(uid: string): Promise<void> {
    const removed = this.#gather(`removed ${uid}`, POD_TIMEOUT_MS)
    this.send({ kind: 'pod-remove', uid })
    await removed
  }

  /** Stops taking connections, lets live ones end until the grace is over. @returns how many were forced to end */
  async drain(graceMs: number): Promise<number> {
    const drained = this.#gather('drained', graceMs + ANSWER_TIMEOUT_MS)
    this.send({ kind: 'drain', graceMs })
    const counts = await drained
    return counts.reduce<number>((sum, count) => sum + (typeof count === 'number' ? count : 0), 0)
  }

  async close(): Promise<void> {
    this.#isClosing = true
    await Promise.all(this.#workers.map((worker) => worker.terminate()))
  }

  #start(start: DataThreadStart, index: number): Worker {
    const worker = new Worker(new URL('./data.ts', import.meta.url), {
      workerData: start,
      name: `data-${index}`,
      trackUnmanagedFds: false, // descriptors come from linux/socket.ts, which Node does not see opened
    })
    worker.on('message', (message: ToAdmin) => this.#receive(index, message))
    worker.on('error', (error) => this.#fail(ztunnelFailure('THREAD_FAILED', { thread: index }, error)))
    worker.on('exit', (code) => {
      if (!this.#isClosing) this.#fail(ztunnelFailure('THREAD_FAILED', { thread: index, code }))
    })
    return worker
  }

  #receive(thread: number, message: ToAdmin): void {
    switch (message.kind) {
      case 'need-certificate':
      case 'demand':
        this.#options.onNote(message, thread)
        break
      case 'ready':
        this.#settle('ready', thread, undefined)
        break
      case 'answer':
        this.#settle(`answer ${message.id}`, thread, message.value)
        break
      case 'pod-added':
        this.#settle(`pod ${message.uid}`, thread, undefined)
        break
      case 'pod-removed':
        this.#settle(`removed ${message.uid}`, thread, undefined)
        break
      case 'drained':
        this.#settle('drained', thread, message.forced)
        break
      case 'pod-failed':
        this.#waiting.get(`pod ${message.uid}`)?.done(ztunnelFailure('LISTEN_FAILED', { uid: message.uid, reason: message.reason }))
        break
    }
  }

  #settle(key: string, thread: number, value: unknown): void {
    const waiting = this.#waiting.get(key)
    if (waiting === undefined || !waiting.left.delete(thread)) return
    waiting.values.push(value)
    if (waiting.left.size === 0) waiting.done()
  }

  /** Waits for one message of each thread under a key. */
  #gather(key: string, timeoutMs: number): Promise<unknown[]> {
    return new Promise((resolve, reject) => {
      const values: unknown[] = []
      const timer = this.#options.clock.after(timeoutMs, () => done(ztunnelFailure('THREAD_FAILED', { waitingFor: key })))
      const done = (error?: Error): void => {
        timer[Symbol.dispose]()
        this.#waiting.delete(key)
        if (error === undefined) resolve(values)
        else reject(error)
      }
      this.#waiting.set(key, { left: new Set(this.#options.starts.keys()), values, done })
    })
  }

  #fail(error: Error): void {
    for (const { done } of [...this.#waiting.values()]) done(error)
    if (!this.#isClosing) this.#options.onFailure(new Error(messageOf(error), { cause: error }))
  }
}
