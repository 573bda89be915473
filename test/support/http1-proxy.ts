// A small proxy made of both ends of our HTTP/1.1 codec, with node:http behind it: what that strict parser sees is what a server
// would see. Used with hostile bytes, and to compare both parsers.
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { channelDuplex } from '../../http/channel-duplex.ts'
import type { BodyWriter, ServerExchange } from '../../http/exchange.ts'
import { connectHttp1 } from '../../http/http1-client.ts'
import { serveHttp1 } from '../../http/http1-server.ts'
import { HTTP_LIMITS, type HttpConnection, type HttpLimits } from '../../http/options.ts'
import { systemClock } from '../../kit/clock.ts'
import { channelPair } from './channel-pair.ts'

/** A request as the server behind the proxy read it. */
export interface SeenRequest {
  readonly method: string
  readonly url: string
  readonly host: string
  readonly body: string
  /** Names and values as node:http gives them, without those that the proxy's own framing needs. */
  readonly headers: readonly string[]
}

/** What came of the bytes of one client. */
export interface Outcome {
  /** Status of each response, in order. */
  readonly statuses: readonly number[]
  /** Everything that the client received. */
  readonly received: string
  readonly seen: readonly SeenRequest[]
  /** What the proxy sent to the server. */
  readonly forwarded: string
  /** Requests that the codec gave to the proxy. */
  readonly authorised: number
  /** Errors of the server's parser: always a fault of the proxy. */
  readonly faults: readonly string[]
}

const LIMITS: HttpLimits = { ...HTTP_LIMITS, drainMs: 200 }

/**
 * Sends bytes to the proxy, ends the client's half, and waits until the connection is gone.
 * @param raw one character per byte; a list = pieces, sent one after the other
 */
export async function proxyBytes(raw: string | readonly string[]): Promise<Outcome> {
  const seen: SeenRequest[] = []
  const faults: string[] = []
  const forwarded: Buffer[] = []
  const backend = recordingServer(seen, faults)
  const [client, served] = channelPair()
  let authorised = 0
  const upstreams: HttpConnection[] = []
  const handler = (exchange: ServerExchange): void => {
    authorised++
    let upstream = upstreams.find((connection) => connection.canRequest)
    if (upstream === undefined) {
      upstream = dial(backend, forwarded)
      upstreams.push(upstream)
    }
    forward(exchange, upstream)
  }
  serveHttp1(served, { handler, scheme: 'http', limits: LIMITS, clock: systemClock })
  const received = await exchangeBytes(client, typeof raw === 'string' ? [raw] : raw)
  for (const upstream of upstreams) upstream.close()
  backend.close()
  backend.closeAllConnections()
  const statuses = [...received.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((match) => Number(match[1]))
  return { statuses, received, seen, forwarded: Buffer.concat(forwarded).toString('latin1'), authorised, faults }
}

/** Passes a request on and its response back. */
export function forward(exchange: ServerExchange, upstream: HttpConnection): void {
  let response: BodyWriter | undefined
  const call = upstream.request(exchange.request, exchange.body.length, {
    onInform: (head) => exchange.inform(head),
    onUpgrade: () => exchange.respond({ status: 502, headers: [] }, 0),
    onFailed: () => exchange.respond({ status: 502, headers: [] }, 0),
    onResponse: (head, body) => {
      const writer = exchange.respond(head, body.length)
      response = writer
      writer.onDrain = () => body.resume()
      body.start({
        onData: (chunk) => writer.write(chunk) || body.pause(),
        onEnd: (trailers) => writer.end(trailers),
        onError: (error) => writer.abort(error),
      })
    },
  })
  exchange.onClosed = (error) => call.cancel(error)
  call.body.onDrain = () => exchange.body.resume()
  exchange.body.start({
    onData: (chunk) => call.body.write(chunk) || exchange.body.pause(),
    onEnd: (trailers) => call.body.end(trailers),
    onError: (error) => {
      call.cancel(error)
      response?.abort(error)
    },
  })
}

function dial(backend: Server, forwarded: Buffer[]): HttpConnection {
  const [near, far] = channelPair()
  backend.emit('connection', channelDuplex(far))
  const { write } = near
  near.write = (bytes) => {
    forwarded.push(Buffer.from(bytes))
    return write.call(near, bytes)
  }
  return connectHttp1(near, { limits: LIMITS, clock: systemClock })
}

function recordingServer(seen: SeenRequest[], faults: string[]): Server {
  const server = createServer({ requireHostHeader: true }, (request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => void parts.push(part))
    request.on('end', () => {
      seen.push(describe(request, Buffer.concat(parts)))
      response.sendDate = false
      response.end('ok')
    })
  })
  server.on('clientError', (error: Error & { code?: string }, socket) => {
    socket.destroy()
    if (error.code !== 'CHANNEL_RESET') faults.push(error.message) // a request that is broken off is right
  })
  return server
}

const FRAMING = new Set(['host', 'content-length', 'transfer-encoding'])

function describe(request: IncomingMessage, body: Buffer): SeenRequest {
  const { method = '', url = '', headers, rawHeaders } = request
  const fields: string[] = []
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (!FRAMING.has(rawHeaders[i] ?? '')) fields.push(`${rawHeaders[i]}: ${rawHeaders[i + 1]}`)
  }
  return { method, url, host: headers.host ?? '', body: body.toString('latin1'), headers: fields }
}

function exchangeBytes(client: ReturnType<typeof channelPair>[0], pieces: readonly string[]): Promise<string> {
  const received: Buffer[] = []
  const { promise, resolve } = Promise.withResolvers<string>()
  client.attach({
    onData: (chunk) => void received.push(Buffer.from(chunk)),
    onEnd: () => undefined,
    onWritable: () => undefined,
    onClosed: () => resolve(Buffer.concat(received).toString('latin1')),
  })
  for (const piece of pieces) client.write(Buffer.from(piece, 'latin1'))
  client.end()
  return promise
}
