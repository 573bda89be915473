// The client's side of an HTTP/2 connection over a channel: cleartext with prior knowledge, on node:http2, many requests at once.
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2'
import type { Duplex } from 'node:stream'
import type { Timer } from '../kit/clock.ts'
import type { MeshError } from '../kit/error.ts'
import type { RequestHead } from '../model/http.ts'
import type { Channel } from './channel.ts'
import { channelDuplex } from './channel-duplex.ts'
import { httpFailure } from './errors.ts'
import type { BodyWriter, ClientExchange, ResponseHandlers } from './exchange.ts'
import { H2Abuse } from './h2-abuse.ts'
import { FrameWatch } from './h2-frames.ts'
import { requestFields } from './h2-head.ts'
import { CONNECTION_WINDOW_BYTES, EARLY_STREAMS, MAX_CLIENT_REQUESTS, MAX_CLIENT_STREAMS } from './h2-limits.ts'
import { H2Request, type RequestOwner, upstreamFailure } from './h2-request.ts'
import { sessionOptions } from './h2-session.ts'
import { withoutKey } from './h2-websocket.ts'
import type { HttpClientOptions, HttpConnection, HttpLimits } from './options.ts'

/**
 * Opens HTTP/2 on a channel; requests may be made at once.
 * Requests fail with STREAM_REFUSED (the peer's limit, or it refused), CONNECTION_DRAINED (GOAWAY), CONNECTION_CLOSED,
 * UPSTREAM_RESET, UPSTREAM_BAD_MESSAGE, BAD_HEAD or what ended the channel.
 */
export function connectHttp2(channel: Channel, options: HttpClientOptions): HttpConnection {
  return new H2ClientConnection(channel, options)
}

class H2ClientConnection implements HttpConnection, RequestOwner {
  readonly watch: FrameWatch
  readonly #options: HttpClientOptions
  readonly #abuse: H2Abuse
  readonly #duplex: Duplex
  readonly #session: ClientHttp2Session
  #active = 0
  #requests = 0
  /** Streams that the peer lets us have. */
  #limit = EARLY_STREAMS
  /** Highest stream that the peer will process, once it has sent GOAWAY. */
  #lastStream = Number.POSITIVE_INFINITY
  /** The peer's first SETTINGS have come. */
  #isSettled = false
  /** Upgrades that wait for them, or for the end. */
  readonly #whenSettled: (() => void)[] = []
  #isDraining = false
  #isClosed = false
  /** Why the connection ends. */
  #failure: MeshError | undefined
  /** End of a farewell. */
  #ending: Timer | undefined

