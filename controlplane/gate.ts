// The gRPC port's own listener: hands connections to gRPC, and shuts out an address that floods. Turning requests away one by one costs
// the event loop that everybody else waits for; a connection that is not taken costs next to nothing.
import { createServer, type Server as NetServer, type Socket } from 'node:net'
import type { Server, ServerCredentials } from '@grpc/grpc-js'
import type { Clock } from '../kit/clock.ts'
import type { Log } from '../kit/log.ts'
import { listenAt } from './listen.ts'

/** For how long an address is shut out the first time; doubled each time that it floods again. */
export const SHUT_MS = 10_000
/** Longest time. */
export const LONGEST_SHUT_MS = 160_000
/** An address that was quiet for so long begins anew. */
const FORGOTTEN_MS = 600_000
const MOST_ADDRESSES = 10_000

/** What the gate works with. */
export interface GateOptions {
  readonly server: Server
  readonly credentials: ServerCredentials
  readonly log: Log
  readonly clock: Clock
}

interface Shut {
  /** Monotonic ms. */
  readonly untilMs: number
  readonly shutMs: number
}

/** The listener; dispose of it to take no more connections (open ones are gRPC's to end). */
export class Gate implements Disposable {
  readonly #options: GateOptions
  readonly #listener: NetServer
  readonly #sockets = new Map<string, Set<Socket>>()
  readonly #shut = new Map<string, Shut>() // oldest first

  constructor(options: GateOptions) {
    this.#options = options
    const injector = options.server.createConnectionInjector(options.credentials)
    this.#listener = createServer({ noDelay: true }, (socket) => {
      if (this.#admit(socket)) injector.injectConnection(socket)
    })
  }

  /** @param address `host:port`. @returns the port. @throws LISTEN_FAILED */
  listen(address: string): Promise<number> {
    return listenAt(this.#listener, address)
  }

  /** Ends the connections of an address and takes none of it for a while. @param host as gRPC names a peer, without the port */
  shutOut(host: string): void {
    const { clock, log } = this.#options
    const now = clock.monotonicMs()
    const before = this.#shut.get(host)
    if (before !== undefined && now < before.untilMs) return
    const isKnown = before !== undefined && now - before.untilMs < FORGOTTEN_MS
    const shutMs = isKnown ? Math.min(LONGEST_SHUT_MS, before.shutMs * 2) : SHUT_MS
    this.#shut.delete(host)
    this.#shut.set(host, { untilMs: now + shutMs, shutMs })
    const [oldest] = this.#shut.keys()
    if (this.#shut.size > MOST_ADDRESSES && oldest !== undefined) this.#shut.delete(oldest)
    const sockets = this.#sockets.get(host) ?? new Set()
    log.warn('an address floods: its connections are ended and none is taken for a while', {
      host,
      connections: sockets.size,
      forMs: shutMs,
    })
    for (const socket of sockets) socket.destroy()
  }

  [Symbol.dispose](): void {
    this.#listener.close()
  }

  #admit(socket: Socket): boolean {
    const host = socket.remoteAddress
    const shut = host === undefined ? undefined : this.#shut.get(host)
    if (host === undefined || (shut !== undefined && this.#options.clock.monotonicMs() < shut.untilMs)) {
      socket.destroy()
      return false
    }
    const own = this.#sockets.get(host) ?? new Set()
    this.#sockets.set(host, own.add(socket))
    socket.once('close', () => {
      own.delete(socket)
      if (own.size === 0) this.#sockets.delete(host)
    })
    return true
  }
}
