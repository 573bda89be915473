// A body that comes in over HTTP/1.1, on either side: undoes the framing and hands the bytes to the user at the user's pace.
import type { MeshError } from '../kit/error.ts'
import type { HeaderField } from '../model/http.ts'
import { ChunkedDecoder } from './chunked.ts'
import type { BodyHandlers, BodyReader } from './exchange.ts'
import type { Framing } from './head-parser.ts'
import type { HttpLimits } from './options.ts'

const NO_TRAILERS: readonly HeaderField[] = []

/** The reader of one body. Its bytes are pushed in by `take`. */
export class IncomingBody implements BodyReader {
  readonly length: number | undefined
  /** All bytes of the body have been taken. */
  isReceived: boolean
  /** What is wrong with the framing; then nothing more is taken. */
  fault: string | undefined
  /** Bytes dropped since `discard`. */
  dropped = 0
  readonly #chunked: ChunkedDecoder | undefined
  /** Bytes that follow (of the chunk at hand); Infinity = until the end of the connection. */
  #left: number
  #handlers: BodyHandlers | undefined
  #isPaused = false
  #isDiscarding = false
  /** onEnd or onError has been told, or nobody wants to know. */
  #isDone = false
  #failure: MeshError | undefined
  /** Makes the owner deliver what is there. */
  readonly #wake: () => void

  constructor(framing: Framing, length: number | undefined, limits: HttpLimits, wake: () => void) {
    this.length = length
    this.#chunked = framing === 'chunked' ? new ChunkedDecoder(limits) : undefined
    this.isReceived = framing === 'none'
    this.#left = framing === 'length' ? (length ?? 0) : framing === 'until-close' ? Number.POSITIVE_INFINITY : 0
    this.#wake = wake
  }

  /** The user has asked for the body. */
  get isStarted(): boolean {
    return this.#handlers !== undefined
  }

  /** Bytes can be taken now. */
  get isReady(): boolean {
    return this.#isDiscarding || (this.#handlers !== undefined && !this.#isPaused && !this.#isDone)
  }

  /** The user has taken everything, or wants nothing more. */
  get isDone(): boolean {
    return this.#isDone
  }

  start(handlers: BodyHandlers): void {
    if (this.#handlers !== undefined || this.#isDone) return
    this.#handlers = handlers
    if (this.#failure !== undefined) this.fail(this.#failure)
    else this.#goOn()
  }

  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    if (this.#handlers !== undefined && !this.#isDone) this.#goOn()
  }

  /** Delivers bytes of `chunk` from `at`. @returns where it stopped: the end of the body or of `chunk`, or not ready, or a fault */
  take(chunk: Buffer, at: number): number {
    let pos = at
    while (pos < chunk.length && !this.isReceived && this.isReady) {
      if (this.#left === 0) {
        pos = this.#frame(chunk, pos)
        if (this.fault !== undefined) return pos
        continue
      }
      const end = Math.min(chunk.length, pos + this.#left)
      this.#left -= end - pos
      const piece = pos === 0 && end === chunk.length ? chunk : chunk.subarray(pos, end)
      pos = end
      if (this.#left === 0 && this.#chunked === undefined) this.isReceived = true
      if (this.#isDiscarding) this.dropped += piece.length
      else this.#handlers?.onData(piece)
    }
    return pos
  }

  /** The peer's half ended. @returns whether that is the body's end */
  endOfInput(): boolean {
    if (this.#left === Number.POSITIVE_INFINITY) this.isReceived = true
    return this.isReceived
  }

  /** Tells the user that the body is whole. */
  finish(): void {
    if (this.#isDone) return
    this.#isDone = true
    this.#handlers?.onEnd(this.#chunked?.trailers ?? NO_TRAILERS)
  }

  /** Tells the user, now or at `start`, that the body broke off. */
  fail(error: MeshError): void {
    if (this.#isDone) return
    if (this.#handlers === undefined) {
      this.#failure ??= error
      return
    }
    this.#isDone = true
    this.#handlers.onError(error)
  }

  /** No handler is called any more. */
  abandon(): void {
    this.#isDone = true
  }

  /** Takes what follows and drops it. */
  discard(): void {
    this.#isDone = true
    this.#isDiscarding = true
    this.#wake()
  }

  #goOn(): void {
    if (this.length !== 0 || !this.isReceived) this.#wake()
    else if (!this.#isPaused) this.finish() // there is no body: the owner has nothing to deliver
  }

  #frame(chunk: Buffer, at: number): number {
    const chunked = this.#chunked
    if (chunked === undefined) return at
    const pos = chunked.skip(chunk, at)
    this.fault = chunked.fault
    this.#left = chunked.left
    chunked.left = 0
    if (chunked.isEnd) this.isReceived = true
    return pos
  }
}
