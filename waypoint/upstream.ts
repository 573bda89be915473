// HTTP connections to the endpoints of one backend, kept for further requests. Two requests may share a connection when these are
// equal: the endpoint (who it is, its address, in the mesh or not), the client (its identity, address and pod), of which the
// destination is told, and the HTTP version. So no bytes of one client pod follow those of another on a connection.
import { IdleTimer } from '../http/idle-timer.ts'
import type { HttpConnection } from '../http/options.ts'
import type { Clock, Timer } from '../kit/clock.ts'
import type { MeshError } from '../kit/error.ts'
import type { ConnectionLimits } from '../model/backend.ts'
import { formatEndpoint } from '../model/address.ts'
import type { BalancedEndpoint } from './balance/endpoint.ts'
import type { CallClient } from './dial.ts'
import { Distrust } from './distrust.ts'
import { asMeshError, waypointFailure } from './errors.ts'
import { UpstreamKeys } from './upstream-key.ts'

/** What makes two connections the same. */
export interface UpstreamKey {
  readonly endpoint: BalancedEndpoint
  /** Undefined = unknown. */
  readonly client: CallClient | undefined
  /** The service that was called, if one was; the same for all keys of a pool. */
  readonly host: string | undefined
  readonly version: 'HTTP/1.1' | 'HTTP/2'
}

/** What a connection tells its pool. */
export interface ConnectionEvents {
  onIdle(): void
  onClosed(error: MeshError | undefined): void
}

/** What a pool is made with. */
export interface UpstreamPoolOptions {
  readonly clock: Clock
  readonly limits: ConnectionLimits
  /** An unused connection is closed after this, unless the limits say otherwise. */
  readonly idleTimeoutMs: number
  /** A place among the requests that wait; undefined = too many do. */
  readonly takePending: () => Disposable | undefined
  /** Makes one connection. @throws MeshError */
  readonly connect: (key: UpstreamKey, events: ConnectionEvents, signal: AbortSignal) => Promise<HttpConnection>
}

/** A connection that may be used for one request, within the call of onReady. */
export interface Upstream {
  readonly connection: HttpConnection
  /** It has carried requests before: the peer may have closed it meanwhile. */
  readonly isReused: boolean
}

/** Takes a connection or the reason why there is none; exactly one is called, maybe within `acquire`. */
export interface AcquireHandlers {
  onReady(upstream: Upstream): void
  onFailed(error: MeshError): void
}

interface Pooled {
  readonly connection: HttpConnection
  readonly idle: IdleTimer
  /** It is in `resting`. */
  isResting: boolean
}

interface Waiter {
  readonly handlers: AcquireHandlers
  readonly place: Disposable
  readonly timer: Timer
}

interface Entry {
  readonly text: string
  readonly key: UpstreamKey
  readonly connections: Set<Pooled>
  /** Those of HTTP/1.1 without a request, the one used last at the end. */
  readonly resting: Pooled[]
  readonly waiters: Set<Waiter>
  dials: number
}

const NOTHING: Disposable = { [Symbol.dispose]: () => undefined }

/** The connections of one backend. */
export class UpstreamPool {
  readonly #options: UpstreamPoolOptions
  readonly #entries = new Map<string, Entry>()
  readonly #keys = new UpstreamKeys()
  readonly #dialling = new Set<AbortController>()
  /** Open ones and those being made. */
  #count = 0
  readonly #distrust: Distrust
  #onEmpty: (() => void) | undefined

  constructor(options: UpstreamPoolOptions) {
    this.#options = options
    this.#distrust = new Distrust(options.clock)
  }

  /** Connections, for dumps. */
  get size(): number {
    return this.#count
  }

