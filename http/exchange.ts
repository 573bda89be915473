// One request and its response, independent of the HTTP version: what codecs offer to waypoint/, on both sides.
// Bodies are streamed with back-pressure both ways and never collected here.
import type { MeshError } from '../kit/error.ts'
import type { HeaderField, RequestHead, ResponseHead } from '../model/http.ts'

/** Takes a body. After onEnd or onError there are no calls. */
export interface BodyHandlers {
  /** Bytes, valid during the call only. */
  onData(chunk: Buffer): void
  /** The body is whole; trailers without framing fields. */
  onEnd(trailers: readonly HeaderField[]): void
  /** The message broke off (CLIENT_GONE, BAD_MESSAGE, UPSTREAM_RESET, …). */
  onError(error: MeshError): void
}

/** A body that comes in. Nothing is delivered, and the peer is slowed down, before `start` and between `pause` and `resume`. */
export interface BodyReader {
  /** Declared bytes; 0 = there is no body, undefined = not known beforehand. */
  readonly length: number | undefined
  /** Once. What is there already is delivered within the call. */
  start(handlers: BodyHandlers): void
  pause(): void
  resume(): void
}

/** A body that goes out. Methods never throw and do nothing after the end. */
export interface BodyWriter {
  /** Sends a copy. @returns false = write no more until onDrain */
  write(chunk: Buffer): boolean
  end(trailers?: readonly HeaderField[]): void
  /** Breaks the message off so that the peer sees that it is not whole. */
  abort(error: MeshError): void
  /** Set by the user of the writer. */
  onDrain: (() => void) | undefined
}

/** Raw bytes both ways after a protocol switch. */
export interface RawPair {
  readonly reader: BodyReader
  readonly writer: BodyWriter
}

/** A request that came in and waits for its response. Exactly one of respond, upgrade and reset is called. */
export interface ServerExchange {
  readonly request: RequestHead
  readonly body: BodyReader
  /** Sends an interim response (100, 103). Ignored towards HTTP/1.0. */
  inform(head: ResponseHead): void
  /**
   * Sends the response's head.
   * @param length bytes of the body; 0 = none, undefined = not known (chunked, or until END_STREAM)
   */
  respond(head: ResponseHead, length: number | undefined): BodyWriter
  /** Accepts the protocol switch that the request asked for (101, or 200 in HTTP/2). */
  upgrade(head: ResponseHead): RawPair
  /** Ends the request without a response. */
  reset(error: MeshError): void
  /** Set by the user: called once when the client is gone before the response ended. */
  onClosed: ((error: MeshError) => void) | undefined
}

/** Takes requests of one connection, in order for HTTP/1.1. Must not throw. */
export type ExchangeHandler = (exchange: ServerExchange) => void

/** Takes the answer to a request that went out. onFailed comes at most once, and only before onResponse or onUpgrade. */
export interface ResponseHandlers {
  onInform(head: ResponseHead): void
  onResponse(head: ResponseHead, body: BodyReader): void
  onUpgrade(head: ResponseHead, raw: RawPair): void
  /** @param wasSent whether a byte of the request may have reached the peer (then only a safe request may be tried again) */
  onFailed(error: MeshError, wasSent: boolean): void
}

/** A request that went out. */
export interface ClientExchange {
  readonly body: BodyWriter
  /** Gives up, also in the middle of the response; no handler is called any more. */
  cancel(error: MeshError): void
}

/** One connection, or a set of them, to one endpoint. */
export interface HttpClient {
  /**
   * Sends a request.
   * @param length bytes of the body; 0 = none, undefined = not known
   */
  request(head: RequestHead, length: number | undefined, handlers: ResponseHandlers): ClientExchange
}
