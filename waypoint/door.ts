// Port 15008 up to the point where a peer is admitted: bounded handshakes under a deadline, the check of the peer's certificate
// before any reader is attached, then HTTP/2. Called by app.ts.
import type net from 'node:net'
import tls from 'node:tls'
import { serveHbone } from '../hbone/server.ts'
import type { HboneServerConnection } from '../hbone/server.ts'
import type { Credentials } from '../identity/credentials.ts'
import type { MeshError } from '../kit/error.ts'
import type { Log } from '../kit/log.ts'
import { WideListener } from '../kit/wide-listener.ts'
import { formatEndpoint, parseIp } from '../model/address.ts'
import type { Endpoint } from '../model/address.ts'
import { asMeshError, waypointFailure } from './errors.ts'
import type { WaypointSettings } from './settings.ts'
import type { Peer, TunnelServer } from './tunnel.ts'

/** What the door is opened with. */
export interface DoorOptions {
  readonly settings: WaypointSettings
  readonly trustDomain: string
  readonly log: Log
  readonly tunnels: Pick<TunnelServer, 'serve'>
  /** The valid credentials; undefined = none now: peers are turned away. */
  readonly credentials: () => Credentials | undefined
}

const BACKLOG = 4096 // cut by net.core.somaxconn
const KEEPALIVE_DELAY_MS = 180_000
const NO_ERROR = 0 // RFC 9113 §7

/** The listener. */
export class Door {
  readonly #options: DoorOptions
  readonly #tls: tls.Server
  #listener: WideListener | undefined
  /** Taken at accept, given back once by whichever of the two events of tls.Server comes. */
  #handshakes = 0
  readonly #live = new Set<HboneServerConnection>()
  #isDraining = false

  private constructor(options: DoorOptions) {
    this.#options = options
    this.#tls = tls.createServer({
      requestCert: true,
      rejectUnauthorized: false, // PeerAdmission decides, and knows the reason
      ALPNProtocols: ['h2'],
      handshakeTimeout: options.settings.handshakeTimeoutMs,
      minVersion: 'TLSv1.3',
    })
    this.#tls.on('secureConnection', (socket) => this.#secured(socket))
    this.#tls.on('tlsClientError', (error, socket) => {
      this.#handshakes--
      const from = addressOf(socket)
      socket.destroy()
      this.#log(from, waypointFailure('HANDSHAKE_FAILED', {}, error))
    })
  }

  /** Listens on every address of the pod. @throws Error of net.Server (EADDRINUSE) */
  static async open(options: DoorOptions): Promise<Door> {
    const door = new Door(options)
    const { hbonePort, isIpv6Enabled } = options.settings
    door.#listener = await WideListener.open(
      { pauseOnConnect: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEPALIVE_DELAY_MS },
      { host: isIpv6Enabled ? '::' : '0.0.0.0', port: hbonePort, backlog: BACKLOG },
      (raw) => door.#enter(raw),
      (error) => options.log.warn('accept failed', { error: error.message }),
    )
    return door
  }

  get port(): number {
    return this.#listener?.port ?? 0
  }

  get connections(): number {
    return this.#live.size
  }

  /** The certificate for handshakes that begin from now on. */
  use(credentials: Credentials): void {
    this.#tls.setSecureContext(credentials.contextOptions)
  }

  /** Accepts no more; tells peers to open no more tunnels. */
  drain(): void {
    this.#isDraining = true
    this.#listener?.close()
    for (const connection of this.#live) connection.goAway()
  }

  /** Ends all connections now. */
  close(): void {
    this.drain()
    for (const connection of [...this.#live]) connection.destroy(NO_ERROR)
  }

  #enter(raw: net.Socket): void {
    raw.on('error', () => undefined) // a reset before somebody took it over; the TLS server says the rest
    const { settings, credentials } = this.#options
    const isFull = this.#handshakes >= settings.maxHandshakes
    if (isFull || credentials() === undefined || this.#isDraining) {
      const from = addressOf(raw)
      raw.resetAndDestroy()
      if (isFull) this.#log(from, waypointFailure('TOO_MANY_HANDSHAKES'))
      return
    }
    this.#handshakes++
    this.#tls.emit('connection', raw)
  }

  #secured(socket: tls.TLSSocket): void {
    this.#handshakes--
    const from = addressOf(socket)
    try {
      const peer = this.#admit(socket, from)
      const connection = serveHbone(socket, {
        onConnect: (request, stream) => this.#options.tunnels.serve(request, stream, peer),
        onReject: (status, reason) => this.#log(from, waypointFailure('BAD_AUTHORITY', { status, reason, peer: peer.id })),
        onClosed: (reason) => {
          this.#live.delete(connection)
          if (reason !== undefined)
            this.#options.log.debug('an HBONE connection ended', { peer: peer.id, code: reason.code, error: reason.message })
        },
      })
      this.#live.add(connection)
      if (this.#isDraining) connection.goAway()
    } catch (error) {
      socket.destroy()
      this.#log(from, asMeshError(error, 'PEER_REFUSED'))
    }
  }

  /** @throws MeshError ALPN_MISSING, PEER_REFUSED */
  #admit(socket: tls.TLSSocket, from: Endpoint | undefined): Peer {
    if (socket.alpnProtocol !== 'h2') throw waypointFailure('ALPN_MISSING')
    const mine = this.#options.credentials()
    if (from === undefined || mine === undefined) throw waypointFailure('PEER_REFUSED', { reason: 'gone, or no certificate of our own' })
    const admitted = mine.admission.admit(socket, { trustDomain: this.#options.trustDomain })
    if (!admitted.ok) throw waypointFailure('PEER_REFUSED', { refusal: admitted.code, reason: admitted.errors.join('; ') })
    const { id, trustDomain, namespace, serviceAccount } = admitted.value
    return { id, identity: { trustDomain, namespace, serviceAccount }, from }
  }

  #log(from: Endpoint | undefined, error: MeshError): void {
    this.#options.log.warn('connection refused', {
      from: from === undefined ? 'unknown' : formatEndpoint(from),
      code: error.code,
      error: error.message,
    })
  }
}

function addressOf(socket: net.Socket): Endpoint | undefined {
  const ip = parseIp(socket.remoteAddress ?? '')
  return ip === undefined || socket.remotePort === undefined ? undefined : { ip, port: socket.remotePort }
}
