// A listener inside a pod's namespace that does nothing but accept and hand on. Called by pod.ts.
import net from 'node:net'
import type { Clock } from '../kit/clock.ts'
import { codeOf, MeshError, messageOf } from '../kit/error.ts'
import type { Log } from '../kit/log.ts'
import { setKeepalive, setNoDelay, tcpListen } from '../linux/socket.ts'
import { isIpv6 } from '../model/address.ts'
import type { IpAddress } from '../model/address.ts'
import { KEEPALIVE } from './proxy/dial.ts'

/** What a listener is opened with. */
export interface ListenerOptions {
  readonly netnsFd: number
  readonly ip: IpAddress
  readonly port: number
  readonly reusesPort: boolean
  /** A FIN of the peer leaves our direction open: for bytes that are passed on; not for TLS. */
  readonly allowsHalfOpen: boolean
  readonly log: Log
  readonly clock: Clock
  /** Gets each accepted socket, paused; must not throw. */
  onAccept(socket: net.Socket): void
}

/** Whether a listener failed because the namespace has no IPv6; SYSCALL_FAILED carries the errno's name in its detail. */
export function hasNoIpv6(error: unknown): boolean {
  return error instanceof MeshError && NO_IPV6.has(String(error.detail.name))
}

const NO_IPV6 = new Set(['EAFNOSUPPORT', 'EADDRNOTAVAIL'])
/** Node would set 511 again: a burst of connects above that is reset (SYN cookies without room to be redeemed). */
const BACKLOG = 4096 // cut by net.core.somaxconn
const COMPLAINT_INTERVAL_MS = 1_000 // one line per second, however many accepts fail

/** Listens on a socket of another namespace. */
export class Listener {
  /** Of the listening socket, while it is open. */
  readonly fd: number
  readonly #server: net.Server
  readonly #options: ListenerOptions
  #complainedMs = Number.NEGATIVE_INFINITY

  private constructor(options: ListenerOptions, fd: number) {
    this.#options = options
    this.fd = fd
    this.#server = net.createServer({ pauseOnConnect: true, allowHalfOpen: options.allowsHalfOpen }, (socket) => {
      socket.on('error', () => undefined) // a reset before somebody took it over; its close says the rest
      options.onAccept(socket)
    })
    this.#server.on('error', (error) => this.#complain(error))
  }

  /** @throws MeshError SYSCALL_FAILED (EADDRINUSE, EAFNOSUPPORT, …) */
  static async open(options: ListenerOptions): Promise<Listener> {
    const { netnsFd, ip, port, reusesPort } = options
    const fd = tcpListen({ netnsFd, ip, port, reusePort: reusesPort })
    setKeepalive(fd, KEEPALIVE) // both are inherited by what is accepted
    setNoDelay(fd)
    const listener = new Listener(options, fd)
    await new Promise<void>((resolve, reject) => {
      listener.#server.once('error', reject)
      listener.#server.listen({ fd }, BACKLOG, () => {
        listener.#server.off('error', reject)
        resolve()
      })
    })
    return listener
  }

  get port(): number {
    return this.#options.port
  }

  get family(): 4 | 6 {
    return isIpv6(this.#options.ip) ? 6 : 4
  }

  /** Stops accepting; accepted sockets live on. */
  close(): void {
    this.#server.close()
  }

  /** EMFILE and the like: libuv accepts and closes what waits, so that this cannot spin. */
  #complain(error: unknown): void {
    const nowMs = this.#options.clock.monotonicMs()
    if (nowMs - this.#complainedMs < COMPLAINT_INTERVAL_MS) return
    this.#complainedMs = nowMs
    this.#options.log.warn('accept failed', { port: this.#options.port, code: codeOf(error), error: messageOf(error) })
  }
}
