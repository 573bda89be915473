// One request of an HTTP/1.1 client and its response: what the handler holds. The connection does the work.
import type { MeshError } from '../kit/error.ts'
import type { RequestHead, ResponseHead } from '../model/http.ts'
import type { BodyReader, BodyWriter, RawPair, ServerExchange } from './exchange.ts'
import type { ParsedHead } from './head-parser.ts'
import type { IncomingBody } from './incoming-body.ts'
import type { OutgoingBody } from './outgoing-body.ts'

/** The connection, as its exchanges use it. */
export interface ExchangeOwner {
  inform(head: ResponseHead): void
  /** @returns the writer, not opened; undefined = the response cannot be sent and the connection has dealt with it */
  respond(exchange: Http1Exchange, head: ResponseHead, length: number | undefined): OutgoingBody | undefined
  /** @returns the reader of what follows, or undefined as in `respond` */
  switch(exchange: Http1Exchange, head: ResponseHead): { reader: IncomingBody; writer: OutgoingBody } | undefined
  reset(exchange: Http1Exchange, error: MeshError): void
}

/** A request under way. */
export class Http1Exchange implements ServerExchange {
  readonly request: RequestHead
  readonly parsed: ParsedHead<RequestHead>
  readonly body: IncomingBody
  onClosed: ((error: MeshError) => void) | undefined
  /** Set by `respond` and `upgrade`. */
  writer: OutgoingBody | undefined
  /** What is called after a switch reads here. */
  raw: IncomingBody | undefined
  /** One of respond, upgrade and reset was called, or the connection has answered itself or is gone. */
  isAnswered = false
  /** 100 has been sent. */
  isContinued = false
  readonly #owner: ExchangeOwner

  constructor(parsed: ParsedHead<RequestHead>, body: IncomingBody, owner: ExchangeOwner) {
    this.request = parsed.head
    this.parsed = parsed
    this.body = body
    this.#owner = owner
  }

  inform(head: ResponseHead): void {
    if (this.isAnswered || this.parsed.isOld) return
    if (head.status === 100) this.isContinued = true
    this.#owner.inform(head)
  }

  respond(head: ResponseHead, length: number | undefined): BodyWriter {
    if (this.isAnswered) return closedWriter()
    this.isAnswered = true
    const writer = this.#owner.respond(this, head, length)
    this.writer = writer
    writer?.open()
    return writer ?? closedWriter()
  }

  upgrade(head: ResponseHead): RawPair {
    if (this.isAnswered) return closedPair()
    this.isAnswered = true
    const pair = this.#owner.switch(this, head)
    this.writer = pair?.writer
    this.raw = pair?.reader
    pair?.writer.open()
    return pair ?? closedPair()
  }

  reset(error: MeshError): void {
    if (this.isAnswered && this.writer === undefined) return
    this.isAnswered = true
    this.#owner.reset(this, error)
  }

  /** The connection is gone. */
  gone(error: MeshError): void {
    const isOpen = this.writer?.isOver !== true
    this.isAnswered = true
    this.writer?.abandon()
    this.raw?.fail(error)
    this.body.fail(error)
    if (isOpen) this.onClosed?.(error)
  }
}

function closedWriter(): BodyWriter {
  return { write: () => true, end: () => undefined, abort: () => undefined, onDrain: undefined }
}

function closedPair(): RawPair {
  const reader: BodyReader = { length: 0, start: () => undefined, pause: () => undefined, resume: () => undefined }
  return { reader, writer: closedWriter() }
}
