// Many clients of the control plane in this process, each with its own connection and the product's own reconnecting, behind an address
// that leads to whichever replica lives: as a Service does, a connection belongs to one replica and ends with it.
import net from 'node:net'
import { systemClock } from '../../kit/clock.ts'
import { DeltaClient } from '../../xds/delta-client.ts'
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, NETWORKS_TYPE } from '../../xds/kinds.ts'
import { keptLog } from '../support/xds-pair.ts'
import type { NodeProxy } from './many-nodes.ts'

/** An address in front of ports of this machine; dispose of it to end everything. */
export class Front implements Disposable {
  readonly #server: net.Server
  readonly #sockets = new Set<net.Socket>()
  #turn = 0
  /** Ports of the replicas that are said to be there; a dead one refuses. */
  ports: readonly number[] = []

  private constructor() {
    this.#server = net.createServer((client) => this.#lead(client))
  }

  static async open(): Promise<Front> {
    const front = new Front()
    await new Promise<void>((resolve) => front.#server.listen(0, '127.0.0.1', resolve))
    return front
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as net.AddressInfo).port}`
  }

  [Symbol.dispose](): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  #lead(client: net.Socket): void {
    const port = this.ports[this.#turn++ % Math.max(1, this.ports.length)]
    if (port === undefined) return void client.resetAndDestroy()
    const replica = net.connect({ host: '127.0.0.1', port, noDelay: true })
    for (const [one, other] of [
      [client, replica],
      [replica, client],
    ] as const) {
      this.#sockets.add(one)
      one.on('error', () => other.destroy())
      one.on('close', () => {
        this.#sockets.delete(one)
        other.destroy()
      })
      one.pipe(other)
    }
  }
}

/** The clients; dispose of it to stop them. */
export class XdsCrowd implements Disposable {
  readonly #clients: readonly DeltaClient[]
  /** Per client: since when it is (true) or is not (false) connected, by performance.now(). */
  readonly #states: { isConnected: boolean; atMs: number }[]
  /** Resources that were taken back. */
  removals = 0

  constructor(address: string, roots: Buffer, proxies: readonly NodeProxy[]) {
    this.#states = proxies.map(() => ({ isConnected: false, atMs: 0 }))
    this.#clients = proxies.map(
      ({ token, node, podName }, index) =>
        new DeltaClient({
          address,
          roots: () => roots,
          serverName: 'istiod.istio-system.svc',
          token: () => token,
          node: { id: `ztunnel~127.0.0.1~${podName}.weft-system~weft-system.svc.cluster.local`, metadata: { NODE_NAME: node } },
          clusterId: 'Kubernetes',
          kinds: [NETWORKS_TYPE, AUTHORIZATION_TYPE, ADDRESS_TYPE].map((typeUrl) => ({ typeUrl, mode: 'wildcard' as const })),
          onPush: (_typeUrl, { removes }) => {
            this.removals += removes.length
            return []
          },
          onState: ({ isConnected }) => {
            this.#states[index] = { isConnected, atMs: performance.now() }
          },
          log: keptLog().log,
          clock: systemClock,
        }),
    )
    for (const client of this.#clients) client.start()
  }

  get connected(): number {
    return this.#states.filter(({ isConnected }) => isConnected).length
  }

  /** Of the clients that lost their connection after a moment: ms from then until they had one again, sorted; undefined while one has none. */
  returnsMs(sinceMs: number): readonly number[] | undefined {
    if (this.connected < this.#states.length) return undefined
    const since = this.#states.filter(({ atMs }) => atMs > sinceMs).map(({ atMs }) => atMs - sinceMs)
    return since.sort((a, b) => a - b)
  }

  [Symbol.dispose](): void {
    for (const client of this.#clients) client.stop()
  }
}
