// HTTP/1.1 toward a server (RFC 9112) on one channel: one request at a time. Whether the connection can be used again is decided
// once, when both messages are over; a byte that nobody asked for ends it, because it would answer the next request.
import type { Timer } from '../kit/clock.ts'
import type { MeshError } from '../kit/error.ts'
import type { RequestHead, ResponseHead } from '../model/http.ts'
import type { Channel, ChannelSink } from './channel.ts'
import { httpFailure } from './errors.ts'
import type { BodyWriter, ClientExchange, ResponseHandlers } from './exchange.ts'
import type { HeadBufferFault } from './head-buffer.ts'
import { type ParsedHead, parseResponse } from './head-parser.ts'
import { writeRequest } from './head-writer.ts'
import { Call, type CallOwner } from './http1-call.ts'
import { IdleTimer } from './idle-timer.ts'
import { Inbound, type InboundOwner } from './inbound.ts'
import { IncomingBody } from './incoming-body.ts'
import type { HttpClientOptions, HttpConnection } from './options.ts'
import { OutgoingBody, type WriterOwner } from './outgoing-body.ts'

/** Interim responses to one request. */
const MAX_INTERIM_RESPONSES = 16

/** Makes requests on a channel until either side ends it. Nothing that the server sends makes it throw. */
export function connectHttp1(channel: Channel, options: HttpClientOptions): HttpConnection {
  return new Http1Client(channel, options)
}

class Http1Client implements HttpConnection, ChannelSink, InboundOwner, CallOwner, WriterOwner {
  requests = 0
  readonly #channel: Channel
  readonly #options: HttpClientOptions
  readonly #inbound: Inbound
  readonly #idleTimer: IdleTimer
  #call: Call | undefined
  #isDraining = false
  /** Our half has ended, the rest of the server's is dropped. */
  #isFinished = false
  #isClosed = false
  /** What ended the connection, if that was not its order. */
  #error: MeshError | undefined
  #endTimer: Timer | undefined

  constructor(channel: Channel, options: HttpClientOptions) {
    this.#channel = channel
    this.#options = options
    this.#inbound = new Inbound(channel, this, options.limits.headBytes)
    this.#idleTimer = new IdleTimer(options.clock, options.limits.idleTimeoutMs, () => this.#finish(httpFailure('IDLE_TIMEOUT')))
    channel.attach(this)
  }

  get canRequest(): boolean {
    return this.#call === undefined && !this.#isDraining && !this.#isFinished && !this.#isClosed && !this.#inbound.isEnded
  }

  get active(): number {
    return this.#call === undefined ? 0 : 1
  }

