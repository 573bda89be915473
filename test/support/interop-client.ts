// Our client as ztunnel puts it together: pool, TLS with mesh certificates, admission of the peer, splice to a TCP socket.
import type net from 'node:net'
import tls from 'node:tls'
import { parseBundle } from '../../certs/bundle.ts'
import { PeerAdmission } from '../../certs/peer.ts'
import { connectHbone, type HboneClientConnection } from '../../hbone/client.ts'
import type { ConnectRequest } from '../../hbone/connect.ts'
import type { HboneLimits } from '../../hbone/limits.ts'
import { adoptAccepted } from '../../hbone/plain-socket.ts'
import { HbonePool, type PoolKey } from '../../hbone/pool.ts'
import { spliceTunnel, type SpliceEnd } from '../../hbone/splice.ts'
import type { HboneTunnel } from '../../hbone/tunnel.ts'
import { systemClock } from '../../kit/clock.ts'
import type { MeshError } from '../../kit/error.ts'
import type { IpAddress } from '../../model/address.ts'
import type { SpiffeId } from '../../model/identity.ts'
import type { TestCa } from './test-ca.ts'
import { tcpPair } from './tls-pair.ts'

const LOOPBACK = '127.0.0.1' as IpAddress

/** A client with one destination. */
export class InteropClient implements AsyncDisposable {
  /** Every connection that was made. */
  readonly connections: HboneClientConnection[] = []
  /** Why connections ended that did not end well. */
  readonly failures: MeshError[] = []
  /** How the splices ended. */
  readonly ends: SpliceEnd[] = []
  /** Port that is dialled for new connections. */
  port: number
  readonly pool: HbonePool
  readonly #key: PoolKey
  readonly #apps = new Set<net.Socket>()

  private constructor(port: number, key: PoolKey, dial: (client: InteropClient) => Promise<HboneClientConnection>, streams: number) {
    this.port = port
    this.#key = key
    this.pool = new HbonePool({
      dial: () => dial(this),
      maxStreamsPerConnection: streams,
      unusedReleaseMs: 60_000,
      clock: systemClock,
    })
  }

  /**
   * @param ids our identity and the one that the server must have
   * @param options streams: most per connection; limits: of the codec
   */
  static async start(
    ca: TestCa,
    port: number,
    ids: { readonly client: string; readonly server: string },
    options: { readonly streams?: number; readonly limits?: Partial<HboneLimits> } = {},
  ): Promise<InteropClient> {
    const mine = await ca.workload(ids.client)
    const bundle = parseBundle(ca.authority.rootsPem, 'cluster.local')
    if (!bundle.ok) throw new Error(bundle.errors.join('; '))
    const admission = new PeerAdmission({ bundle: () => bundle.value, clock: systemClock })
    const destinations = [ids.server as SpiffeId]
    const key: PoolKey = { source: ids.client as SpiffeId, destinations, to: { ip: LOOPBACK, port }, sourceIp: LOOPBACK }
    const dial = async (client: InteropClient): Promise<HboneClientConnection> => {
      const socket = tls.connect({
        ...mine,
        host: LOOPBACK,
        port: client.port,
        ALPNProtocols: ['h2'],
        rejectUnauthorized: false,
        checkServerIdentity: () => undefined,
      })
      await new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject))
      if (socket.alpnProtocol !== 'h2') throw new Error(`ALPN gave ${socket.alpnProtocol}`)
      const admitted = admission.admit(socket, { ids: destinations })
      if (!admitted.ok) throw new Error(admitted.errors.join('; '))
      const connection = connectHbone(socket, {
        ...(options.limits === undefined ? {} : { limits: options.limits }),
        onClosed: (reason) => reason !== undefined && client.failures.push(reason),
      })
      client.connections.push(connection)
      return connection
    }
    return new InteropClient(port, key, dial, options.streams ?? 1000)
  }

  /** Opens a tunnel. */
  tunnel(authority: string, request: Omit<ConnectRequest, 'authority'> = {}): Promise<HboneTunnel> {
    return this.pool.open(this.#key, { authority, ...request })
  }

  /** Opens a tunnel and splices it to a TCP connection. @returns the app's end of that */
  async open(authority: string, request: Omit<ConnectRequest, 'authority'> = {}): Promise<net.Socket> {
    const tunnel = await this.tunnel(authority, request)
    const { app, ours } = await tcpPair()
    this.#apps.add(app)
    app.once('close', () => this.#apps.delete(app))
    void spliceTunnel(tunnel, adoptAccepted(ours), { fromTunnel: 0, toTunnel: 0 }).then((end) => this.ends.push(end))
    return app
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const app of this.#apps) app.destroy()
    for (const connection of this.connections) connection.destroy()
    await this.pool.drain()
  }
}
