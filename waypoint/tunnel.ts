// One CONNECT that came in: identify the client, decide what it leads to, answer, serve. Called by door.ts for every tunnel.
import type { ConnectRequest } from '../hbone/connect.ts'
import type { HboneServerStream } from '../hbone/server.ts'
import type { MeshError } from '../kit/error.ts'
import { formatEndpoint } from '../model/address.ts'
import type { Endpoint } from '../model/address.ts'
import type { Identity, SpiffeId } from '../model/identity.ts'
import type { Client, Downstream, WaypointContext } from './context.ts'
import { decideTarget } from './decide.ts'
import type { Refusal, Target } from './decide.ts'
import { asMeshError, waypointFailure } from './errors.ts'
import { protocolOf, serveChannel } from './serve.ts'
import { carryTcp, openTcp, refuseTcp } from './tcp.ts'
import type { TcpUpstream } from './tcp.ts'
import { tunnelChannel } from './tunnel-channel.ts'

/** The verified other end of an HBONE connection. */
export interface Peer {
  readonly id: SpiffeId
  readonly identity: Identity
  readonly from: Endpoint
}

/** A client's node may hear of a waypoint before the waypoint does. */
const LISTENER_WAIT_MS = 1_000
/** Tunnels that wait for a listener at once; more are refused at once. */
const MAX_WAITING = 1_024

/** Serves tunnels and counts them. */
export class TunnelServer {
  readonly #waypoint: WaypointContext
  #open = 0
  #waiting = 0

  constructor(waypoint: WaypointContext) {
    this.#waypoint = waypoint
  }

  /** Tunnels that are open. */
  get open(): number {
    return this.#open
  }

  /** Serves one CONNECT to its end; never throws. The client is who the peer's certificate says, whatever headers say. */
  serve(request: ConnectRequest, stream: HboneServerStream, peer: Peer): void {
    const waypoint = this.#waypoint
    if (stream.isClosed) return
    if (this.#open >= waypoint.settings.maxTunnels) {
      this.#refuse(request, stream, peer, waypointFailure('TOO_MANY_TUNNELS'))
      return
    }
    const target = this.#decide(request, peer)
    if (target.kind !== 'refuse') this.#carry(request, stream, peer, target)
    else if (target.code === 'NOT_SERVED' && this.#waiting < MAX_WAITING) void this.#carryLater(request, stream, peer)
    else this.#refuse(request, stream, peer, waypointFailure(target.code))
  }

  #decide(request: ConnectRequest, peer: Peer): Target | Refusal {
    const { config, self } = this.#waypoint
    return decideTarget(request.authority, peer.identity.namespace, self, config.mesh, (service, port) => config.listenerFor(service, port))
  }

  #carry({ authority }: ConnectRequest, stream: HboneServerStream, peer: Peer, target: Target): void {
    const waypoint = this.#waypoint
    const downstream: Downstream = { client: clientOf(peer, waypoint), target, authority }
    this.#open++
    const done = (): void => {
      this.#open--
    }
    if (protocolOf(downstream, waypoint) === 'TCP') void this.#serveTcp(stream, downstream).finally(done)
    else serveChannel(tunnelChannel(stream.accept()), downstream, waypoint, once(done))
  }

  /** Looks again at every change for a while. */
  async #carryLater(request: ConnectRequest, stream: HboneServerStream, peer: Peer): Promise<void> {
    const { clock, config } = this.#waypoint
    const untilMs = clock.monotonicMs() + LISTENER_WAIT_MS
    this.#waiting++
    let target = this.#decide(request, peer)
    for (let leftMs = LISTENER_WAIT_MS; leftMs > 0 && target.kind === 'refuse' && !stream.isClosed; ) {
      await config.nextChange(leftMs)
      target = this.#decide(request, peer)
      leftMs = untilMs - clock.monotonicMs()
    }
    this.#waiting--
    if (stream.isClosed) return
    if (target.kind === 'refuse') this.#refuse(request, stream, peer, waypointFailure(target.code))
    else this.#carry(request, stream, peer, target)
  }

  /** Nothing is promised to the client before the endpoint is there. */
  async #serveTcp(stream: HboneServerStream, downstream: Downstream): Promise<void> {
    const waypoint = this.#waypoint
    let upstream: TcpUpstream
    try {
      upstream = await openTcp(downstream, waypoint)
    } catch (error) {
      const failure = asMeshError(error, 'CONNECT_FAILED')
      stream.refuse(failure.row.status ?? 503)
      refuseTcp(downstream, failure, waypoint)
      return
    }
    await carryTcp(tunnelChannel(stream.accept()), upstream, downstream, waypoint)
  }

  #refuse(request: ConnectRequest, stream: HboneServerStream, peer: Peer, error: MeshError): void {
    stream.refuse(error.row.status ?? 503)
    this.#waypoint.access.denied(
      {
        'src.addr': formatEndpoint(peer.from),
        'src.identity': peer.id,
        'dst.hbone_addr': request.authority,
        direction: 'inbound',
      },
      error,
    )
  }
}

/** Who sends the requests: the certificate names the account; the pod is known by its address, if the account is its own. */
export function clientOf(peer: Peer, { config, self }: Pick<WaypointContext, 'config' | 'self'>): Client {
  const { id, identity, from } = peer
  const found = config.mesh.workloadByAddress(self.network, from.ip)
  const isTheirs = found?.namespace === identity.namespace && found.serviceAccount === identity.serviceAccount
  const workload = isTheirs ? found : undefined
  const source = { namespace: identity.namespace, app: workload?.canonicalName ?? '', version: workload?.canonicalRevision ?? '' }
  return { id, identity, ip: from.ip, port: from.port, workload, source }
}

function once(run: () => void): () => void {
  let isDone = false
  return () => {
    if (isDone) return
    isDone = true
    run()
  }
}
