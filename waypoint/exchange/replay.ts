// The body of a request on its way to endpoints: read once, kept up to a limit, so that another try or a mirror can have it
// again. Nothing is read before there is somebody to send it to.
import type { BodyHandlers, BodyReader, BodyWriter } from '../../http/exchange.ts'
import type { MeshError } from '../../kit/error.ts'
import type { HeaderField } from '../../model/http.ts'

const EMPTY: readonly HeaderField[] = []

/** A whole body. */
export interface WholeBody {
  readonly chunks: readonly Buffer[]
  readonly bytes: number
  readonly trailers: readonly HeaderField[]
}

/** One request body. */
export class RequestBody implements BodyHandlers {
  /** As declared; see BodyReader. */
  readonly length: number | undefined
  readonly #reader: BodyReader
  readonly #limit: number
  readonly #onBroken: (error: MeshError) => void
  readonly #see: ((chunk: Buffer) => void) | undefined
  #writer: BodyWriter | undefined
  /** All that came so far, while it fits; undefined = it did not, or nobody needs it any more. */
  #kept: Buffer[] | undefined = []
  #keptBytes = 0
  #received = 0
  #isStarted = false
  #isStopped = false
  #trailers: readonly HeaderField[] | undefined
  #wholeListeners: ((body: WholeBody | undefined) => void)[] = []

  /**
   * @param limit bytes that are kept
   * @param onBroken the client's message broke off
   * @param see called with each chunk as it comes, once
   */
  constructor(reader: BodyReader, limit: number, onBroken: (error: MeshError) => void, see?: (chunk: Buffer) => void) {
    this.length = reader.length
    this.#reader = reader
    this.#limit = limit
    this.#onBroken = onBroken
    this.#see = see
    if (reader.length === 0) this.#trailers = EMPTY
    else if (reader.length !== undefined && reader.length > limit) this.#kept = undefined
  }

  /** Bytes that came so far. */
  get received(): number {
    return this.#received
  }

  /** The client has sent all of it. */
  get isWhole(): boolean {
    return this.#trailers !== undefined
  }

  /** Whether a further try can have all of it. */
  get isReplayable(): boolean {
    return this.#kept !== undefined || !this.#isStarted
  }

  /** Sends all of it to `writer`, from the beginning; the writer before gets no more. */
  sendTo(writer: BodyWriter): void {
    this.#writer = writer
    let mayGoOn = true
    for (const chunk of this.#kept ?? []) mayGoOn = writer.write(chunk)
    if (this.#trailers !== undefined) {
      writer.end(this.#trailers)
      return
    }
    const drained = (): void => {
      if (this.#writer === writer) this.#reader.resume()
    }
    writer.onDrain = drained
    if (!this.#isStarted) {
      this.#isStarted = true
      this.#reader.start(this)
    } else if (mayGoOn) this.#reader.resume()
  }

  /** The try is over: what comes waits for the next one. */
  detach(): void {
    this.#writer = undefined
    if (this.#isStarted && this.#trailers === undefined) this.#reader.pause()
  }

  /** No further try will be made: the copy is dropped as soon as no mirror waits for it. */
  forget(): void {
    if (this.#wholeListeners.length === 0) this.#kept = undefined
  }

  /** The response has ended: whatever still comes is dropped. */
  stop(): void {
    if (this.#isStopped) return
    this.#isStopped = true
    this.#writer = undefined
    this.#kept = undefined
    this.#tellWhole(undefined)
    if (this.#isStarted && this.#trailers === undefined) this.#reader.resume()
  }

  /** Calls `take` when the body is there as a whole, or with undefined when it is too large or breaks off. */
  whenWhole(take: (body: WholeBody | undefined) => void): void {
    if (this.#kept === undefined) take(undefined)
    else if (this.#trailers !== undefined) take({ chunks: this.#kept, bytes: this.#keptBytes, trailers: this.#trailers })
    else this.#wholeListeners.push(take)
  }

  onData(chunk: Buffer): void {
    this.#received += chunk.length
    this.#see?.(chunk)
    this.#keep(chunk)
    if (this.#writer !== undefined && !this.#writer.write(chunk)) this.#reader.pause()
  }

  onEnd(trailers: readonly HeaderField[]): void {
    this.#trailers = trailers
    this.#writer?.end(trailers)
    this.#tellWhole(this.#kept === undefined ? undefined : { chunks: this.#kept, bytes: this.#keptBytes, trailers })
  }

  onError(error: MeshError): void {
    if (this.#isStopped) return
    const writer = this.#writer
    this.#tellWhole(undefined)
    this.#onBroken(error) // first, or the endpoint is blamed for a try that the client gave up
    if (this.#writer === writer) writer?.abort(error)
  }

  #keep(chunk: Buffer): void {
    if (this.#kept === undefined) return
    this.#keptBytes += chunk.length
    if (this.#keptBytes > this.#limit) {
      this.#kept = undefined
      this.#tellWhole(undefined)
    } else this.#kept.push(Buffer.from(chunk))
  }

  #tellWhole(body: WholeBody | undefined): void {
    const listeners = this.#wholeListeners
    this.#wholeListeners = []
    for (const take of listeners) take(body)
  }
}
