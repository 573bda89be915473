// A TCP relay in this process that treats connections badly, repeatably: delays, small pieces, slow reading, resets and early
// ends of stream after a chosen number of bytes. Stands between a client and a proxy or a proxy and an app in tests.
import { once } from 'node:events'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { tcpConnect, tcpListen } from '../../linux/socket.ts'
import type { Endpoint, IpAddress } from '../../model/address.ts'
import { SeededRandom } from './random.ts'

/** A range of whole numbers, both ends possible. */
export type Range = readonly [low: number, high: number]

/** How connections are treated; what is absent is not done. Probabilities are per connection. */
export interface Faults {
  /** Milliseconds before each piece is passed on. */
  readonly delayMs?: Range
  /** Sizes in which data is passed on, each piece by a write of its own. */
  readonly pieceBytes?: Range
  /** Bytes per second that the relay reads from a slow side (a tenth of it at once). */
  readonly slow?: { readonly probability: number; readonly bytesPerSecond: Range }
  /** Both sides get a RST after so many bytes in the chosen direction. */
  readonly reset?: { readonly probability: number; readonly afterBytes: Range }
  /** The chosen direction ends (FIN) after so many bytes, the other one goes on. */
  readonly end?: { readonly probability: number; readonly afterBytes: Range }
}

type Way = 'to-server' | 'to-client'

/** What was drawn for one connection, and what became of it. */
export interface RelayedConnection {
  readonly number: number
  readonly cut?: { readonly kind: 'reset' | 'end'; readonly way: Way; readonly afterBytes: number }
  readonly slow?: { readonly way: Way; readonly bytesPerSecond: number }
  bytesToServer: number
  bytesToClient: number
  /** `open` until both ways have ended; `reset`: by plan; `broken`: one side reset it or could not be reached. */
  outcome: 'open' | 'clean' | 'reset' | 'broken'
}

/** The relay; dispose of it to reset what is open and free the port. */
export class FaultRelay implements AsyncDisposable {
  readonly #server: net.Server
  readonly #options: RelayOptions
  readonly #random: SeededRandom
  readonly #sockets = new Set<net.Socket>()
  /** Every connection so far, in the order of arrival. */
  readonly connections: RelayedConnection[] = []

  private constructor(options: RelayOptions) {
    this.#options = options
    this.#random = new SeededRandom(options.seed)
    this.#server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (client) => void this.#relay(client))
  }

  /** @param options.netnsFd namespace of both sides; default: this process's. @param options.listen port 0: chosen */
  static async listen(options: RelayOptions): Promise<FaultRelay> {
    const relay = new FaultRelay(options)
    const at = options.listen ?? { ip: '127.0.0.1' as IpAddress, port: 0 }
    relay.#server.listen({ fd: tcpListen({ ...namespaceOf(options), ...at }) })
    await once(relay.#server, 'listening')
    return relay
  }

  /** Where clients connect. */
  get port(): number {
    return (this.#server.address() as net.AddressInfo).port
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const socket of this.#sockets) socket.resetAndDestroy()
    await closed
  }

  async #relay(client: net.Socket): Promise<void> {
    const connection = this.#draw()
    const fd = tcpConnect({ ...namespaceOf(this.#options), to: this.#options.to })
    const server = new net.Socket({ fd, allowHalfOpen: true, readable: true, writable: true }).setNoDelay(true)
    const both = [client, server]
    for (const socket of both) {
      this.#sockets.add(socket)
      socket.on('error', () => both.forEach((each) => void each.resetAndDestroy())) // a reset on one side becomes one on the other
      socket.on('close', () => this.#sockets.delete(socket))
    }
    const random = new SeededRandom(this.#options.seed + connection.number * 7919) // one per connection: timing cannot mix the draws
    const ends = await Promise.allSettled([
      this.#pass(connection, 'to-server', client, server, random),
      this.#pass(connection, 'to-client', server, client, random),
    ])
    if (connection.outcome === 'open') connection.outcome = ends.every((end) => end.status === 'fulfilled') ? 'clean' : 'broken'
    for (const socket of both) socket.destroy()
  }

  #draw(): RelayedConnection {
    const { faults } = this.#options
    const random = this.#random
    const way = (): Way => (random.chance(0.5) ? 'to-server' : 'to-client')
    const kind = faults.reset !== undefined && random.chance(faults.reset.probability) ? 'reset' : 'end'
    const cut = kind === 'reset' ? faults.reset : faults.end !== undefined && random.chance(faults.end.probability) ? faults.end : undefined
    const isSlow = faults.slow !== undefined && random.chance(faults.slow.probability)
    const connection: RelayedConnection = {
      number: this.connections.length,
      ...(cut === undefined ? {} : { cut: { kind, way: way(), afterBytes: random.between(...cut.afterBytes) } }),
      ...(isSlow ? { slow: { way: way(), bytesPerSecond: random.between(...faults.slow.bytesPerSecond) } } : {}),
      bytesToServer: 0,
      bytesToClient: 0,
      outcome: 'open',
    }
    this.connections.push(connection)
    return connection
  }

  /** One direction, piece by piece; ends with the source's end of stream. */
  async #pass(connection: RelayedConnection, way: Way, from: net.Socket, to: net.Socket, random: SeededRandom): Promise<void> {
    const { faults } = this.#options
    const cut = connection.cut?.way === way ? connection.cut : undefined
    const slowBytes = connection.slow?.way === way ? Math.ceil(connection.slow.bytesPerSecond / 10) : Number.POSITIVE_INFINITY
    let left = cut?.afterBytes ?? Number.POSITIVE_INFINITY
    let hasEnded = false
    for await (const chunk of from.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      for (let at = 0; at < chunk.length && !hasEnded; ) {
        if (left === 0 && cut?.kind === 'reset') return this.#reset(connection, from, to)
        if (left === 0) {
          hasEnded = true // what still comes is swallowed, so that the source is not held up
          break
        }
        const drawn = faults.pieceBytes === undefined ? chunk.length : random.between(...faults.pieceBytes)
        const size = Math.max(1, Math.min(drawn, slowBytes, left, chunk.length - at))
        if (faults.delayMs !== undefined) await sleep(random.between(...faults.delayMs))
        if (slowBytes !== Number.POSITIVE_INFINITY) await sleep(SLOW_STEP_MS)
        await write(to, chunk.subarray(at, at + size))
        at += size
        left -= size
        if (way === 'to-server') connection.bytesToServer += size
        else connection.bytesToClient += size
      }
      if (hasEnded) to.end()
    }
    if (!to.writableEnded) to.end()
  }

  #reset(connection: RelayedConnection, from: net.Socket, to: net.Socket): void {
    connection.outcome = 'reset'
    from.resetAndDestroy()
    to.resetAndDestroy()
  }
}

const SLOW_STEP_MS = 100

/** `seed` decides everything that is drawn; the same order of connections gives the same faults. */
export interface RelayOptions {
  readonly to: Endpoint
  readonly listen?: Endpoint
  readonly netnsFd?: number
  readonly seed: number
  readonly faults: Faults
}

function namespaceOf(options: RelayOptions): { netnsFd?: number } {
  return options.netnsFd === undefined ? {} : { netnsFd: options.netnsFd }
}

/** Resolves when the kernel has taken the piece, so that a slow reader holds up the relay and then the sender. */
function write(socket: net.Socket, piece: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.write(piece, (error) => (error == null ? resolve() : reject(error)))
  })
}
