// Client connections shared by tunnels. Two users are the same for the pool when source identity, the list of accepted
// destination identities, the address and the source IP are all equal: then, and only then, they share a connection.
import type { Clock, Timer } from '../kit/clock.ts'
import { codeOf } from '../kit/error.ts'
import type { Endpoint, IpAddress } from '../model/address.ts'
import type { SpiffeId } from '../model/identity.ts'
import type { HboneClientConnection } from './client.ts'
import type { ConnectRequest } from './connect.ts'
import { hboneFailure } from './errors.ts'
import type { HboneTunnel } from './tunnel.ts'

/** What makes two connections the same. */
export interface PoolKey {
  readonly source: SpiffeId
  /** The order counts. */
  readonly destinations: readonly SpiffeId[]
  readonly to: Endpoint
  readonly sourceIp: IpAddress
}

/** How a pool works. */
export interface HbonePoolOptions {
  /** Makes one connection: TCP, TLS, peer admitted. What it throws goes to everyone who waits for it. */
  readonly dial: (key: PoolKey) => Promise<HboneClientConnection>
  /** A further connection is dialled when all have so many streams (or what the server allows, if less). */
  readonly maxStreamsPerConnection: number
  /** A connection without streams is closed after this. */
  readonly unusedReleaseMs: number
  readonly clock: Clock
}

/** What a pool holds now. */
export interface PoolStats {
  readonly connections: number
  readonly streams: number
  readonly dialing: number
}

interface Entry {
  readonly text: string
  readonly key: PoolKey
  readonly connections: Set<Pooled>
  readonly dials: Set<PendingDial>
}

interface Pooled {
  readonly connection: HboneClientConnection
  /** Set while it carries no stream. */
  idle: Timer | undefined
}

interface PendingDial {
  readonly made: Promise<Pooled>
  /** Users that wait for it; never more than maxStreamsPerConnection. */
  waiting: number
}

/** The server did not process the stream: another connection may. */
const RETRIED: ReadonlySet<string> = new Set(['GOAWAY', 'STREAM_REFUSED', 'STREAM_LIMIT'])
const MAX_RETRIES = 3

/** A pool of HBONE connections. */
export class HbonePool {
  readonly #options: HbonePoolOptions
  readonly #entries = new Map<string, Entry>()
  /** Every connection that is not closed, also those that left the pool. */
  readonly #alive = new Set<HboneClientConnection>()
  #isDraining = false

  constructor(options: HbonePoolOptions) {
    this.#options = options
  }

