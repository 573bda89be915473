// One request on a client's HTTP/2 connection: http/exchange.ts over a stream of node:http2.
import type { ClientHttp2Stream } from 'node:http2'
import { constants } from 'node:http2'
import { codeOf, MeshError } from '../kit/error.ts'
import type { RequestHead } from '../model/http.ts'
import { httpFailure } from './errors.ts'
import type { ClientExchange, ResponseHandlers } from './exchange.ts'
import { StreamReader, StreamWriter, type WriterHooks } from './h2-body.ts'
import { PROTOCOL_ERROR, REFUSED_STREAM, resetName } from './h2-codes.ts'
import type { FrameWatch } from './h2-frames.ts'
import { readResponse } from './h2-head.ts'
import { MAX_INTERIM_RESPONSES } from './h2-limits.ts'
import { asSwitching } from './h2-websocket.ts'
import type { HttpLimits } from './options.ts'

/** What a request asks its connection. */
export interface RequestOwner {
  /** Why the connection ended, or is ending; undefined = it lives. */
  readonly failure: MeshError | undefined
  readonly limits: HttpLimits
  readonly watch: FrameWatch
  /** Whether the peer has said by GOAWAY that it did not process the stream. */
  isUnprocessed(stream: ClientHttp2Stream): boolean
}

/** A request that went out over HTTP/2. */
export class H2Request implements ClientExchange, WriterHooks {
  readonly body: StreamWriter
  readonly #stream: ClientHttp2Stream
  readonly #head: RequestHead
  readonly #handlers: ResponseHandlers
  readonly #owner: RequestOwner
  /** Set with the final response's head. */
  #reader: StreamReader | undefined
  #interims = 0
  /** No handler is called any more, but those of the reader. */
  #isOver = false
  /** Why we broke the stream off ourselves. */
  #reason: MeshError | undefined

  constructor(stream: ClientHttp2Stream, head: RequestHead, length: number | undefined, handlers: ResponseHandlers, owner: RequestOwner) {
    this.#stream = stream
    this.#head = head
    this.#handlers = handlers
    this.#owner = owner
    this.body = new StreamWriter(stream, length, this)
    stream.on('headers', (_headers, _flags, raw) => this.#onInterim(raw))
    stream.on('response', (_headers, flags, raw) => this.#onResponse(flags, raw))
  }

  cancel(error: MeshError): void {
    this.#isOver = true
    this.#reader?.abandon()
    this.#stream.close(constants.NGHTTP2_CANCEL)
    this.#reason ??= error
  }

  onBroken(reason: string): void {
    this.#reason ??= httpFailure('BODY_MISMATCH', { reason })
  }

  onAborted(error: MeshError): void {
    this.#reason ??= error
  }

  /** The stream is gone, for whatever reason. */
  closed(cause: unknown): void {
    const code = this.#stream.rstCode
    const error = this.#reason ?? this.#owner.failure ?? this.#failureOf(code, cause)
    if (this.#reader !== undefined) this.#reader.fail(error)
    else if (!this.#isOver) {
      this.#isOver = true
      this.#handlers.onFailed(error, this.#wasSent(code))
    }
  }

  #onInterim(raw: string[]): void {
    if (this.#isOver || this.#reader !== undefined) return
    const received = readResponse(raw, false, true)
    if (!received.ok || ++this.#interims > MAX_INTERIM_RESPONSES) {
      this.#refuse(received.ok ? 'too many interim responses' : received.errors[0])
    } else if (this.#head.upgrade === undefined || received.value.head.status !== 101) this.#handlers.onInform(received.value.head)
  }

  #onResponse(flags: number, raw: string[]): void {
    if (this.#isOver || this.#reader !== undefined) return
    const isEnd = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0
    const received = readResponse(raw, isEnd, this.#head.method === 'HEAD')
    if (!received.ok) {
      this.#refuse(received.errors[0])
      return
    }
    const { head, length } = received.value
    this.#isOver = true
    const { watch, limits } = this.#owner
    this.#reader = new StreamReader(length, { stream: this.#stream, watch, limits, isEnd, isRequest: false })
    const isSwitch = this.#head.upgrade !== undefined && head.status >= 200 && head.status < 300
    if (isSwitch) this.#handlers.onUpgrade(asSwitching(head, this.#head), { reader: this.#reader, writer: this.body })
    else this.#handlers.onResponse(head, this.#reader)
  }

  #refuse(reason: string | undefined): void {
    this.#reason ??= httpFailure('UPSTREAM_BAD_MESSAGE', { reason })
    this.#stream.close(PROTOCOL_ERROR)
  }

  #failureOf(code: number, cause: unknown): MeshError {
    if (this.#owner.isUnprocessed(this.#stream)) return httpFailure('CONNECTION_DRAINED', {}, cause)
    if (code === REFUSED_STREAM) return httpFailure('STREAM_REFUSED', {}, cause)
    const { reset } = this.#owner.watch.endOf(this.#stream.id)
    return reset !== undefined ? httpFailure('UPSTREAM_RESET', { reset: resetName(reset) }) : upstreamFailure(cause)
  }

  #wasSent(code: number): boolean {
    return this.#stream.id !== undefined && code !== REFUSED_STREAM && !this.#owner.isUnprocessed(this.#stream)
  }
}

/** @returns what an error of Node's session or stream means, when the server did not reset the stream itself */
export function upstreamFailure(cause: unknown): MeshError {
  if (cause instanceof MeshError) return cause
  // Without an error the connection ended, with ERR_HTTP2_SESSION_ERROR the server ended it by a GOAWAY; the rest is nghttp2's
  // verdict about what the server sent.
  const isEnd = cause === undefined || codeOf(cause) === 'ERR_HTTP2_SESSION_ERROR'
  return isEnd ? httpFailure('CONNECTION_CLOSED', {}, cause) : httpFailure('UPSTREAM_BAD_MESSAGE', {}, cause)
}