  request(head: RequestHead, length: number | undefined, handlers: ResponseHandlers): ClientExchange {
    if (!this.canRequest) return failed(handlers, httpFailure('STREAM_REFUSED'))
    const written = writeRequest(head, length)
    if ('code' in written) return failed(handlers, httpFailure(written.code, { reason: written.reason }))
    const body = new OutgoingBody(this.#channel, this, written.text, written.framing, length)
    const call = new Call(head, handlers, body, this)
    this.#call = call
    this.requests++
    this.#idleTimer.busy()
    this.#inbound.expectHead(false)
    body.open()
    return call
  }

  drain(): void {
    this.#isDraining = true
    if (this.#call === undefined) this.#finish(undefined)
  }

  close(error?: MeshError): void {
    this.#break(error ?? httpFailure('CONNECTION_CLOSED', { reason: 'closed by this side' }))
  }

  /** Gives a request up. */
  cancel(call: Call, error: MeshError): void {
    if (call !== this.#call) return
    const wasSent = call.body.isSent
    call.abandon()
    this.#call = undefined
    if (wasSent) this.#break(error)
    else this.#becomeIdle()
  }

  // ── the channel ──
  onData(chunk: Buffer): void {
    this.#inbound.push(chunk)
  }

  onEnd(): void {
    this.#inbound.end(false)
  }

  onWritable(): void {
    const call = this.#call
    if (call?.raw === undefined) call?.body.drained()
    else call.raw.drained()
  }

  onClosed(error: MeshError | undefined): void {
    if (this.#isClosed) return
    this.#error ??= error
    this.#isClosed = true
    this.#call?.body.abandon()
    this.#call?.raw?.abandon()
    this.#inbound.end(error !== undefined) // what has come already is still delivered
    this.#release()
    this.#options.onClosed?.(this.#error)
  }

  // ── what came in ──
  onHead(text: string): void {
    const call = this.#call
    if (call === undefined) return
    const parsed = parseResponse(text, this.#options.limits.headers, call.head.method)
    if ('code' in parsed) this.#break(httpFailure(parsed.code, { reason: parsed.reason }))
    else if (parsed.head.status === 101) this.#switch(call, parsed)
    else if (parsed.head.status < 200) this.#inform(call, parsed.head)
    else this.#respond(call, parsed)
  }

  onHeadBegun(): void {
    // how long a response may take is decided by who waits for it
  }

  onHeadFault(fault: HeadBufferFault): void {
    const reason = fault === 'too-large' ? 'a head that is too long' : 'a bad line end'
    this.#break(httpFailure('UPSTREAM_BAD_MESSAGE', { reason }))
  }

  onBodyEnd(): void {
    const call = this.#call
    if (call !== undefined && call.raw === undefined) this.#received(call)
  }

  onBodyFault(reason: string): void {
    this.#break(httpFailure('UPSTREAM_BAD_MESSAGE', { reason }))
  }

  onHeld(): void {
    const call = this.#call
    const isAsked = call !== undefined && !call.isReceived
    if (!isAsked && !this.#isFinished) this.#break(httpFailure('UPSTREAM_BAD_MESSAGE', { reason: 'bytes that answer no request' }))
  }

  onInputEnd(): void {
    const call = this.#call
    if (this.#isFinished || (call?.raw !== undefined && this.#inbound.isHolding)) return
    if (call === undefined || call.isReceived) this.#finish(undefined)
    else this.#break(httpFailure('CONNECTION_CLOSED', { reused: this.requests > 1 }, this.#error))
  }

  // ── the request's writer ──
  onWritten(): void {
    const call = this.#call
    if (call?.raw !== undefined) this.#channel.end()
    else if (call?.isReceived === true) this.#complete()
  }

  onBroken(error: MeshError): void {
    this.#break(error)
  }

  #inform(call: Call, head: ResponseHead): void {
    if (++call.interims > MAX_INTERIM_RESPONSES) {
      this.#break(httpFailure('UPSTREAM_BAD_MESSAGE', { reason: 'too many interim responses' }))
      return
    }
    this.#inbound.expectHead(false)
    call.handlers.onInform(head)
  }

  #switch(call: Call, parsed: ParsedHead<ResponseHead>): void {
    if (call.head.upgrade === undefined || parsed.switchedTo !== call.head.upgrade) {
      this.#break(httpFailure('UPSTREAM_BAD_MESSAGE', { reason: 'a switch that was not asked for' }))
      return
    }
    const reader = new IncomingBody('until-close', undefined, this.#options.limits, this.#inbound.wake)
    call.incoming = reader
    call.isLast = true
    call.raw = new OutgoingBody(this.#channel, this, '', 'raw', undefined)
    this.#inbound.expectBody(reader)
    call.handlers.onUpgrade(parsed.head, { reader, writer: call.raw })
  }

  #respond(call: Call, parsed: ParsedHead<ResponseHead>): void {
    const { framing, length, head, isLast } = parsed
    const body = new IncomingBody(framing, length, this.#options.limits, this.#inbound.wake)
    call.incoming = body
    // A server that did not switch may have stopped reading requests all the same (node:http does).
    call.isLast = isLast || call.head.upgrade !== undefined
    this.#inbound.expectBody(body)
    if (framing === 'none') this.#received(call) // first: whoever gets the response finds the connection free
    call.handlers.onResponse(head, body)
  }

  #received(call: Call): void {
    call.isReceived = true
    if (call.body.isOver || call.isLast) this.#complete()
  }

  /** Both messages are over, or nothing more can come of them. */
  #complete(): void {
    const call = this.#call
    this.#call = undefined
    call?.body.abandon()
    if (call === undefined || call.isLast || this.#isDraining || this.#inbound.isEnded) this.#finish(undefined)
    else if (this.#inbound.hasBytes) this.#break(httpFailure('UPSTREAM_BAD_MESSAGE', { reason: 'bytes that answer no request' }))
    else this.#becomeIdle()
  }

  #becomeIdle(): void {
    this.#inbound.hold()
    this.#idleTimer.idle()
    if (this.#isDraining) this.#finish(undefined)
    else if (this.canRequest) this.#options.onIdle?.()
  }

  /** Ends our half; the server gets a little time to end its own. */
  #finish(error: MeshError | undefined): void {
    if (this.#isFinished || this.#isClosed) return
    this.#error ??= error
    this.#isFinished = true
    this.#channel.end()
    this.#inbound.drop()
    this.#endTimer = this.#options.clock.after(this.#options.limits.drainMs, () => this.#break(undefined))
  }

  /** Ends both halves at once. */
  #break(error: MeshError | undefined): void {
    const wasClosed = this.#isClosed
    this.#error ??= error
    this.#isClosed = true
    this.#isFinished = true
    this.#inbound.drop()
    this.#release()
    const call = this.#call
    this.#call = undefined
    if (error !== undefined) call?.fail(error)
    if (wasClosed) return
    this.#channel.reset()
    this.#options.onClosed?.(this.#error)
  }

  #release(): void {
    this.#endTimer?.[Symbol.dispose]()
    this.#idleTimer[Symbol.dispose]()
  }
}

/** A request that was not made; its handlers learn that after the caller has the exchange. */
function failed(handlers: ResponseHandlers, error: MeshError): ClientExchange {
  let isCancelled = false
  process.nextTick(() => {
    if (!isCancelled) handlers.onFailed(error, false)
  })
  const body: BodyWriter = { write: () => true, end: () => undefined, abort: () => undefined, onDrain: undefined }
  return {
    body,
    cancel: () => {
      isCancelled = true
    },
  }
}