  constructor(channel: Channel, options: HttpClientOptions) {
    this.#options = options
    this.#abuse = new H2Abuse(options.clock)
    const tooMuch = (): void => this.close(httpFailure('UPSTREAM_BAD_MESSAGE', { reason: 'too many unproductive frames' }))
    this.watch = new FrameWatch('server', this.#abuse, tooMuch)
    this.#duplex = channelDuplex(channel, this.watch)
    const createConnection = (): Duplex => this.#duplex
    this.#session = connect('http://upstream', { ...sessionOptions('client', options.limits), createConnection })
    this.#session.setLocalWindowSize(CONNECTION_WINDOW_BYTES)
    this.#session.on('remoteSettings', () => this.#onSettings())
    this.#session.on('goaway', (_code, lastStream) => this.#onGoaway(lastStream))
    this.#session.on('error', (cause) => this.#onError(cause))
    this.#session.on('close', () => this.#onClose())
  }

  get canRequest(): boolean {
    if (this.#isDraining || this.#session.closed || this.#session.destroyed) return false
    return this.#active < this.#limit && this.#requests < MAX_CLIENT_REQUESTS
  }

  get active(): number {
    return this.#active
  }

  get requests(): number {
    return this.#requests
  }

  get limits(): HttpLimits {
    return this.#options.limits
  }

  get failure(): MeshError | undefined {
    return this.#failure
  }

  isUnprocessed(stream: ClientHttp2Stream): boolean {
    return stream.id !== undefined && stream.id > this.#lastStream
  }

  request(head: RequestHead, length: number | undefined, handlers: ResponseHandlers): ClientExchange {
    if (!this.canRequest) return refused(this.#failure ?? httpFailure('STREAM_REFUSED'), handlers)
    if (head.upgrade === undefined) return this.#open(head, length, handlers)
    if (this.#isSettled) return this.#openUpgrade(head, handlers)
    // Whether the server takes extended CONNECT is in its SETTINGS (RFC 8441 §3).
    let real: ClientExchange | undefined
    let isCancelled = false
    this.#whenSettled.push(() => {
      if (!isCancelled) real = this.#openUpgrade(head, handlers)
    })
    const cancel = (error: MeshError): void => {
      isCancelled = true
      real?.cancel(error)
    }
    return { body: NO_BODY, cancel }
  }

  drain(): void {
    if (this.#isDraining) return
    this.#isDraining = true
    this.#session.close()
    if (this.#active === 0) this.#sayFarewell()
  }

  close(error?: MeshError): void {
    if (this.#isClosed) return
    this.#failure ??= error ?? httpFailure('CONNECTION_CLOSED')
    this.watch.stop()
    this.#session.destroy()
    this.#sayFarewell()
  }

  #openUpgrade(head: RequestHead, handlers: ResponseHandlers): ClientExchange {
    if (!this.canRequest) return refused(this.#failure ?? httpFailure('STREAM_REFUSED'), handlers)
    if (this.#session.remoteSettings.enableConnectProtocol === true) return this.#open(head, undefined, handlers)
    return refused(httpFailure('UPSTREAM_BAD_MESSAGE', { reason: 'the server takes no extended CONNECT' }), handlers)
  }

  #open(head: RequestHead, length: number | undefined, handlers: ResponseHandlers): ClientExchange {
    const list = requestFields(withoutKey(head), length)
    if (!list.ok) return refused(httpFailure('BAD_HEAD', { reason: list.errors[0] }), handlers)
    const stream = this.#session.request(list.value, {
      endStream: length === 0,
      waitForTrailers: length !== 0,
    })
    this.#requests++
    this.#active++
    this.#abuse.messageFrame(0) // the server may answer it with no more than a reset
    const request = new H2Request(stream, head, length, handlers, this)
    let cause: unknown
    stream.on('error', (error) => {
      cause = error // 'close' follows
    })
    stream.once('close', () => {
      this.#active--
      request.closed(cause)
      this.watch.forget(stream.id)
      if (this.#active === 0 && this.#session.closed) this.#sayFarewell()
      if (this.canRequest) this.#options.onIdle?.()
    })
    return request
  }

  #onSettings(): void {
    const before = this.canRequest
    this.#isSettled = true
    this.#limit = Math.min(MAX_CLIENT_STREAMS, this.#session.remoteSettings.maxConcurrentStreams ?? MAX_CLIENT_STREAMS)
    this.#runSettled()
    if (!before && this.canRequest) this.#options.onIdle?.()
  }

  #runSettled(): void {
    for (const run of this.#whenSettled.splice(0)) run()
  }

  #onGoaway(lastStream: number): void {
    this.#isDraining = true
    this.#lastStream = lastStream
    if (this.#active === 0) this.#sayFarewell()
  }

  #onError(cause: unknown): void {
    this.#failure ??= upstreamFailure(cause)
    if (this.#isClosed) return
    this.watch.stop() // Node has ended the session, and would read and drop a flood for as long as it comes
    this.#sayFarewell()
  }

  /** A peer that takes nothing more must not keep us from closing. */
  #sayFarewell(): void {
    this.#ending ??= this.#options.clock.after(this.#options.limits.drainMs, () => this.#duplex.destroy())
  }

  #onClose(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#ending?.[Symbol.dispose]()
    this.#duplex.destroy()
    this.#runSettled()
    this.#options.onClosed?.(this.#failure)
  }
}

/** A request that is not made; told after the caller has the exchange. */
function refused(error: MeshError, handlers: ResponseHandlers): ClientExchange {
  let isOver = false
  queueMicrotask(() => {
    if (!isOver) handlers.onFailed(error, false)
  })
  const cancel = (): void => {
    isOver = true
  }
  const cancelled = { ...NO_BODY, abort: cancel }
  return { body: cancelled, cancel }
}

/** The body of a request that has none to send. */
const NO_BODY: BodyWriter = { write: () => true, end: () => undefined, abort: () => undefined, onDrain: undefined }
