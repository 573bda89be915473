// Every socket that ztunnel opens toward an upstream: opened in the pod's namespace, exempted from capture, tuned, under one
// deadline. Follows istio/ztunnel:src/proxy.rs SocketFactory and src/proxy/pool.rs (one pool per pod).
import net from 'node:net'
import tls from 'node:tls'
import type { SocketRegistry } from '../../bpf/registry.ts'
import { connectHbone } from '../../hbone/client.ts'
import type { HboneClientConnection } from '../../hbone/client.ts'
import { adoptFd } from '../../hbone/plain-socket.ts'
import type { PlainSocket } from '../../hbone/plain-socket.ts'
import type { PoolKey } from '../../hbone/pool.ts'
import type { Clock } from '../../kit/clock.ts'
import { codeOf } from '../../kit/error.ts'
import type { MeshError } from '../../kit/error.ts'
import { isConnected, setKeepalive, tcpConnect } from '../../linux/socket.ts'
import { PROXY_MARK, SOURCE_MARK } from '../../linux/source-routing.ts'
import { formatEndpoint } from '../../model/address.ts'
import type { Endpoint, IpAddress } from '../../model/address.ts'
import type { Credentials, CredentialStore } from '../../identity/credentials.ts'
import { ztunnelFailure } from '../errors.ts'
import type { DescriptorBudget } from './budget.ts'
import { connectFromKept } from './kept-source.ts'

/** As Istio's ztunnel: a dead peer is noticed after half an hour of silence. */
export const KEEPALIVE = { idleS: 180, intervalS: 180, count: 9 } as const

/** What a pod's sockets are opened with. */
export interface SocketFactoryOptions {
  readonly netnsFd: number
  /** The node's kernel state as it is now; undefined = sockets are exempt by ztunnel's cgroup alone. */
  readonly registry: () => SocketRegistry | undefined
  readonly budget: DescriptorBudget
  readonly clock: Clock
  readonly timeoutMs: number
}

/** Opens upstream sockets of one pod. */
export class SocketFactory {
  readonly #options: SocketFactoryOptions

  constructor(options: SocketFactoryOptions) {
    this.#options = options
  }

  /**
   * Connects without TLS.
   * @param sourceIp the address that the peer shall see (need not be the pod's); undefined = the pod's own
   * @throws MeshError DIAL_FAILED, DIAL_TIMEOUT, LIMIT_REACHED
   */
  async connectPlain(to: Endpoint, sourceIp?: IpAddress): Promise<PlainSocket> {
    const fd = this.#open(to, sourceIp)
    const isReady = isConnected(fd) // most are: the app is in the same namespace
    const socket = adoptFd(fd, { connecting: !isReady })
    const gone = (): void => this.#options.budget.give(1)
    void socket.closed.then(gone, gone)
    if (isReady) return socket
    try {
      await this.#withDeadline(socket.connected, to)
      return socket
    } catch (error) {
      socket.destroy()
      throw codeOf(error) === 'DIAL_TIMEOUT' ? error : dialFailure(to, error)
    }
  }

  /**
   * Dials an HBONE peer: TCP, TLS as the source pod, the check of the peer's certificate, then HTTP/2.
   * @throws MeshError DIAL_FAILED, DIAL_TIMEOUT, TLS_FAILED, ALPN_MISSING, PEER_REFUSED, CERTIFICATE_TIMEOUT, LIMIT_REACHED
   */
  async connectHbone(key: PoolKey, credentials: CredentialStore): Promise<HboneClientConnection> {
    const mine = await credentials.get(key.source)
    const socket = this.#startTls(key.to, mine)
    try {
      await this.#withDeadline(secured(socket, key.to), key.to)
      if (socket.alpnProtocol !== 'h2') throw ztunnelFailure('ALPN_MISSING', { to: formatEndpoint(key.to) })
      // Before the first CONNECT: nothing of the app reaches a peer that was not admitted.
      const peer = mine.admission.admit(socket, { ids: key.destinations })
      if (!peer.ok) throw ztunnelFailure('PEER_REFUSED', { to: formatEndpoint(key.to), refusal: peer.code, reason: peer.errors.join('; ') })
      return connectHbone(socket, {})
    } catch (error) {
      socket.destroy()
      throw error
    }
  }

  #startTls(to: Endpoint, mine: Credentials): tls.TLSSocket {
    const raw = new net.Socket({ fd: this.#open(to, undefined), readable: true, writable: true })
    raw.once('close', () => this.#options.budget.give(1))
    return tls.connect({
      socket: raw,
      secureContext: mine.secureContext,
      ALPNProtocols: ['h2'],
      rejectUnauthorized: false, // PeerAdmission decides, and knows the reason
      checkServerIdentity: () => undefined, // names are SPIFFE IDs, checked there too
    })
  }

  #open(to: Endpoint, sourceIp: IpAddress | undefined): number {
    const { netnsFd, registry, budget } = this.#options
    if (!budget.take(1)) throw ztunnelFailure('LIMIT_REACHED', { to: formatEndpoint(to) })
    try {
      const prepare = (fd: number): void => {
        registry()?.exempt(fd)
        if (sourceIp === undefined) setKeepalive(fd, KEEPALIVE) // else it stays in this pod: no peer can vanish unseen
      }
      if (sourceIp === undefined) return tcpConnect({ netnsFd, to, mark: PROXY_MARK, prepare })
      return connectFromKept(sourceIp, (from) => tcpConnect({ netnsFd, to, from, transparent: true, mark: SOURCE_MARK, prepare }))
    } catch (error) {
      budget.give(1)
      throw dialFailure(to, error)
    }
  }

  #withDeadline<T>(work: Promise<T>, to: Endpoint): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = this.#options.clock.after(this.#options.timeoutMs, () =>
        reject(ztunnelFailure('DIAL_TIMEOUT', { to: formatEndpoint(to) })),
      )
      work.then(resolve, reject).finally(() => timer[Symbol.dispose]())
    })
  }
}

function secured(socket: tls.TLSSocket, to: Endpoint): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('secureConnect', resolve)
    socket.on('error', (error) =>
      reject(isConnectError(error) ? dialFailure(to, error) : ztunnelFailure('TLS_FAILED', { to: formatEndpoint(to) }, error)),
    )
    socket.once('close', () => reject(ztunnelFailure('TLS_FAILED', { to: formatEndpoint(to), reason: 'closed during the handshake' })))
  })
}

const CONNECT_ERRORS = new Set(['ECONNREFUSED', 'ENETUNREACH', 'EHOSTUNREACH', 'ETIMEDOUT', 'EADDRNOTAVAIL', 'EPERM', 'EACCES'])

function isConnectError(error: unknown): boolean {
  return CONNECT_ERRORS.has(codeOf(error))
}

function dialFailure(to: Endpoint, cause: unknown): MeshError {
  return ztunnelFailure('DIAL_FAILED', { to: formatEndpoint(to) }, cause)
}
