// Ends of HTTP/2 connections over channels in memory: our server with Node's client, our client with Node's server, and a relay
// made of both, as the waypoint is one.
import type { TLSSocket } from 'node:tls'
import http2, { type ClientHttp2Session, type ServerHttp2Session } from 'node:http2'
import { CLIENT_PREFACE } from '../../hbone/frame.ts'
import { channelDuplex } from '../../http/channel-duplex.ts'
import type { BodyReader, BodyWriter, ExchangeHandler, HttpClient, ResponseHandlers } from '../../http/exchange.ts'
import { connectHttp2 } from '../../http/h2-client.ts'
import { serveHttp2 } from '../../http/h2-server.ts'
import { HTTP_LIMITS, type HttpClientOptions, type HttpServerOptions } from '../../http/options.ts'
import { systemClock } from '../../kit/clock.ts'
import type { MeshError } from '../../kit/error.ts'
import type { HeaderField, ResponseHead } from '../../model/http.ts'
import { channelPair } from './channel-pair.ts'
import { RawPeer, settings } from './raw-h2.ts'

/** Our server and Node's client. */
export function ourServer(handler: ExchangeHandler, options: Partial<HttpServerOptions> = {}, client: http2.ClientSessionOptions = {}) {
  const [near, far] = channelPair()
  const closed = Promise.withResolvers<MeshError | undefined>()
  const connection = serveHttp2(far, {
    handler,
    scheme: 'http',
    limits: HTTP_LIMITS,
    clock: systemClock,
    onClosed: closed.resolve,
    ...options,
  })
  const duplex = channelDuplex(near)
  const session: ClientHttp2Session = http2.connect('http://server.test', { ...client, createConnection: () => duplex })
  session.on('error', () => undefined)
  return { session, connection, near, far, closed: closed.promise, [Symbol.dispose]: () => session.destroy() }
}

/** Our server and a client that writes any frame; the preface and empty SETTINGS are sent. */
export function attackedServer(handler: ExchangeHandler, options: Partial<HttpServerOptions> = {}) {
  const [near, far] = channelPair()
  const closed = Promise.withResolvers<MeshError | undefined>()
  const base = { scheme: 'http', limits: HTTP_LIMITS, clock: systemClock, onClosed: closed.resolve } as const
  const connection = serveHttp2(far, { ...base, handler, ...options })
  const peer = new RawPeer(channelDuplex(near) as TLSSocket)
  peer.send(CLIENT_PREFACE, settings())
  return { peer, connection, near, far, closed: closed.promise, [Symbol.dispose]: () => near.reset() }
}

/** Our client and a server that writes any frame; empty SETTINGS are sent. */
export function attackedClient(options: Partial<HttpClientOptions> = {}) {
  const [near, far] = channelPair()
  const closed = Promise.withResolvers<MeshError | undefined>()
  const client = connectHttp2(near, { limits: HTTP_LIMITS, clock: systemClock, onClosed: closed.resolve, ...options })
  const peer = new RawPeer(channelDuplex(far) as TLSSocket)
  peer.send(settings())
  return { peer, client, near, far, closed: closed.promise, [Symbol.dispose]: () => far.reset() }
}

/** Our client and Node's server. */
export function ourClient(
  setUp: (session: ServerHttp2Session) => void,
  options: Partial<HttpClientOptions> = {},
  server: http2.ServerSessionOptions = {},
) {
  const [near, far] = channelPair()
  const closed = Promise.withResolvers<MeshError | undefined>()
  const session = http2.performServerHandshake(channelDuplex(far), server)
  session.on('error', () => undefined)
  setUp(session)
  const client = connectHttp2(near, { limits: HTTP_LIMITS, clock: systemClock, onClosed: closed.resolve, ...options })
  return { session, client, near, far, closed: closed.promise, [Symbol.dispose]: () => client.close() }
}

/** Hands every request on to `client`, streaming, with trailers, interim responses and resets, as a waypoint does. */
export function relay(client: () => HttpClient): ExchangeHandler {
  return (exchange) => {
    const hasRaw = exchange.request.upgrade !== undefined
    const handlers: ResponseHandlers = {
      onInform: (head) => exchange.inform(head),
      onResponse: (head, body) => pump(body, exchange.respond(head, body.length)),
      onUpgrade: (head, raw) => {
        const down = exchange.upgrade(head)
        pump(raw.reader, down.writer)
        pump(down.reader, raw.writer)
      },
      onFailed: (error) => exchange.reset(error),
    }
    const request = client().request(exchange.request, exchange.body.length, handlers)
    exchange.onClosed = (error) => request.cancel(error)
    if (!hasRaw) pump(exchange.body, request.body)
  }
}

/** Copies a body with back-pressure. */
export function pump(from: BodyReader, to: BodyWriter): void {
  to.onDrain = () => from.resume()
  from.start({
    onData: (chunk) => {
      if (!to.write(chunk)) from.pause()
    },
    onEnd: (trailers) => to.end(trailers),
    onError: (error) => to.abort(error),
  })
}

/** A body in whole. */
export interface Whole {
  readonly bytes: Buffer
  readonly trailers: readonly HeaderField[]
}

/** Reads a body to its end. @throws what broke it off */
export function wholeBody(body: BodyReader): Promise<Whole> {
  const { promise, resolve, reject } = Promise.withResolvers<Whole>()
  const chunks: Buffer[] = []
  body.start({
    onData: (chunk) => void chunks.push(Buffer.from(chunk)),
    onEnd: (trailers) => resolve({ bytes: Buffer.concat(chunks), trailers }),
    onError: reject,
  })
  return promise
}

/** A response in whole. */
export interface Answer extends Whole {
  readonly head: ResponseHead
  readonly length: number | undefined
  readonly informs: readonly ResponseHead[]
}

/** Handlers that give the whole answer, or `{ error, wasSent }` as a rejection. */
export function answerHandlers(): ResponseHandlers & { readonly answer: Promise<Answer> } {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>()
  const informs: ResponseHead[] = []
  return {
    answer: promise,
    onInform: (head) => void informs.push(head),
    onResponse: (head, body) => {
      wholeBody(body).then((whole) => resolve({ head, length: body.length, informs, ...whole }), reject)
    },
    onUpgrade: () => reject(new Error('upgraded')),
    onFailed: (error, wasSent) => reject(Object.assign(error, { wasSent })),
  }
}

/** Turns of the event loop, in which everything in memory arrives. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 30; turn++) await new Promise((resolve) => setImmediate(resolve))
}