  /**
   * Gives a connection with room for a request, dialling if there is none.
   * onFailed gets UPSTREAM_OVERFLOW, CONNECT_TIMEOUT, or what the dial threw.
   * @returns disposed of, the request waits no more and no handler is called
   */
  acquire(key: UpstreamKey, handlers: AcquireHandlers): Disposable {
    const entry = this.#entryOf(key)
    const free = this.#free(entry)
    if (free !== undefined) {
      this.#give(entry, free, handlers)
      return NOTHING
    }
    const place = this.#options.takePending()
    if (place === undefined) {
      this.#forgetIfUnused(entry)
      handlers.onFailed(waypointFailure('UPSTREAM_OVERFLOW', { limit: 'pending requests' }))
      return NOTHING
    }
    const timer = this.#options.clock.after(this.#options.limits.connectTimeoutMs, () => {
      this.#leave(entry, waiter)
      handlers.onFailed(waypointFailure('CONNECT_TIMEOUT', { to: formatEndpoint(key.endpoint.to) }))
    })
    const waiter: Waiter = { handlers, place, timer }
    entry.waiters.add(waiter)
    this.#dialFor(entry)
    return { [Symbol.dispose]: () => this.#leave(entry, waiter) }
  }

  /** Lets requests under way end; then calls `onEmpty`. */
  retire(onEmpty: () => void): void {
    this.#onEmpty = onEmpty
    for (const pooled of this.#all()) pooled.connection.drain()
    if (this.#count === 0) this.#empty()
  }

  /** Ends everything now. */
  close(): void {
    for (const dial of this.#dialling) dial.abort()
    for (const pooled of [...this.#all()]) pooled.connection.close(waypointFailure('DRAINED'))
  }

  #entryOf(key: UpstreamKey): Entry {
    const text = this.#keys.textOf(key)
    let entry = this.#entries.get(text)
    if (entry === undefined) {
      entry = { text, key, connections: new Set(), resting: [], waiters: new Set(), dials: 0 }
      this.#entries.set(text, entry)
    }
    return entry
  }

  /** A connection with room. */
  #free(entry: Entry): Pooled | undefined {
    if (entry.key.version === 'HTTP/2') {
      for (const pooled of entry.connections) if (this.#isFree(entry, pooled)) return pooled
      return undefined
    }
    for (let pooled = entry.resting.pop(); pooled !== undefined; pooled = entry.resting.pop()) {
      pooled.isResting = false
      if (this.#isFree(entry, pooled)) return pooled
    }
    return undefined
  }

  #isFree({ key }: Entry, { connection }: Pooled): boolean {
    const isDistrusted = key.version === 'HTTP/1.1' && this.#distrust.has(key.endpoint)
    const most = isDistrusted ? 1 : this.#options.limits.maxRequestsPerConnection
    const isUsedUp = most !== undefined && connection.requests >= most
    if (connection.canRequest && !isUsedUp) return true
    // A peer that allows no stream: kept, there would be one more for each request.
    if (isUsedUp || connection.active === 0) connection.drain()
    return false
  }

  #give(entry: Entry, pooled: Pooled, { onReady }: AcquireHandlers): void {
    const { connection, idle } = pooled
    idle.busy()
    onReady({ connection, isReused: connection.requests > 0 })
    this.#rest(entry, pooled) // if it was not wanted any more
  }

  /** Starts as many dials as the waiters need and the limit allows. */
  #dialFor(entry: Entry): void {
    const needed = entry.key.version === 'HTTP/2' ? Math.min(1, entry.waiters.size) : entry.waiters.size
    while (entry.dials < needed && this.#mayDial(entry)) void this.#dial(entry)
  }

  #mayDial(entry: Entry): boolean {
    const most = this.#options.limits.maxConnections
    if (most === undefined || this.#count < most) return true
    for (const other of this.#entries.values()) {
      if (other === entry) continue
      for (const pooled of other.connections) {
        if (pooled.connection.active !== 0) continue
        pooled.connection.close(waypointFailure('SUPERSEDED')) // unused, and somebody else waits
        return this.#count < most
      }
    }
    return false
  }

  async #dial(entry: Entry): Promise<void> {
    const { clock, limits, idleTimeoutMs, connect } = this.#options
    let pooled: Pooled | undefined
    let isOver = false
    entry.dials++
    this.#count++
    const giveUp = new AbortController()
    this.#dialling.add(giveUp)
    const timer = clock.after(limits.connectTimeoutMs, () => giveUp.abort())
    const closed = (error?: MeshError): void => {
      if (isOver) return
      isOver = true
      if (error?.code === 'UPSTREAM_BAD_MESSAGE') this.#distrust.note(entry.key.endpoint)
      this.#gone(entry, pooled)
    }
    try {
      const events = { onIdle: () => this.#idled(entry, pooled), onClosed: closed }
      const connection = await connect(entry.key, events, giveUp.signal)
      entry.dials--
      if (!isOver) {
        const idle = new IdleTimer(clock, limits.idleTimeoutMs ?? idleTimeoutMs, () => connection.drain())
        pooled = { connection, idle, isResting: false }
        entry.connections.add(pooled)
      }
      if (!connection.canRequest) {
        // Another dial at once would be a loop as fast as the endpoint can close.
        connection.drain()
        this.#failWaiters(entry, waypointFailure('CONNECT_FAILED', { to: formatEndpoint(entry.key.endpoint.to), reason: 'ended at once' }))
      } else this.#idled(entry, pooled)
    } catch (error) {
      entry.dials--
      closed()
      this.#failWaiters(entry, asMeshError(error, 'CONNECT_FAILED'))
    } finally {
      timer[Symbol.dispose]()
      this.#dialling.delete(giveUp)
    }
  }

  /** A connection has room: those who wait get it. */
  #idled(entry: Entry, pooled: Pooled | undefined): void {
    if (pooled !== undefined) this.#rest(entry, pooled)
    for (const waiter of entry.waiters) {
      const free = this.#free(entry)
      if (free === undefined) break
      this.#leave(entry, waiter)
      this.#give(entry, free, waiter.handlers)
    }
    if (entry.waiters.size > 0) this.#dialFor(entry)
  }

  /** Lays a connection without requests by. */
  #rest(entry: Entry, pooled: Pooled): void {
    const { connection, idle } = pooled
    if (connection.active > 0) return
    if (this.#onEmpty !== undefined && entry.waiters.size === 0) {
      connection.drain()
      return
    }
    idle.idle()
    if (entry.key.version === 'HTTP/2' || pooled.isResting) return
    pooled.isResting = true
    entry.resting.push(pooled)
  }

  /** HTTP/2: the one connection would have served them all. */
  #failWaiters(entry: Entry, error: MeshError): void {
    const failed = entry.key.version === 'HTTP/2' ? [...entry.waiters] : [...entry.waiters].slice(0, 1)
    for (const waiter of failed) {
      this.#leave(entry, waiter)
      waiter.handlers.onFailed(error)
    }
    this.#forgetIfUnused(entry)
  }

  #leave(entry: Entry, waiter: Waiter): void {
    if (!entry.waiters.delete(waiter)) return
    waiter.timer[Symbol.dispose]()
    waiter.place[Symbol.dispose]()
    this.#forgetIfUnused(entry)
  }

  #gone(entry: Entry, pooled: Pooled | undefined): void {
    this.#count--
    if (pooled !== undefined) {
      pooled.idle[Symbol.dispose]()
      entry.connections.delete(pooled)
      if (pooled.isResting) entry.resting.splice(entry.resting.indexOf(pooled), 1)
    }
    this.#forgetIfUnused(entry)
    this.#dialWaiting()
    if (this.#count === 0) this.#empty()
  }

  /** A place under the limit is free: any entry may use it. */
  #dialWaiting(): void {
    if (this.#options.limits.maxConnections === undefined) return
    for (const entry of this.#entries.values()) this.#dialFor(entry)
  }

  #forgetIfUnused(entry: Entry): void {
    const isUsed = entry.connections.size > 0 || entry.waiters.size > 0 || entry.dials > 0
    if (!isUsed && this.#entries.get(entry.text) === entry) this.#entries.delete(entry.text)
  }

  #empty(): void {
    const onEmpty = this.#onEmpty
    if (onEmpty === undefined || [...this.#entries.values()].some(({ waiters }) => waiters.size > 0)) return
    this.#onEmpty = () => undefined
    onEmpty()
  }

  #all(): Pooled[] {
    return [...this.#entries.values()].flatMap(({ connections }) => [...connections])
  }
}
