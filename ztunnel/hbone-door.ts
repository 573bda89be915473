// Port 15008 of one pod up to the point where a peer is admitted: bounded handshakes under a deadline, then PeerAdmission before
// any reader is attached, then HTTP/2. Called by pod.ts. Follows istio/ztunnel:src/proxy/inbound.rs.
import type net from 'node:net'
import tls from 'node:tls'
import { serveHbone } from '../hbone/server.ts'
import type { HboneServerConnection } from '../hbone/server.ts'
import { formatEndpoint } from '../model/address.ts'
import type { Endpoint } from '../model/address.ts'
import type { Credentials } from '../identity/credentials.ts'
import { ztunnelFailure } from './errors.ts'
import { addressesOf, bareFacts } from './proxy/accept.ts'
import { asMeshError, deny } from './proxy/context.ts'
import type { PodContext } from './proxy/context.ts'
import { admitPeer, serveConnect } from './proxy/inbound.ts'

type Addresses = { readonly source: Endpoint; readonly local: Endpoint }

/** Takes accepted sockets of port 15008. */
export class HboneDoor {
  readonly #pod: PodContext
  readonly #tls: tls.Server
  /** Handshakes under way: taken at accept, given back once by whichever of the two events of tls.Server comes. */
  #handshakes = 0
  /** Addresses by the descriptor's socket, from accept until the handshake has ended. */
  readonly #addresses = new WeakMap<object, Addresses>()
  readonly #live = new Set<HboneServerConnection>()
  #hasContext = false
  #isDraining = false

  constructor(pod: PodContext) {
    this.#pod = pod
    this.#tls = tls.createServer({
      requestCert: true,
      rejectUnauthorized: false, // PeerAdmission decides, and knows the reason
      ALPNProtocols: ['h2'],
      handshakeTimeout: pod.settings.handshakeTimeoutMs,
      minVersion: 'TLSv1.3',
    })
    this.#tls.on('secureConnection', (socket) => this.#secured(socket))
    this.#tls.on('tlsClientError', (error, socket) => this.#failed(error, socket))
  }

  get handshakes(): number {
    return this.#handshakes
  }

  /** The pod's certificate for handshakes that begin from now on. */
  use(credentials: Credentials): void {
    this.#tls.setSecureContext(credentials.contextOptions)
    this.#hasContext = true
  }

  /** Takes one accepted socket; never rejects. */
  async enter(raw: net.Socket): Promise<void> {
    const pod = this.#pod
    const addresses = addressesOf(raw)
    if (addresses === undefined) {
      raw.destroy()
      return
    }
    if (this.#handshakes >= pod.settings.maxHandshakes) return this.#turnAway(raw, addresses, 'TOO_MANY_HANDSHAKES')
    if (!pod.budget.take(1)) return this.#turnAway(raw, addresses, 'LIMIT_REACHED')
    this.#handshakes++
    pod.metrics.socketOpened('destination')
    raw.once('close', () => {
      pod.budget.give(1)
      pod.metrics.socketClosed('destination')
    })
    try {
      if (!this.#hasContext || pod.credentials.peek(pod.id) === undefined) this.use(await pod.credentials.get(pod.id))
    } catch (error) {
      this.#handshakes--
      raw.resetAndDestroy()
      deny(pod, bareFacts('inbound', addresses.source, addresses.local), asMeshError(error, 'CERTIFICATE_TIMEOUT'))
      return
    }
    if (raw.destroyed) {
      this.#handshakes-- // it failed while the certificate was awaited
      return
    }
    this.#addresses.set(raw, addresses)
    this.#tls.emit('connection', raw)
  }

  /** Tells peers to open no more streams; connections end when theirs have. */
  drain(): void {
    this.#isDraining = true
    for (const connection of this.#live) connection.goAway()
  }

  /** Ends all connections now. */
  close(): void {
    this.#isDraining = true
    for (const connection of [...this.#live]) connection.destroy(NO_ERROR)
    this.#tls.removeAllListeners('secureConnection')
    this.#tls.on('secureConnection', (socket) => socket.destroy())
  }

  #turnAway(raw: net.Socket, addresses: Addresses, code: 'TOO_MANY_HANDSHAKES' | 'LIMIT_REACHED'): void {
    raw.resetAndDestroy()
    deny(this.#pod, bareFacts('inbound', addresses.source, addresses.local), ztunnelFailure(code))
  }

  #secured(socket: tls.TLSSocket): void {
    this.#handshakes--
    const pod = this.#pod
    const addresses = this.#addressesOf(socket)
    try {
      if (addresses === undefined) throw ztunnelFailure('PEER_REFUSED', { reason: 'its addresses are not known' })
      const peer = admitPeer(socket, addresses, pod)
      const connection = serveHbone(socket, {
        onConnect: (request, stream) => void serveConnect(request, stream, peer, pod),
        onReject: (status, reason) => {
          const failure = ztunnelFailure('BAD_AUTHORITY', { status, reason, peer: peer.id })
          deny(pod, bareFacts('inbound', addresses.source, addresses.local), failure)
        },
        onClosed: (reason) => {
          this.#live.delete(connection)
          if (reason !== undefined && HOSTILE.has(reason.code)) deny(pod, bareFacts('inbound', addresses.source, addresses.local), reason)
          else if (reason !== undefined)
            pod.log.debug('an HBONE connection ended', { peer: peer.id, from: formatEndpoint(addresses.source), error: reason.message })
        },
      })
      this.#live.add(connection)
      if (this.#isDraining) connection.goAway()
    } catch (error) {
      socket.destroy()
      if (addresses !== undefined) deny(pod, bareFacts('inbound', addresses.source, addresses.local), asMeshError(error, 'PEER_REFUSED'))
    }
  }

  #failed(error: Error, socket: tls.TLSSocket): void {
    this.#handshakes--
    const addresses = this.#addressesOf(socket)
    socket.destroy()
    if (addresses === undefined) return
    deny(this.#pod, bareFacts('inbound', addresses.source, addresses.local), ztunnelFailure('HANDSHAKE_FAILED', {}, error))
  }

  /** A TLSSocket keeps the socket that it was made over as `_parent`. */
  #addressesOf(socket: tls.TLSSocket): Addresses | undefined {
    const parent: unknown = '_parent' in socket ? socket._parent : undefined
    return typeof parent === 'object' && parent !== null ? this.#addresses.get(parent) : undefined
  }
}

/** Ends that are the peer's doing: counted and logged like a refusal, once per connection. */
const HOSTILE: ReadonlySet<string> = new Set(['PEER_ABUSE', 'PROTOCOL_VIOLATION', 'HANDSHAKE_TIMEOUT'])
const NO_ERROR = 0 // RFC 9113 §7
