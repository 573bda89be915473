// The server of the sequence-numbered exchange: sends every frame back and counts, per client, what came, what came twice
// and what was damaged. In process (`startSeqServer`) or inside a pod: node seq-server.ts --tcp-port 9000 --http-port 9001.
// GET /report on the HTTP port gives the counts. --lame-ms: after SIGTERM it serves on for so long, as good servers do until
// everybody knows that they end. Only node: is imported.
import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import { parseArgs } from 'node:util'
import { encodeFrame, type Frame, FrameReader, isIntact } from './seq-frame.ts'

/** What a server counted of one client. `missing`: numbers below `highest` that never came. */
export interface ClientReport {
  readonly distinct: number
  readonly duplicates: number
  readonly missing: number
  readonly highest: number
  readonly corrupted: number
}

/** All that a server counted; `damaged`: streams that were no frames. */
export interface ServerReport {
  readonly clients: Readonly<Record<string, ClientReport>>
  readonly connections: number
  readonly damaged: number
  /** Addresses that connected, as the server sees them. */
  readonly peers: readonly string[]
}

const MOST_PEERS = 1000

interface Ports {
  readonly tcpPort?: number
  readonly httpPort?: number
  readonly host?: string
  /** Already listening fds, for servers inside another namespace. */
  readonly tcpFd?: number
  readonly httpFd?: number
}

/** A running server; dispose of it to close its ports and end its connections. */
export class SeqServer implements AsyncDisposable {
  readonly #ledger = new Ledger()
  readonly #tcp: net.Server
  readonly #http: http.Server
  readonly #sockets = new Set<net.Socket>()

  constructor() {
    this.#tcp = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#serveTcp(socket))
    this.#http = http.createServer((request, response) => void this.#serveHttp(request, response))
    for (const server of [this.#tcp, this.#http]) {
      server.on('connection', (socket: net.Socket) => {
        this.#ledger.met(socket.remoteAddress ?? '?')
        this.#sockets.add(socket)
        socket.on('close', () => this.#sockets.delete(socket))
      })
    }
    this.#http.keepAliveTimeout = 120_000
  }

  /** Listens; a port of 0 is chosen, one that is not given stays closed. */
  async listen(ports: Ports): Promise<{ tcpPort: number; httpPort: number }> {
    const open = async (server: net.Server, port: number | undefined, fd: number | undefined): Promise<number> => {
      if (fd !== undefined) server.listen({ fd })
      else if (port !== undefined) server.listen(port, ports.host ?? '::')
      else return 0
      await once(server, 'listening')
      return (server.address() as net.AddressInfo).port
    }
    return { tcpPort: await open(this.#tcp, ports.tcpPort, ports.tcpFd), httpPort: await open(this.#http, ports.httpPort, ports.httpFd) }
  }

  report(): ServerReport {
    return this.#ledger.report()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = [this.#tcp, this.#http].filter((server) => server.listening).map((server) => once(server, 'close'))
    this.#tcp.close()
    this.#http.close()
    for (const socket of this.#sockets) socket.destroy()
    await Promise.all(closed)
  }

  /** Takes no new connections and waits for the open ones, at most `ms`. */
  async drain(ms: number): Promise<void> {
    this.#tcp.close()
    this.#http.close()
    this.#http.closeIdleConnections()
    const deadlineMs = performance.now() + ms
    while (this.#sockets.size > 0 && performance.now() < deadlineMs) await new Promise((resolve) => setTimeout(resolve, 10))
  }

  #serveTcp(socket: net.Socket): void {
    const reader = new FrameReader()
    socket.on('error', () => socket.destroy()) // the client's account says what it means
    socket.on('data', (chunk: Buffer) => {
      const answers = reader.push(chunk).map((frame) => {
        this.#ledger.take(frame)
        return encodeFrame(frame)
      })
      if (reader.isDamaged) {
        this.#ledger.damaged++
        socket.destroy()
      } else if (answers.length > 0 && !socket.write(Buffer.concat(answers))) {
        socket.pause()
        socket.once('drain', () => socket.resume())
      }
    })
    socket.on('end', () => socket.end())
  }

  async #serveHttp(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    if (request.url === '/report') return void response.end(JSON.stringify(this.report()))
    if (request.url === '/healthz') return void response.end('ok')
    const body = await request.toArray().catch(() => undefined) // the client has gone: its own account has it
    if (body === undefined) return
    const [frame, ...more] = new FrameReader().push(Buffer.concat(body))
    if (frame === undefined || more.length > 0) {
      this.#ledger.damaged++
      response.writeHead(400).end()
      return
    }
    this.#ledger.take(frame)
    response.end(encodeFrame(frame))
  }
}

/** Per client a bit per sequence number: exact, and small. */
class Ledger {
  readonly #clients = new Map<number, { seen: Uint8Array; distinct: number; duplicates: number; highest: number; corrupted: number }>()
  readonly #peers = new Set<string>()
  #connections = 0
  damaged = 0

  met(peer: string): void {
    this.#connections++
    if (this.#peers.size < MOST_PEERS) this.#peers.add(peer.replace(/^::ffff:/, ''))
  }

  take(frame: Frame): void {
    let client = this.#clients.get(frame.client)
    if (client === undefined) {
      client = { seen: new Uint8Array(1024), distinct: 0, duplicates: 0, highest: -1, corrupted: 0 }
      this.#clients.set(frame.client, client)
    }
    const at = frame.seq >> 3
    if (at >= client.seen.length) {
      const more = new Uint8Array(Math.max(at + 1, client.seen.length * 2))
      more.set(client.seen)
      client.seen = more
    }
    const bit = 1 << (frame.seq & 7)
    if (((client.seen[at] ?? 0) & bit) !== 0) client.duplicates++
    else client.distinct++
    client.seen[at] = (client.seen[at] ?? 0) | bit
    client.highest = Math.max(client.highest, frame.seq)
    if (!isIntact(frame)) client.corrupted++
  }

  report(): ServerReport {
    const clients = [...this.#clients].map(([id, { distinct, duplicates, highest, corrupted }]): [string, ClientReport] => [
      String(id),
      { distinct, duplicates, missing: highest + 1 - distinct, highest, corrupted },
    ])
    return { clients: Object.fromEntries(clients), connections: this.#connections, damaged: this.damaged, peers: [...this.#peers] }
  }
}

if (import.meta.main) {
  const text = { type: 'string' } as const
  const { values } = parseArgs({ options: { 'tcp-port': text, 'http-port': text, host: text, 'lame-ms': text } })
  const port = (text: string | undefined): number | undefined => (text === undefined ? undefined : Number(text))
  const [tcpPort, httpPort] = [port(values['tcp-port']), port(values['http-port'])]
  const server = new SeqServer()
  const ports = await server.listen({
    ...(tcpPort === undefined ? {} : { tcpPort }),
    ...(httpPort === undefined ? {} : { httpPort }),
    ...(values.host === undefined ? {} : { host: values.host }),
  })
  console.log(JSON.stringify({ message: 'listening', ...ports }))
  const lameMs = Number(values['lame-ms'] ?? 0)
  process.once('SIGTERM', async () => {
    if (lameMs > 0) {
      await new Promise((resolve) => setTimeout(resolve, lameMs))
      await server.drain(lameMs)
    }
    console.log(JSON.stringify({ message: 'report', ...server.report() }))
    process.exit(0)
  })
}
