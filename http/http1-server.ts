// Serves HTTP/1.1 (RFC 9112) on a channel: requests of one client one after the other, pipelined ones in order. A request that is
// refused is answered and ends the connection, because what follows it has no certain beginning.
import type { Timer } from '../kit/clock.ts'
import type { MeshError } from '../kit/error.ts'
import { headerOf, type ResponseHead } from '../model/http.ts'
import type { Channel, ChannelSink } from './channel.ts'
import { errorResponse } from './error-response.ts'
import { httpFailure } from './errors.ts'
import type { HeadBufferFault } from './head-buffer.ts'
import { parseRequest } from './head-parser.ts'
import { type ResponseContext, writeResponse } from './head-writer.ts'
import { type ExchangeOwner, Http1Exchange } from './http1-exchange.ts'
import { IdleTimer } from './idle-timer.ts'
import { Inbound, type InboundOwner } from './inbound.ts'
import { IncomingBody } from './incoming-body.ts'
import type { HttpServerConnection, HttpServerOptions } from './options.ts'
import { OutgoingBody, type WriterOwner } from './outgoing-body.ts'

/** Serves requests until the channel ends. Nothing that the client sends makes it throw. */
export function serveHttp1(channel: Channel, options: HttpServerOptions): HttpServerConnection {
  return new Http1Server(channel, options)
}

class Http1Server implements HttpServerConnection, ChannelSink, InboundOwner, ExchangeOwner, WriterOwner {
  readonly #channel: Channel
  readonly #options: HttpServerOptions
  readonly #inbound: Inbound
  readonly #idleTimer: IdleTimer
  /** The request under way. */
  #exchange: Http1Exchange | undefined
  /** No request is taken after the one under way. */
  #isLast = false
  /** Our half has ended, the rest of the client's is dropped. */
  #isFinished = false
  #isClosed = false
  /** What ended the connection, if that was not its order. */
  #error: MeshError | undefined
  /** A head is unfinished. */
  #headTimer: Timer | undefined
  /** An end is near: the rest of a request, the end of the client's half, or the response to a client that may be gone. */
  #endTimer: Timer | undefined

  constructor(channel: Channel, options: HttpServerOptions) {
    this.#channel = channel
    this.#options = options
    this.#inbound = new Inbound(channel, this, options.limits.headBytes)
    this.#idleTimer = new IdleTimer(options.clock, options.limits.idleTimeoutMs, () => this.#idled())
    this.#inbound.expectHead(true)
    channel.attach(this)
  }

  get isIdle(): boolean {
    return this.#exchange === undefined
  }

