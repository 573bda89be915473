// Bodies over a stream of node:http2, both directions and both roles. The reader pulls, so that the window opens only as the
// user takes bytes; the writer knows whether the stream took them.
import type { Http2Stream } from 'node:http2'
import type { MeshError } from '../kit/error.ts'
import type { HeaderField } from '../model/http.ts'
import type { BodyHandlers, BodyReader, BodyWriter } from './exchange.ts'
import { INTERNAL_ERROR, NO_ERROR, PROTOCOL_ERROR, resetCode } from './h2-codes.ts'
import { faultOf, fieldBytes, fieldObject, withoutFraming } from './h2-fields.ts'
import type { FrameWatch } from './h2-frames.ts'
import { readTrailers } from './h2-head.ts'
import type { HttpLimits } from './options.ts'

/** Where a body comes from. */
export interface BodySource {
  readonly stream: Http2Stream
  /** What the peer has said about its streams. */
  readonly watch: FrameWatch
  /** END_STREAM came with the head. */
  readonly isEnd: boolean
  readonly limits: HttpLimits
  readonly isRequest: boolean
}

/** A body that comes in over a stream. */
export class StreamReader implements BodyReader {
  readonly length: number | undefined
  readonly #source: BodySource
  readonly #stream: Http2Stream
  #handlers: BodyHandlers | undefined
  /** Set when trailers have come. */
  #trailers: readonly HeaderField[] | undefined
  /** Bytes given to the user. */
  #bytes = 0
  #isPaused = false
  #isPumping = false
  /** onEnd or onError was called, or no call is wanted any more. */
  #isDone = false
  /** Why the stream is gone; told once the user has started, unless the body had come in whole. */
  #failure: MeshError | undefined
  /** The peer has ended the body: what is in the buffer is the rest. */
  #hasEnd = false

  constructor(length: number | undefined, source: BodySource) {
    this.length = length
    this.#source = source
    this.#stream = source.stream
    this.#stream.on('trailers', (_headers, _flags, raw: string[]) => this.#onTrailers(raw))
  }

  start(handlers: BodyHandlers): void {
    if (this.#handlers !== undefined) return
    this.#handlers = handlers
    this.#stream.on('readable', this.#pump)
    this.#stream.once('end', this.#pump)
    this.#pump()
  }

  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    this.#isPaused = false
    this.#pump()
  }

  /** The stream is gone. A body that has come in whole is still delivered from the buffer. */
  fail(error: MeshError): void {
    if (this.#failure !== undefined) return
    this.#hasEnd = this.#sawEnd()
    this.#failure = error
    this.#pump()
  }

  /** No handler is called any more. */
  abandon(): void {
    this.#isDone = true
  }

  /** Node's `end` proves nothing: it comes after a reset, too. */
  #sawEnd(): boolean {
    if (this.#hasEnd || this.#source.isEnd) return true
    const { by, reset } = this.#source.watch.endOf(this.#stream.id)
    if (reset !== undefined && reset !== NO_ERROR) return false // Node's peers end a stream before they reset it
    return by === 'data' || (by === 'headers' && this.#trailers !== undefined)
  }

  #onTrailers(raw: readonly string[]): void {
    const trailers = readTrailers(raw, this.#source.isRequest)
    if (trailers.ok && fieldBytes(raw) <= this.#source.limits.trailerBytes) this.#trailers = trailers.value
    else this.#stream.close(PROTOCOL_ERROR)
  }

  readonly #pump = (): void => {
    const handlers = this.#handlers
    if (handlers === undefined || this.#isPumping) return
    this.#isPumping = true
    while (!this.#isPaused && !this.#isDone) {
      const chunk: Buffer | null = this.#failure === undefined || this.#hasEnd ? this.#stream.read() : null
      if (chunk === null) break
      this.#bytes += chunk.length
      handlers.onData(chunk)
    }
    this.#isPumping = false
    if (!this.#isPaused && !this.#isDone) this.#finish(handlers)
  }

  #finish(handlers: BodyHandlers): void {
    const isWhole = this.#stream.readableLength === 0 && this.#sawEnd() && (this.length ?? this.#bytes) === this.#bytes
    if (isWhole && (this.#stream.readableEnded || this.#failure !== undefined)) {
      this.#isDone = true
      handlers.onEnd(this.#trailers ?? [])
    } else if (this.#failure !== undefined) {
      this.#isDone = true
      handlers.onError(this.#failure)
    }
  }
}

/** What a writer tells its owner. */
export interface WriterHooks {
  /** The body does not have the promised length, or its trailers cannot be sent; the stream is reset. */
  onBroken(reason: string): void
  onAborted(error: MeshError): void
}

/**
 * A body that goes out over a stream, which must have been opened with `waitForTrailers` if there is one: without, Node sends
 * END_STREAM before the RST_STREAM of an abort, and a cut message looks whole.
 */
export class StreamWriter implements BodyWriter {
  onDrain: (() => void) | undefined
  readonly #stream: Http2Stream
  readonly #hooks: WriterHooks
  /** Promised bytes that have not come yet; undefined = nothing was promised. */
  #left: number | undefined
  #isEnded: boolean
  #trailers: readonly HeaderField[] = []

  /** @param length as in `respond`; 0 = END_STREAM has been sent with the head */
  constructor(stream: Http2Stream, length: number | undefined, hooks: WriterHooks) {
    this.#stream = stream
    this.#hooks = hooks
    this.#left = length
    this.#isEnded = length === 0
    stream.on('drain', () => this.onDrain?.())
    stream.on('wantTrailers', () => this.#sendTrailers())
  }

  /** Whether the user has ended or aborted the body. */
  get isEnded(): boolean {
    return this.#isEnded
  }

  write(chunk: Buffer): boolean {
    if (this.#isGone()) return true // dropped; whoever waits for a drain would wait for ever
    if (chunk.length === 0) return !this.#stream.writableNeedDrain
    if (this.#left !== undefined) {
      this.#left -= chunk.length
      if (this.#left < 0) return this.#break('more bytes than the promised length')
    }
    return this.#stream.write(Buffer.from(chunk))
  }

  end(trailers: readonly HeaderField[] = []): void {
    if (this.#isGone()) return
    if (this.#left !== undefined && this.#left !== 0) {
      this.#break('fewer bytes than the promised length')
      return
    }
    this.#isEnded = true
    this.#trailers = withoutFraming(trailers)
    this.#stream.end()
  }

  abort(error: MeshError): void {
    if (this.#isEnded && this.#stream.writableFinished) return
    this.#isEnded = true
    this.#hooks.onAborted(error)
    this.#stream.close(resetCode(error))
  }

  #isGone(): boolean {
    return this.#isEnded || this.#stream.closed || this.#stream.destroyed || this.#stream.writableEnded
  }

  #break(reason: string): true {
    this.#isEnded = true
    this.#hooks.onBroken(reason)
    this.#stream.close(INTERNAL_ERROR)
    return true
  }

  #sendTrailers(): void {
    const fault = faultOf(this.#trailers)
    if (fault !== undefined) this.#break(fault)
    else this.#stream.sendTrailers(fieldObject(this.#trailers))
  }
}
