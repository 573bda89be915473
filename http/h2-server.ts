// The server's side of an HTTP/2 connection over a channel: cleartext with prior knowledge (RFC 9113 §3.3), on node:http2. What a
// client sends is checked in h2-head.ts before the handler sees it; what a connection may cost is bounded in h2-abuse.ts.
import { constants, performServerHandshake, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'
import type { Duplex } from 'node:stream'
import type { Timer } from '../kit/clock.ts'
import { codeOf, MeshError } from '../kit/error.ts'
import type { Channel } from './channel.ts'
import { channelDuplex } from './channel-duplex.ts'
import { httpFailure } from './errors.ts'
import { H2Abuse } from './h2-abuse.ts'
import { ENHANCE_YOUR_CALM, NO_ERROR } from './h2-codes.ts'
import { H2Exchange } from './h2-exchange.ts'
import { fieldBytes } from './h2-fields.ts'
import { FrameWatch } from './h2-frames.ts'
import { readRequest } from './h2-head.ts'
import { CONNECTION_WINDOW_BYTES, GOAWAY_GRACE_MS } from './h2-limits.ts'
import { sessionOptions } from './h2-session.ts'
import type { HttpServerConnection, HttpServerOptions } from './options.ts'

/** Node adds a Date of its own otherwise. */
const AS_IS = { sendDate: false }

/** Last stream of the GOAWAY that only announces (RFC 9113 §6.8). */
const HIGHEST_STREAM = 2 ** 31 - 1

/**
 * Serves HTTP/2 on a channel until it ends.
 * @param options `onClosed` is told CLIENT_GONE, BAD_MESSAGE, CLIENT_ABUSE, HEAD_TIMEOUT or what ended the channel; nothing after an
 *   end in order
 */
export function serveHttp2(channel: Channel, options: HttpServerOptions): HttpServerConnection {
  return new H2ServerConnection(channel, options)
}

class H2ServerConnection implements HttpServerConnection {
  readonly #options: HttpServerOptions
  readonly #duplex: Duplex
  readonly #session: ServerHttp2Session
  readonly #abuse: H2Abuse
  readonly #watch: FrameWatch
  /** Streams that are not closed. */
  #streams = 0
  /** Set until the first SETTINGS have come, then whenever there is no stream; told off when it fires. */
  #timer: Timer | undefined
  /** The final GOAWAY of a drain, or the end of a farewell. */
  #ending: Timer | undefined
  #isDraining = false
  #isClosed = false
  /** Why we end the connection; undefined = in order, or the peer did. */
  #reason: MeshError | undefined

  constructor(channel: Channel, options: HttpServerOptions) {
    this.#options = options
    this.#abuse = new H2Abuse(options.clock)
    this.#watch = new FrameWatch('client', this.#abuse, () => this.#abort(httpFailure('CLIENT_ABUSE', { of: 'unproductive frames' })))
    this.#duplex = channelDuplex(channel, this.#watch)
    this.#session = performServerHandshake(this.#duplex, sessionOptions('server', options.limits))
    this.#session.setLocalWindowSize(CONNECTION_WINDOW_BYTES)
    this.#timer = options.clock.after(options.limits.headTimeoutMs, () => this.#abort(httpFailure('HEAD_TIMEOUT')))
    this.#session.on('stream', (stream, _headers, flags, raw) => this.#onStream(stream, flags, raw))
    this.#session.on('remoteSettings', () => this.#onSettings())
    this.#session.on('goaway', () => {
      if (this.#streams === 0) this.#sayFarewell()
    })
    this.#session.on('error', (cause) => this.#onError(cause))
    this.#session.on('close', () => this.#onClose())
  }

  get isIdle(): boolean {
    return this.#streams === 0
  }

  drain(): void {
    if (this.#isDraining || this.#session.destroyed) return
    this.#isDraining = true
    this.#stopTimer()
    this.#session.goaway(NO_ERROR, HIGHEST_STREAM)
    this.#ending = this.#options.clock.after(GOAWAY_GRACE_MS, () => this.#finish())
  }

  close(): void {
    this.#abort(undefined)
  }

  #onSettings(): void {
    if (this.#streams === 0) this.#onIdle()
  }

  #onStream(stream: ServerHttp2Stream, flags: number, raw: string[]): void {
    const openedAt = this.#abuse.streamOpened()
    let cause: unknown
    this.#streams++
    this.#stopTimer()
    stream.on('error', (error) => {
      cause = error // 'close' follows
    })
    const exchange = this.#accept(stream, flags, raw)
    stream.once('close', () => {
      this.#streams--
      exchange?.closed(cause)
      this.#watch.forget(stream.id)
      if (stream.rstCode !== NO_ERROR && this.#abuse.streamReset(openedAt)) this.#abort(httpFailure('CLIENT_ABUSE', { of: 'resets' }))
      if (this.#streams === 0) this.#onIdle()
    })
    if (exchange === undefined) return
    stream.once('finish', () => this.#stopUpload(stream, exchange))
    this.#options.handler(exchange)
  }

  #accept(stream: ServerHttp2Stream, flags: number, raw: string[]): H2Exchange | undefined {
    if (stream.destroyed || stream.closed) return undefined
    const { limits, scheme } = this.#options
    if (raw.length > 2 * limits.headers || fieldBytes(raw) > limits.headBytes) {
      refuse(stream, 431)
      return undefined
    }
    if (raw[raw.indexOf(':method') + 1] === 'CONNECT' && !raw.includes(':protocol')) {
      refuse(stream, 405)
      return undefined
    }
    const isEnd = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0
    const received = readRequest(raw, isEnd, scheme)
    if (!received.ok) {
      refuse(stream, 400)
      return undefined
    }
    return new H2Exchange(stream, received.value, { stream, watch: this.#watch, limits, isEnd, isRequest: true })
  }

  /** A client that goes on sending after its response is asked to stop (RFC 9113 §8.1). */
  #stopUpload(stream: ServerHttp2Stream, exchange: H2Exchange): void {
    if (!exchange.isAnsweredEarly) return
    const { clock, limits } = this.#options
    const timer = clock.after(limits.drainMs, () => stream.close(NO_ERROR))
    timer.unref()
    stream.once('close', () => timer[Symbol.dispose]())
  }

  #onError(cause: unknown): void {
    const isFlood = codeOf(cause) === 'ERR_HTTP2_TOO_MANY_INVALID_FRAMES'
    this.#reason ??= cause instanceof MeshError ? cause : httpFailure(isFlood ? 'CLIENT_ABUSE' : 'BAD_MESSAGE', {}, cause)
    if (this.#isClosed) return
    this.#watch.stop() // Node has ended the session, and would read and drop a flood for as long as it comes
    this.#sayFarewell()
  }

  #onIdle(): void {
    if (this.#session.closed) this.#sayFarewell()
    else if (!this.#isDraining) this.#startIdle()
  }

  #startIdle(): void {
    this.#stopTimer()
    this.#timer = this.#options.clock.after(this.#options.limits.idleTimeoutMs, () => this.drain())
    this.#timer.unref()
  }

  #stopTimer(): void {
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
  }

  /** The GOAWAY that counts; Node closes the session when its last stream has ended. */
  #finish(): void {
    this.#session.close()
    if (this.#streams === 0) this.#sayFarewell()
  }

  #abort(reason: MeshError | undefined): void {
    if (this.#isClosed) return
    this.#reason ??= reason
    this.#stopTimer()
    this.#watch.stop()
    this.#session.destroy(reason, reason?.code === 'CLIENT_ABUSE' ? ENHANCE_YOUR_CALM : NO_ERROR)
    this.#sayFarewell()
  }

  /** A peer that takes nothing more must not keep us from closing. */
  #sayFarewell(): void {
    this.#ending?.[Symbol.dispose]()
    this.#ending = this.#options.clock.after(this.#options.limits.drainMs, () => this.#duplex.destroy())
  }

  #onClose(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#stopTimer()
    this.#ending?.[Symbol.dispose]()
    this.#duplex.destroy()
    this.#options.onClosed?.(this.#reason)
  }
}

/** Answers without the handler; Node resets the stream by NO_ERROR when the client goes on sending. */
function refuse(stream: ServerHttp2Stream, status: number): void {
  stream.respond([':status', String(status)], { ...AS_IS, endStream: true })
}
