// A delta xDS server on loopback and clients of it, for tests: real gRPC, real TLS.
import { createServer, connect, type Server as NetServer, type Socket } from 'node:net'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import { systemClock } from '../../kit/clock.ts'
import { faults, success } from '../../kit/error.ts'
import type { Log } from '../../kit/log.ts'
import { DeltaClient, type DeltaClientOptions, type XdsPush, type XdsState } from '../../xds/delta-client.ts'
import { DeltaServer, type DeltaServerOptions, type ServerLimits } from '../../xds/delta-server.ts'
import type { PushStore, ServedResource } from '../../xds/push-source.ts'
import { selfSigned } from './self-signed.ts'

/** A log that keeps its lines. */
export function keptLog(): { log: Log; lines: { level: string; message: string; fields: Readonly<Record<string, unknown>> }[] } {
  const lines: { level: string; message: string; fields: Readonly<Record<string, unknown>> }[] = []
  const at =
    (level: string) =>
    (message: string, fields: Readonly<Record<string, unknown>> = {}): void =>
      void lines.push({ level, message, fields })
  const log: Log = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error'), isDebug: () => true, scope: () => log }
  return { log, lines }
}

/** Waits until `test` holds; fails with `what` after `ms`. */
export async function until(what: string, test: () => boolean, ms = 5000): Promise<void> {
  const end = performance.now() + ms
  while (!test()) {
    if (performance.now() > end) throw new Error(`not in time: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** A served resource with made-up bytes. */
export function resource(
  text: string,
  more: { aliases?: readonly string[]; groups?: readonly string[]; version?: string } = {},
): ServedResource {
  return { version: more.version ?? text, bytes: Buffer.from(text), aliases: more.aliases ?? [], groups: more.groups ?? [] }
}

/** A client whose pushes are kept. */
export interface TestClient {
  readonly client: DeltaClient
  readonly pushes: { typeUrl: string; push: XdsPush }[]
  readonly states: XdsState[]
  /** What the client holds, per kind. */
  readonly held: Map<string, Map<string, string>>
}

/** Server, and a TCP relay in front of it that can be cut. */
export class XdsPair implements AsyncDisposable {
  readonly lines: ReturnType<typeof keptLog>['lines']
  readonly server: DeltaServer
  readonly store: PushStore
  readonly #grpc: Server
  readonly #relay: NetServer
  readonly #sockets = new Set<Socket>()
  readonly #clients = new Set<DeltaClient>()
  readonly #certPem: string
  readonly #log: Log
  isRefusing = false
  port = 0

  private constructor(store: PushStore, certPem: string, options: Partial<DeltaServerOptions>) {
    const { log, lines } = keptLog()
    this.#log = log
    this.lines = lines
    this.store = store
    this.#certPem = certPem
    this.#grpc = new Server({ 'grpc.max_receive_message_length': 16 * 1024 * 1024 })
    const authenticate: DeltaServerOptions['authenticate'] = async (token) =>
      token.startsWith('good') ? success({ key: token, label: token, gateway: undefined, mayDemand: () => true }) : faults('unknown token')
    this.server = new DeltaServer({ source: store, authenticate, log, clock: systemClock, ...options })
    this.server.addTo(this.#grpc)
    this.#relay = createServer()
  }

  static async start(store: PushStore, options: Partial<DeltaServerOptions> & { limits?: Partial<ServerLimits> } = {}): Promise<XdsPair> {
    const { certPem, keyPem } = await selfSigned('controlplane.test')
    const pair = new XdsPair(store, certPem, options)
    const credentials = ServerCredentials.createSsl(null, [{ private_key: Buffer.from(keyPem), cert_chain: Buffer.from(certPem) }])
    const inner = await new Promise<number>((resolve, reject) =>
      pair.#grpc.bindAsync('127.0.0.1:0', credentials, (error, port) => (error === null ? resolve(port) : reject(error))),
    )
    pair.#relay.on('connection', (from) => pair.#pass(from, inner))
    await new Promise<void>((resolve) => pair.#relay.listen(0, '127.0.0.1', resolve))
    const address = pair.#relay.address()
    pair.port = typeof address === 'object' && address !== null ? address.port : 0
    return pair
  }

  /** Cuts every connection; clients reconnect unless `isRefusing`. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  connect(options: Partial<DeltaClientOptions> & Pick<DeltaClientOptions, 'kinds'>): TestClient {
    const pushes: TestClient['pushes'] = []
    const states: XdsState[] = []
    const held: TestClient['held'] = new Map()
    const { onPush } = options
    const client = new DeltaClient({
      address: `127.0.0.1:${this.port}`,
      roots: () => Buffer.from(this.#certPem),
      serverName: 'controlplane.test',
      token: () => 'good-token',
      node: { id: 'ztunnel~1.1.1.1~test.ns~ns.svc.cluster.local', metadata: { NODE_NAME: 'node-1' } },
      onState: (state) => void states.push(state),
      log: this.#log,
      clock: systemClock,
      ...options,
      onPush(typeUrl, push) {
        pushes.push({ typeUrl, push })
        const kind = held.get(typeUrl) ?? new Map<string, string>()
        held.set(typeUrl, kind)
        for (const { name, bytes } of push.upserts) kind.set(name, Buffer.from(bytes).toString())
        for (const name of push.removes) kind.delete(name)
        return onPush?.(typeUrl, push) ?? []
      },
    })
    client.start()
    this.#clients.add(client)
    return { client, pushes, states, held }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.stop()
    this.server.close()
    this.cut()
    await new Promise((resolve) => this.#relay.close(resolve))
    this.#grpc.forceShutdown()
  }

  #pass(from: Socket, port: number): void {
    if (this.isRefusing) return void from.destroy()
    const to = connect(port, '127.0.0.1')
    for (const [socket, other] of [
      [from, to],
      [to, from],
    ] as const) {
      this.#sockets.add(socket)
      socket.on('error', () => other.destroy())
      socket.on('close', () => {
        this.#sockets.delete(socket)
        other.destroy()
      })
      socket.pipe(other)
    }
  }
}
