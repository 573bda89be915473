// The application behind a waypoint: node waypoint-app.ts [GRPC-JS]. Echoes what it sees, and misbehaves where a path says so.
// HTTP on 8080, TCP echo on 9000, and gRPC on 50051 when the path of @grpc/grpc-js is given. Runs inside a pod.
import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createRequire } from 'node:module'
import net from 'node:net'
import type { Duplex } from 'node:stream'

/** What the application answers to most requests. */
export interface Echo {
  readonly version: string
  readonly from: string
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

const VERSION = process.env.VERSION ?? 'v1'
const WEBSOCKET_KEY = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11' // RFC 6455 §1.3
const counts: Record<string, number> = {}

const server = createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://app')
  if (url.pathname === '/ready') return void response.end('ready')
  if (url.pathname === '/counts') return void response.end(JSON.stringify(counts))
  for (const key of [url.pathname, `from ${peerOf(request)}`]) counts[key] = (counts[key] ?? 0) + 1
  response.setHeader('x-version', VERSION)
  answer(url, request, response)
})
server.keepAliveTimeout = 60_000
server.on('upgrade', webSocket)
server.listen(8080, '::')
net.createServer((socket) => socket.on('error', () => socket.destroy()).pipe(socket)).listen(9000, '::')
if (process.argv[2] !== undefined) serveGrpc(process.argv[2])
process.on('SIGTERM', () => {
  // As an application should that must not lose requests: serves until everybody knows that it ends, within the pods' grace of 1 s.
  setTimeout(() => server.close(), 400)
  setTimeout(() => process.exit(0), 800)
})

function peerOf({ socket }: IncomingMessage): string {
  return socket.remoteAddress?.replace('::ffff:', '') ?? ''
}

function answer(url: URL, request: IncomingMessage, response: ServerResponse): void {
  switch (url.pathname) {
    case '/flaky': // every third fails
      response.writeHead((counts['/flaky'] ?? 0) % 3 === 0 ? 503 : 200).end()
      return
    case '/broken-v2':
      response.writeHead(VERSION === 'v2' ? 500 : 200).end()
      return
    case '/raw': // sent back as it comes
      request.on('aborted', () => response.destroy())
      request.pipe(response)
      return
    case '/cut':
      cut(url.searchParams, response)
      return
    case '/hold':
      response.on('close', () => {
        counts.released = (counts.released ?? 0) + 1
      })
      return
    case '/slow':
      setTimeout(() => response.end('late'), Number(url.searchParams.get('ms')))
      return
    case '/events':
      events(response)
      return
    case '/hints':
      response.writeEarlyHints({ link: '</style.css>; rel=preload' })
      response.end('hinted')
      return
    default:
      void echo(request, response)
  }
}

async function echo(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const seen: Echo = {
    version: VERSION,
    from: peerOf(request),
    method: request.method ?? '',
    url: request.url ?? '',
    headers: request.headers as Record<string, string>,
    body: Buffer.concat(chunks).toString(),
  }
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify(seen))
}

/** Breaks its response off: `length` is promised (absent = chunked), less is sent. */
function cut(query: URLSearchParams, response: ServerResponse): void {
  const length = query.get('length')
  response.writeHead(200, length === null ? {} : { 'content-length': length })
  response.write(Buffer.alloc(Number(query.get('at')), 'x'), () => response.destroy())
}

function events(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  let sent = 0
  const timer = setInterval(() => {
    response.write(`data: ${sent}\n\n`)
    if (++sent < 4) return
    clearInterval(timer)
    response.end()
  }, 150)
}

/** Echoes frames of up to 125 bytes. */
function webSocket(request: IncomingMessage, socket: Duplex): void {
  const accept = createHash('sha1').update(`${request.headers['sec-websocket-key']}${WEBSOCKET_KEY}`).digest('base64')
  const head = ['HTTP/1.1 101 Switching Protocols', 'upgrade: websocket', 'connection: upgrade', `sec-websocket-accept: ${accept}`, '', '']
  socket.write(head.join('\r\n'))
  socket.on('error', () => socket.destroy())
  socket.on('data', (frame: Buffer) => {
    const length = (frame[1] ?? 0) & 0x7f
    const mask = frame.subarray(2, 6)
    const text = Buffer.from(frame.subarray(6, 6 + length).map((byte, index) => byte ^ (mask[index % 4] ?? 0)))
    socket.write(Buffer.concat([Buffer.of(frame[0] ?? 0, length), text]))
    if (((frame[0] ?? 0) & 0x0f) === 8) socket.end()
  })
}

function serveGrpc(path: string): void {
  const grpc = createRequire(import.meta.url)(path) as typeof import('@grpc/grpc-js')
  const bytes = { requestSerialize: same, requestDeserialize: same, responseSerialize: same, responseDeserialize: same }
  const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
    path: `/weft.test.Echo/${name}`,
    requestStream,
    responseStream,
    ...bytes,
  })
  const grpcServer = new grpc.Server()
  grpcServer.addService(
    { say: method('Say', false, false), chat: method('Chat', true, true), fail: method('Fail', false, false) },
    {
      say: (call: { request: Buffer }, done: (error: null, value: Buffer) => void) => done(null, Buffer.from(`${VERSION}:${call.request}`)),
      chat: (call: import('@grpc/grpc-js').ServerDuplexStream<Buffer, Buffer>) => {
        call.on('data', (message: Buffer) => call.write(Buffer.from(`${VERSION}:${message}`)))
        call.on('end', () => call.end())
      },
      fail: (_call: unknown, done: (error: object) => void) => done({ code: grpc.status.FAILED_PRECONDITION, details: 'not today' }),
    },
  )
  grpcServer.bindAsync('[::]:50051', grpc.ServerCredentials.createInsecure(), (error) => {
    if (error !== null) throw error
  })
}

function same(value: Buffer): Buffer {
  return value
}
