// Every connection that a waypoint makes: to an endpoint's HBONE port as the waypoint, telling whose request it carries, or in
// plaintext to an endpoint outside the mesh. Called by the pools of clusters.ts and by tcp.ts.
import net from 'node:net'
import tls from 'node:tls'
import { formatBaggage } from '../hbone/baggage.ts'
import { connectHbone } from '../hbone/client.ts'
import type { HboneClientConnection } from '../hbone/client.ts'
import type { ConnectRequest } from '../hbone/connect.ts'
import { formatForwarded } from '../hbone/forwarded.ts'
import { HbonePool } from '../hbone/pool.ts'
import type { PoolKey } from '../hbone/pool.ts'
import { baggageOf } from '../hbone/workload-baggage.ts'
import type { Channel } from '../http/channel.ts'
import { socketChannel } from '../http/socket-channel.ts'
import type { CredentialStore } from '../identity/credentials.ts'
import type { Clock } from '../kit/clock.ts'
import type { MeshError } from '../kit/error.ts'
import { formatEndpoint } from '../model/address.ts'
import type { Endpoint, IpAddress } from '../model/address.ts'
import { spiffeIdOf } from '../model/identity.ts'
import type { SpiffeId } from '../model/identity.ts'
import type { BalancedEndpoint } from './balance/endpoint.ts'
import type { Client } from './context.ts'
import { waypointFailure } from './errors.ts'
import { tunnelChannel } from './tunnel-channel.ts'

/** CONNECT header that names the original client to the destination. */
export const SOURCE_HEADER = 'x-weft-source'

/** As Istio's ztunnel: a dead peer is noticed after half an hour of silence. */
const KEEPALIVE_DELAY_MS = 180_000
/** One handshake; who waits for a channel has limits of its own. */
const HBONE_DIAL_MS = 10_000

/** What a dialler works with. */
export interface DialerOptions {
  readonly credentials: CredentialStore
  /** This waypoint. */
  readonly id: SpiffeId
  readonly ip: IpAddress
  readonly hbonePort: number
  readonly maxStreams: number
  readonly unusedMs: number
  readonly clock: Clock
}

/** What an endpoint is told about the bytes of a channel. */
export interface Call {
  /** Undefined = the waypoint itself. */
  readonly client: CallClient | undefined
  /** The service that was called; undefined = the pod, by its address. */
  readonly host: string | undefined
}

/** A client; port 0 = the channel carries requests of several of its connections. */
export type CallClient = Pick<Client, 'id' | 'identity' | 'ip' | 'port' | 'workload'>

/** Opens channels to endpoints. */
export class Dialer {
  readonly #options: DialerOptions
  readonly #pool: HbonePool