  drain(): void {
    this.#isLast = true
    if (this.#exchange !== undefined || this.#inbound.hasBytes) return
    // A request may be on its way: it gets its answer, and is told that it was the last.
    this.#endTimer?.[Symbol.dispose]()
    this.#endTimer = this.#options.clock.after(this.#options.limits.drainMs, () => this.#finish())
  }

  close(): void {
    this.#break(httpFailure('CANCELLED'))
  }

  // ── the channel ──
  onData(chunk: Buffer): void {
    this.#inbound.push(chunk)
    const body = this.#exchange?.body
    if (body !== undefined && body.dropped > this.#options.limits.drainBytes) this.#finish()
  }

  onEnd(): void {
    this.#inbound.end(false)
    const exchange = this.#exchange
    if (exchange === undefined || exchange.raw !== undefined || exchange.parsed.isLast) return
    // A client that has gone looks like one that only ended its half; the latter gets its response if that is near.
    this.#endSoon(httpFailure('CLIENT_GONE', { reason: 'ended its half' }))
  }

  onWritable(): void {
    this.#exchange?.writer?.drained()
  }

  onClosed(error: MeshError | undefined): void {
    if (this.#isClosed) return
    this.#error ??= error
    this.#gone(httpFailure('CLIENT_GONE', {}, error))
  }

  // ── what came in ──
  onHead(text: string): void {
    this.#stopTimer()
    const { limits, handler } = this.#options
    const parsed = parseRequest(text, limits.headers)
    if ('code' in parsed) {
      this.#refuse(httpFailure(parsed.code, { reason: parsed.reason }))
      return
    }
    const body = new IncomingBody(parsed.framing, parsed.length, limits, this.#inbound.wake)
    const exchange = new Http1Exchange(parsed, body, this)
    if (parsed.isLast) this.#isLast = true
    this.#exchange = exchange
    this.#idleTimer.busy()
    this.#inbound.expectBody(body)
    handler(exchange)
  }

  onHeadBegun(): void {
    if (this.#headTimer !== undefined) return
    this.#headTimer = this.#options.clock.after(this.#options.limits.headTimeoutMs, () => this.#refuse(httpFailure('HEAD_TIMEOUT')))
  }

  onHeadFault(fault: HeadBufferFault): void {
    this.#refuse(fault === 'too-large' ? httpFailure('HEAD_TOO_LARGE') : httpFailure('BAD_MESSAGE', { reason: 'a bad line end' }))
  }

  onBodyEnd(): void {
    if (this.#exchange?.raw === undefined && this.#exchange?.writer?.isOver === true) this.#next()
  }

  onBodyFault(reason: string): void {
    this.#refuse(httpFailure('BAD_MESSAGE', { reason }))
  }

  onHeld(): void {
    // held until the request under way has ended
  }

  onInputEnd(): void {
    const exchange = this.#exchange
    if (this.#isFinished || exchange?.raw !== undefined) return
    if (exchange === undefined) {
      if (this.#inbound.hasBytes) this.#refuse(httpFailure('BAD_MESSAGE', { reason: 'the head is cut off' }))
      else this.#finish()
    } else if (!this.#inbound.isHolding) this.#break(httpFailure('CLIENT_GONE', { reason: 'the body is cut off' }))
    else this.#isLast = true
  }

  // ── the exchange ──
  inform(head: ResponseHead): void {
    if (this.#isClosed || this.#isFinished || head.status < 100 || head.status > 199 || head.status === 101) return
    const written = writeResponse(head, 0, INTERIM)
    if ('code' in written) this.#break(httpFailure(written.code, { reason: written.reason }))
    else this.#channel.write(Buffer.from(written.text, 'latin1'))
  }

  respond(exchange: Http1Exchange, head: ResponseHead, length: number | undefined): OutgoingBody | undefined {
    const { parsed, body, isContinued, request } = exchange
    if (request.upgrade !== undefined) this.#isLast = true // what follows may be meant for the protocol that was refused
    const isUnread = !this.#inbound.isHolding && !body.isStarted
    if (isUnread && ((!isContinued && headerOf(request.headers, 'expect') !== undefined) || this.#isLong(body.length))) this.#isLast = true
    const context = { method: request.method, isOld: parsed.isOld, isLast: this.#isLast, upgrade: undefined }
    return this.#writer(head, length, context)
  }

  switch(exchange: Http1Exchange, head: ResponseHead): { reader: IncomingBody; writer: OutgoingBody } | undefined {
    const { request } = exchange
    const context = { method: request.method, isOld: false, isLast: true, upgrade: request.upgrade }
    const writer = this.#writer({ status: 101, headers: head.headers }, undefined, context)
    if (writer === undefined) return undefined
    this.#isLast = true
    const reader = new IncomingBody('until-close', undefined, this.#options.limits, this.#inbound.wake)
    this.#inbound.expectBody(reader)
    return { reader, writer }
  }

  reset(exchange: Http1Exchange, error: MeshError): void {
    if (exchange !== this.#exchange) return
    exchange.onClosed = undefined // it knows
    this.#break(error)
  }

  onWritten(): void {
    const exchange = this.#exchange
    if (exchange === undefined) return
    if (exchange.raw !== undefined) {
      this.#channel.end()
      return
    }
    this.#stopTimer()
    if (this.#inbound.isHolding) this.#next()
    else this.#dropRest(exchange)
  }

  onBroken(error: MeshError): void {
    if (this.#exchange !== undefined) this.#exchange.onClosed = undefined
    this.#break(error)
  }

  #writer(head: ResponseHead, length: number | undefined, context: ResponseContext): OutgoingBody | undefined {
    const written = head.status < 200 && head.status !== 101 ? NO_RESPONSE : writeResponse(head, length, context)
    if (!('code' in written)) return new OutgoingBody(this.#channel, this, written.text, written.framing, length)
    this.#refuse(httpFailure(written.code, { reason: written.reason }))
    return undefined
  }

  #isLong(length: number | undefined): boolean {
    return length !== undefined && length > this.#options.limits.drainBytes
  }

  /** The response is out, the request is not in. */
  #dropRest(exchange: Http1Exchange): void {
    if (this.#isLast) {
      this.#finish()
      return
    }
    this.#endSoon(httpFailure('CLIENT_GONE', { reason: 'the request did not end after its response' }))
    if (!exchange.body.isStarted) exchange.body.discard()
  }

  #next(): void {
    this.#stopTimer()
    this.#exchange = undefined
    if (this.#isLast) {
      this.#finish()
      return
    }
    this.#idleTimer.idle()
    this.#inbound.expectHead(true)
    this.#inbound.wake()
  }

  /** Answers what no handler will, or no longer can, and ends the connection. */
  #refuse(error: MeshError): void {
    if (this.#isFinished || this.#isClosed) return
    const exchange = this.#exchange
    if (exchange?.writer !== undefined) {
      this.#break(error) // a response is under way: only a cut tells the client
      return
    }
    this.#error ??= error
    this.#channel.write(errorResponse(error))
    this.#exchange = undefined
    this.#finish()
    exchange?.gone(error)
  }

  /** Ends our half and waits a little for the client to end its own, so that a reset does not overtake the response. */
  #finish(): void {
    if (this.#isFinished || this.#isClosed) return
    const exchange = this.#exchange
    this.#exchange = undefined
    this.#isFinished = true
    this.#stopTimer()
    this.#endSoon(undefined)
    this.#channel.end()
    this.#inbound.drop()
    if (exchange?.body.isDone === false)
      exchange.body.fail(httpFailure('CLIENT_GONE', { reason: 'the request did not end after its response' }))
  }

  #endSoon(error: MeshError | undefined): void {
    this.#endTimer?.[Symbol.dispose]()
    this.#endTimer = this.#options.clock.after(this.#options.limits.drainMs, () => this.#break(error))
  }

  #stopTimer(): void {
    this.#headTimer?.[Symbol.dispose]()
    this.#headTimer = undefined
    this.#endTimer?.[Symbol.dispose]()
    this.#endTimer = undefined
  }

  #idled(): void {
    this.#error ??= httpFailure('IDLE_TIMEOUT')
    this.#finish()
  }

  /** Ends both halves at once. */
  #break(error: MeshError | undefined): void {
    if (this.#isClosed) return
    this.#error ??= error
    this.#gone(error ?? httpFailure('CLIENT_GONE'))
    this.#channel.reset()
  }

  #gone(error: MeshError): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#isFinished = true
    this.#stopTimer()
    this.#idleTimer[Symbol.dispose]()
    this.#inbound.drop()
    const exchange = this.#exchange
    this.#exchange = undefined
    exchange?.gone(error)
    this.#options.onClosed?.(this.#error)
  }
}

const INTERIM: ResponseContext = { method: 'GET', isOld: false, isLast: false, upgrade: undefined }
const NO_RESPONSE = { code: 'BAD_HEAD', reason: 'an interim status as the response' } as const