  /**
   * Opens a tunnel on a pooled connection, dialling if needed; one dial serves all who come meanwhile.
   * @throws MeshError POOL_DRAINING | ABORTED | what `dial` throws | what HboneClientConnection.open throws
   */
  async open(key: PoolKey, request: ConnectRequest, options: { readonly signal?: AbortSignal } = {}): Promise<HboneTunnel> {
    for (let retries = 0; ; retries++) {
      if (this.#isDraining) throw hboneFailure('POOL_DRAINING')
      const entry = this.#entryOf(key)
      const pooled = this.#pick(entry) ?? (await this.#join(entry, options.signal))
      try {
        return await this.#openOn(pooled, request, options)
      } catch (error) {
        if (retries === MAX_RETRIES || !RETRIED.has(codeOf(error))) throw error
      }
    }
  }

  /** Takes matching connections out of the pool: their tunnels run on, new ones dial anew. */
  dropWhere(test: (key: PoolKey) => boolean): void {
    for (const [text, entry] of this.#entries) {
      if (!test(entry.key)) continue
      this.#entries.delete(text)
      for (const pooled of entry.connections) this.#retire(pooled)
    }
  }

  /** Refuses new tunnels; resolves once every connection is closed, which each does after its last tunnel. */
  async drain(): Promise<void> {
    this.#isDraining = true
    const dials = [...this.#entries.values()].flatMap((entry) => [...entry.dials])
    this.dropWhere(() => true)
    await Promise.allSettled(dials.map((dial) => dial.made))
    await Promise.all([...this.#alive].map((connection) => connection.closed))
  }

  /** Counts over all connections that are not closed. */
  stats(): PoolStats {
    let streams = 0
    for (const connection of this.#alive) streams += connection.streams
    let dialing = 0
    for (const entry of this.#entries.values()) dialing += entry.dials.size
    return { connections: this.#alive.size, streams, dialing }
  }

  #entryOf(key: PoolKey): Entry {
    // no part contains a space
    const text = `${key.to.ip} ${key.to.port} ${key.sourceIp} ${key.source} ${key.destinations.join(' ')}`
    let entry = this.#entries.get(text)
    if (entry === undefined) {
      entry = { text, key, connections: new Set(), dials: new Set() }
      this.#entries.set(text, entry)
    }
    return entry
  }

  /** @returns a connection with room. */
  #pick(entry: Entry): Pooled | undefined {
    for (const pooled of entry.connections) if (this.#hasRoom(pooled.connection)) return pooled
    return undefined
  }

  #hasRoom(connection: HboneClientConnection): boolean {
    return connection.isUsable && connection.streams < Math.min(this.#options.maxStreamsPerConnection, connection.maxStreams)
  }

  /** Waits for a dial that has room for one more, or starts one. */
  async #join(entry: Entry, signal: AbortSignal | undefined): Promise<Pooled> {
    let dial = [...entry.dials].find((pending) => pending.waiting < this.#options.maxStreamsPerConnection)
    if (dial === undefined) {
      const started: PendingDial = { made: this.#dial(entry), waiting: 0 }
      const forget = (): void => {
        entry.dials.delete(started)
        if (entry.connections.size === 0 && entry.dials.size === 0) this.#forget(entry)
      }
      started.made.then(forget, forget)
      entry.dials.add(started)
      dial = started
    }
    dial.waiting++
    return signal === undefined ? dial.made : Promise.race([dial.made, aborted(signal)])
  }

  async #dial(entry: Entry): Promise<Pooled> {
    const connection = await this.#options.dial(entry.key)
    const pooled: Pooled = { connection, idle: undefined }
    this.#alive.add(connection)
    void connection.closed.then(() => {
      this.#alive.delete(connection)
      this.#remove(entry, pooled)
    })
    connection.onCapacity = () => this.#onCapacity(entry, pooled)
    if (this.#isDraining || this.#entries.get(entry.text) !== entry) connection.close()
    else {
      entry.connections.add(pooled)
      this.#onCapacity(entry, pooled)
    }
    return pooled
  }

  #openOn(pooled: Pooled, request: ConnectRequest, options: { readonly signal?: AbortSignal }): Promise<HboneTunnel> {
    const opened = this.#hasRoom(pooled.connection)
      ? pooled.connection.open(request, options)
      : Promise.reject(hboneFailure(pooled.connection.isUsable ? 'STREAM_LIMIT' : 'GOAWAY'))
    pooled.idle?.[Symbol.dispose]()
    pooled.idle = undefined
    return opened
  }

  /** A stream closed, or the connection cannot be used any more. */
  #onCapacity(entry: Entry, pooled: Pooled): void {
    if (!pooled.connection.isUsable) this.#remove(entry, pooled)
    else if (pooled.connection.streams === 0 && pooled.idle === undefined) {
      pooled.idle = this.#options.clock.after(this.#options.unusedReleaseMs, () => {
        if (pooled.connection.streams > 0) return
        this.#remove(entry, pooled)
        this.#retire(pooled)
      })
      pooled.idle.unref()
    }
  }

  #remove(entry: Entry, pooled: Pooled): void {
    entry.connections.delete(pooled)
    pooled.idle?.[Symbol.dispose]()
    pooled.idle = undefined
    if (entry.connections.size === 0 && entry.dials.size === 0) this.#forget(entry)
  }

  #forget(entry: Entry): void {
    if (this.#entries.get(entry.text) === entry) this.#entries.delete(entry.text)
  }

  #retire(pooled: Pooled): void {
    pooled.idle?.[Symbol.dispose]()
    pooled.idle = undefined
    pooled.connection.close()
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const give = (): void => reject(hboneFailure('ABORTED'))
    if (signal.aborted) give()
    else signal.addEventListener('abort', give, { once: true })
  })
}
