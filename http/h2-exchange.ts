// One request on a server's HTTP/2 connection: http/exchange.ts over a stream of node:http2.
import type { ServerHttp2Stream } from 'node:http2'
import type { MeshError } from '../kit/error.ts'
import type { RequestHead, ResponseHead } from '../model/http.ts'
import { httpFailure } from './errors.ts'
import type { BodyReader, BodyWriter, RawPair, ServerExchange } from './exchange.ts'
import { INTERNAL_ERROR, NO_ERROR, PROTOCOL_ERROR, resetCode, resetName } from './h2-codes.ts'
import { type BodySource, StreamReader, StreamWriter, type WriterHooks } from './h2-body.ts'
import { faultOf, fieldObject, withoutFraming } from './h2-fields.ts'
import { type Received, responseFields } from './h2-head.ts'
import { MAX_INTERIM_RESPONSES } from './h2-limits.ts'
import { asExtended, withKey } from './h2-websocket.ts'

/** Statuses whose message has no body, whatever follows. */
const BODILESS: ReadonlySet<number> = new Set([204, 205, 304])

/** Node adds a Date of its own otherwise. */
const AS_IS = { sendDate: false }

/** The body of a request for a switch: what follows belongs to the protocol behind it. */
const NO_BODY: BodyReader = { length: 0, start: (handlers) => handlers.onEnd([]), pause: () => undefined, resume: () => undefined }

/** A request that came in over HTTP/2. */
export class H2Exchange implements ServerExchange, WriterHooks {
  readonly request: RequestHead
  readonly body: BodyReader
  onClosed: ((error: MeshError) => void) | undefined
  readonly #stream: ServerHttp2Stream
  readonly #source: BodySource
  readonly #isHead: boolean
  readonly #reader: StreamReader
  #writer: StreamWriter | undefined
  #interims = 0
  /** We have ended the stream ourselves, or its user was told. */
  #isOver = false

  constructor(stream: ServerHttp2Stream, received: Received<RequestHead>, source: BodySource) {
    this.#stream = stream
    this.#source = source
    this.request = withKey(received.head)
    this.#isHead = received.head.method === 'HEAD'
    this.#reader = new StreamReader(received.length, source)
    this.body = this.request.upgrade === undefined ? this.#reader : NO_BODY
    stream.on('aborted', () => this.#gone())
  }

  /** The whole response was given, and the client goes on sending; behind a switch that is its right. */
  get isAnsweredEarly(): boolean {
    if (this.#writer?.isEnded !== true || this.request.upgrade !== undefined) return false
    return !this.#source.isEnd && this.#source.watch.endOf(this.#stream.id).by === undefined
  }

  inform(head: ResponseHead): void {
    if (this.#writer !== undefined || this.#isGone() || head.status === 101 || ++this.#interims > MAX_INTERIM_RESPONSES) return
    const fields = withoutFraming(head.headers)
    if (faultOf(fields) !== undefined || head.status < 100 || head.status > 199) return
    this.#stream.additionalHeaders({ ...fieldObject(fields), ':status': head.status })
  }

  respond(head: ResponseHead, length: number | undefined): BodyWriter {
    const hasBody = length !== 0 && !this.#isHead && !BODILESS.has(head.status)
    return this.#send(head, length, hasBody)
  }

  upgrade(head: ResponseHead): RawPair {
    return { reader: this.#reader, writer: this.#send(asExtended(head), undefined, true) }
  }

  reset(error: MeshError): void {
    this.#isOver = true
    this.#reader.fail(error)
    this.#stream.close(resetCode(error))
  }

  onBroken(reason: string): void {
    this.#isOver = true
    this.#reader.fail(httpFailure('BODY_MISMATCH', { reason }))
  }

  onAborted(error: MeshError): void {
    this.#isOver = true
    this.#reader.fail(error)
  }

  /** The stream is gone, for whatever reason. */
  closed(cause: unknown): void {
    if (this.#stream.rstCode === NO_ERROR && this.#writer?.isEnded === true && cause === undefined) {
      this.#isOver = true
      this.#reader.fail(httpFailure('CLIENT_GONE'))
    } else this.#gone(cause)
  }

  #send(head: ResponseHead, length: number | undefined, hasBody: boolean): StreamWriter {
    const writer = new StreamWriter(this.#stream, hasBody ? length : 0, this)
    const first = this.#writer === undefined
    this.#writer ??= writer
    if (!first || this.#isGone()) return writer
    const list = responseFields(head, length, this.#isHead)
    try {
      if (!list.ok || head.status < 200) throw httpFailure('BAD_HEAD', { reason: list.ok ? 'status' : list.errors[0] })
      this.#stream.respond(list.value, { ...AS_IS, endStream: !hasBody, waitForTrailers: hasBody })
    } catch (cause) {
      // The head cannot be sent: the client must not take what follows for a message.
      this.onBroken(String(cause))
      this.#stream.close(INTERNAL_ERROR)
    }
    return writer
  }

  #isGone(): boolean {
    return this.#isOver || this.#stream.closed || this.#stream.destroyed
  }

  #gone(cause?: unknown): void {
    if (this.#isOver) return
    this.#isOver = true
    // A PROTOCOL_ERROR that the client did not send is nghttp2's verdict about it.
    const isBad = this.#stream.rstCode === PROTOCOL_ERROR && this.#source.watch.endOf(this.#stream.id).reset === undefined
    const code = isBad ? 'BAD_MESSAGE' : 'CLIENT_GONE'
    const error = httpFailure(code, { reset: resetName(this.#stream.rstCode) }, cause)
    this.#reader.fail(error)
    this.onClosed?.(error)
  }
}
