// Node proxies that ask for certificates at a steady rate all together, each over a connection of its own from an address of its own;
// times count from when a request was due.
import { once } from 'node:events'
import http2 from 'node:http2'
import tls from 'node:tls'
import { createCsr } from '../../certs/csr.ts'
import type { SpiffeId } from '../../model/identity.ts'
import { IstioCertificateRequestSchema } from '../../proto/certificate_pb.ts'
import { encodeMessage } from '../../proto/wire.ts'
import type { NodeProxy } from './many-nodes.ts'

const PATH = '/istio.v1.auth.IstioCertificateService/CreateCertificate'
const TIMEOUT_MS = 10_000

/** What became of the requests. */
export interface CaSums {
  readonly asked: number
  readonly issued: number
  readonly reasons: Readonly<Record<string, number>>
  readonly p50Ms: number
  readonly p99Ms: number
  readonly mostMs: number
}

interface Asker {
  readonly session: http2.ClientHttp2Session
  readonly token: string
  readonly body: Buffer
}

/** The proxies, connected; dispose of it to close the connections. */
export class CaLoad implements Disposable {
  readonly #askers: readonly Asker[]

  private constructor(askers: readonly Asker[]) {
    this.#askers = askers
  }

  /** Connects them: proxy N from 127.1.0.N or thereabouts. */
  static async open(port: number, serverName: string, ca: Buffer, proxies: readonly NodeProxy[]): Promise<CaLoad> {
    const askers: Asker[] = []
    for (const [index, { token, app }] of proxies.entries()) {
      const localAddress = `127.1.${index >> 7}.${1 + (index & 127)}`
      const to = { host: '127.0.0.1', port, localAddress }
      const socket = tls.connect({ ...to, servername: serverName, ca, ALPNProtocols: ['h2'] })
      await once(socket, 'secureConnect')
      const session = http2.connect(`https://${serverName}`, { createConnection: () => socket })
      session.on('error', () => undefined) // its requests fail
      const [namespace, account] = app.split('/')
      const id = `spiffe://cluster.local/ns/${namespace}/sa/${account}` as SpiffeId
      const { csrPem } = await createCsr({ id })
      const message = encodeMessage(IstioCertificateRequestSchema, {
        csr: csrPem,
        validityDuration: 3600n,
        metadata: { ImpersonatedIdentity: id },
      })
      const prefix = Buffer.alloc(5)
      prefix.writeUInt32BE(message.length, 1)
      askers.push({ session, token, body: Buffer.concat([prefix, message]) })
    }
    return new CaLoad(askers)
  }

  /** Asks in turn, `perSecond` times in all, for some seconds; waits for every answer. */
  async ask(perSecond: number, seconds: number): Promise<CaSums> {
    const begunMs = performance.now()
    const timesMs: number[] = []
    const reasons: Record<string, number> = {}
    const open: Promise<void>[] = []
    while (open.length < perSecond * seconds) {
      const dueMs = begunMs + (open.length * 1000) / perSecond
      const leftMs = dueMs - performance.now()
      if (leftMs > 0) await new Promise((resolve) => setTimeout(resolve, leftMs))
      const asker = this.#askers[open.length % this.#askers.length] as Asker
      const done = askOnce(asker).then((reason) => {
        timesMs.push(performance.now() - dueMs)
        reasons[reason] = (reasons[reason] ?? 0) + 1
      })
      open.push(done)
    }
    await Promise.all(open)
    timesMs.sort((a, b) => a - b)
    const at = (share: number): number => Math.round((timesMs[Math.floor((timesMs.length - 1) * share)] ?? 0) * 10) / 10
    return { asked: open.length, issued: reasons['status 0'] ?? 0, reasons, p50Ms: at(0.5), p99Ms: at(0.99), mostMs: at(1) }
  }

  [Symbol.dispose](): void {
    for (const { session } of this.#askers) session.destroy()
  }
}

/** @returns `status N` of gRPC, or what went wrong */
function askOnce({ session, token, body }: Asker): Promise<string> {
  return new Promise((resolve) => {
    const headers = {
      ':method': 'POST',
      ':path': PATH,
      'content-type': 'application/grpc',
      te: 'trailers',
      authorization: `Bearer ${token}`,
    }
    const stream = session.request(headers)
    let status: unknown
    stream.setTimeout(TIMEOUT_MS, () => stream.close(http2.constants.NGHTTP2_CANCEL))
    for (const event of ['response', 'trailers'] as const)
      stream.on(event, (fields: http2.IncomingHttpHeaders) => {
        status = fields['grpc-status'] ?? status
      })
    stream.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    stream.on('close', () => resolve(status === undefined ? 'no answer' : `status ${String(status)}`))
    stream.resume()
    stream.end(body)
  })
}