  constructor(options: DialerOptions) {
    this.#options = options
    this.#pool = new HbonePool({
      dial: (key) => this.#dialHbone(key),
      maxStreamsPerConnection: options.maxStreams,
      unusedReleaseMs: options.unusedMs,
      clock: options.clock,
    })
  }

  /**
   * A channel to the app of an endpoint.
   * @param call whose bytes it will carry, as the endpoint is told
   * @throws MeshError CONNECT_FAILED, CONNECT_TIMEOUT, TLS_FAILED, PEER_REFUSED, CERTIFICATE_TIMEOUT, or of hbone/ (CONNECT_REFUSED, ABORTED, …)
   */
  async open(endpoint: BalancedEndpoint, call: Call, signal: AbortSignal): Promise<Channel> {
    const { workload, to } = endpoint
    if (workload.protocol === 'NONE') return socketChannel(await connectPlain(to, signal))
    const { id, ip, hbonePort } = this.#options
    const key = { source: id, destinations: [spiffeIdOf(workload)], to: { ip: to.ip, port: hbonePort }, sourceIp: ip }
    return tunnelChannel(await this.#pool.open(key, connectRequest(to, call), { signal }))
  }

  /** Connections to pods that are gone, or are others now, are used no more. */
  dropWhere(test: (key: PoolKey) => boolean): void {
    this.#pool.dropWhere(test)
  }

  /** Closes every connection as soon as its tunnels have ended. */
  close(): Promise<void> {
    return this.#pool.drain()
  }

  /** Counts, for dumps. */
  stats(): ReturnType<HbonePool['stats']> {
    return this.#pool.stats()
  }

  async #dialHbone(key: PoolKey): Promise<HboneClientConnection> {
    const { credentials, id, clock } = this.#options
    const mine = await credentials.get(id)
    const giveUp = new AbortController()
    const timer = clock.after(HBONE_DIAL_MS, () => giveUp.abort())
    const socket = tls.connect({
      host: key.to.ip,
      port: key.to.port,
      secureContext: mine.secureContext,
      ALPNProtocols: ['h2'],
      rejectUnauthorized: false, // PeerAdmission decides, and knows the reason
      checkServerIdentity: () => undefined, // names are SPIFFE IDs, checked there too
    })
    socket.setNoDelay(true)
    socket.setKeepAlive(true, KEEPALIVE_DELAY_MS)
    try {
      await connected(socket, 'secureConnect', key.to, giveUp.signal)
      if (socket.alpnProtocol !== 'h2') throw waypointFailure('TLS_FAILED', { to: formatEndpoint(key.to), reason: 'no ALPN h2' })
      // Before the first CONNECT: nothing of the client reaches a peer that was not admitted.
      const peer = mine.admission.admit(socket, { ids: key.destinations })
      if (!peer.ok) throw waypointFailure('TLS_FAILED', { to: formatEndpoint(key.to), refusal: peer.code, reason: peer.errors.join('; ') })
      return connectHbone(socket, {})
    } catch (error) {
      socket.destroy()
      throw error
    } finally {
      timer[Symbol.dispose]()
    }
  }
}

/**
 * The CONNECT to an endpoint, in the form that ztunnel sends: `forwarded` and `baggage` describe the original client, for records.
 * Only `x-weft-source` is for decisions, and the endpoint's ztunnel believes it from the endpoint's own waypoint.
 */
export function connectRequest(to: Endpoint, { client, host }: Call): ConnectRequest {
  const authority = formatEndpoint(to)
  if (client === undefined) return { authority }
  const { id, ip, port, identity, workload } = client
  return {
    authority,
    baggage: formatBaggage(workload === undefined ? { namespace: identity.namespace } : baggageOf(workload)),
    forwarded: formatForwarded({ for: { ip, port }, ...(host === undefined ? {} : { host }) }),
    extra: { [SOURCE_HEADER]: id },
  }
}

async function connectPlain(to: Endpoint, signal: AbortSignal): Promise<net.Socket> {
  const socket = net.connect({ host: to.ip, port: to.port, noDelay: true, allowHalfOpen: true })
  socket.setKeepAlive(true, KEEPALIVE_DELAY_MS)
  try {
    await connected(socket, 'connect', to, signal)
    return socket
  } catch (error) {
    socket.destroy()
    throw error
  }
}

/** @throws MeshError CONNECT_FAILED, TLS_FAILED, CONNECT_TIMEOUT (aborted) */
function connected(socket: net.Socket, event: 'connect' | 'secureConnect', to: Endpoint, signal: AbortSignal): Promise<void> {
  const address = formatEndpoint(to)
  return new Promise((resolve, reject) => {
    const fail = (error: MeshError): void => {
      signal.removeEventListener('abort', abort)
      reject(error)
    }
    const abort = (): void => fail(waypointFailure('CONNECT_TIMEOUT', { to: address }))
    const isTls = event === 'secureConnect'
    let isConnected = false
    socket.once('connect', () => {
      isConnected = true
    })
    socket.once(event, () => {
      signal.removeEventListener('abort', abort)
      resolve()
    })
    // Stays: an error without a listener would end the process.
    socket.on('error', (error) => fail(waypointFailure(isTls && isConnected ? 'TLS_FAILED' : 'CONNECT_FAILED', { to: address }, error)))
    socket.once('close', () => fail(waypointFailure('CONNECT_FAILED', { to: address, reason: 'closed during the handshake' })))
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort, { once: true })
  })
}
