// A body that goes out over HTTP/1.1, on either side. The head waits for the first bytes of the body, so that a short message is
// one write; it goes out alone at the end of the turn of the event loop.
import { httpFailure } from './errors.ts'
import type { MeshError } from '../kit/error.ts'
import type { HeaderField } from '../model/http.ts'
import type { Channel } from './channel.ts'
import type { BodyWriter } from './exchange.ts'
import { type OutFraming, trailerLines } from './head-writer.ts'

/** Up to here a piece of a body is copied behind its head or chunk size, so that both are one write. */
const JOIN_BYTES = 64 * 1024
/** Room for what is put around a piece. */
const ROOM_BYTES = 8 * 1024
/** Every write is put together here: channels copy within the call. */
const scratch = Buffer.allocUnsafeSlow(JOIN_BYTES + ROOM_BYTES)
const CRLF = '\r\n'

/** What a writer tells its connection. */
export interface WriterOwner {
  /** The message is whole and was written. */
  onWritten(): void
  /** It will never be whole; the connection has to end so that the peer sees that. */
  onBroken(error: MeshError): void
}

/** The writer of one message. */
export class OutgoingBody implements BodyWriter {
  onDrain: (() => void) | undefined
  /** Something of the message was given to the channel. */
  isSent = false
  readonly #channel: Channel
  readonly #owner: WriterOwner
  readonly #framing: OutFraming
  /** The head that waits; empty = it is out. */
  #head: string
  /** Promised bytes that have not come yet. */
  #left: number
  #isOver = false
  /** The last write said so. */
  #isFull = false

  constructor(channel: Channel, owner: WriterOwner, head: string, framing: OutFraming, length: number | undefined) {
    this.#channel = channel
    this.#owner = owner
    this.#framing = framing
    this.#head = head
    this.#left = framing === 'length' ? (length ?? 0) : 0
  }

  /** The message is whole, or was broken off. */
  get isOver(): boolean {
    return this.#isOver
  }

  /** Sends the head: with `none` the whole message, else at the end of the turn unless bytes come before. */
  open(): void {
    if (this.#framing !== 'none') process.nextTick(flush, this)
    else {
      this.flush()
      this.#isOver = true
      this.#owner.onWritten()
    }
  }

  /** Sends the head if it still waits. */
  flush(): void {
    if (this.#head === '') return
    const head = this.#head
    this.#head = ''
    if (head.length > scratch.length) this.#send(Buffer.from(head, 'latin1'))
    else this.#send(scratch.subarray(0, scratch.write(head, 0, 'latin1')))
  }

  write(chunk: Buffer): boolean {
    if (this.#isOver || chunk.length === 0) return !this.#isFull
    if (this.#framing === 'length') {
      if (chunk.length > this.#left) {
        this.#break('more bytes than promised')
        return true
      }
      this.#left -= chunk.length
    }
    if (this.#framing === 'chunked') this.#writeChunks(chunk)
    else this.#writePlain(chunk)
    return !this.#isFull
  }

  end(trailers?: readonly HeaderField[]): void {
    if (this.#isOver) return
    if (this.#left > 0) {
      this.#break('fewer bytes than promised')
      return
    }
    this.#isOver = true
    if (this.#framing === 'chunked') {
      const lines = trailers === undefined || trailers.length === 0 ? '' : trailerLines(trailers)
      if (lines === undefined) {
        this.#owner.onBroken(httpFailure('BAD_HEAD', { reason: 'a trailer' }))
        return
      }
      this.#sendText(`${this.#takeHead()}0\r\n${lines}\r\n`)
    } else this.flush()
    this.#owner.onWritten()
  }

  abort(error: MeshError): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#owner.onBroken(error)
  }

  /** Nothing is written any more, and nobody is told. */
  abandon(): void {
    this.#isOver = true
    this.#head = ''
  }

  /** The channel takes bytes again. */
  drained(): void {
    if (!this.#isFull) return
    this.#isFull = false
    if (!this.#isOver) this.onDrain?.()
  }

  #writePlain(chunk: Buffer): void {
    const head = this.#takeHead()
    if (head === '') this.#send(chunk)
    else if (head.length + chunk.length > scratch.length) {
      this.#sendText(head)
      this.#send(chunk)
    } else {
      const at = scratch.write(head, 0, 'latin1')
      this.#send(scratch.subarray(0, at + chunk.copy(scratch, at)))
    }
  }

  #writeChunks(chunk: Buffer): void {
    for (let from = 0; from < chunk.length; from += JOIN_BYTES) {
      const size = Math.min(JOIN_BYTES, chunk.length - from)
      let head = this.#takeHead()
      if (head.length > ROOM_BYTES - 16) {
        this.#sendText(head)
        head = ''
      }
      let at = scratch.write(head + size.toString(16) + CRLF, 0, 'latin1')
      at += chunk.copy(scratch, at, from, from + size)
      at += scratch.write(CRLF, at, 'latin1')
      this.#send(scratch.subarray(0, at))
    }
  }

  #takeHead(): string {
    const head = this.#head
    this.#head = ''
    return head
  }

  #sendText(text: string): void {
    this.#send(text.length > scratch.length ? Buffer.from(text, 'latin1') : scratch.subarray(0, scratch.write(text, 0, 'latin1')))
  }

  #send(bytes: Buffer): void {
    this.isSent = true
    if (!this.#channel.write(bytes)) this.#isFull = true
  }

  #break(reason: string): void {
    this.abort(httpFailure('BODY_MISMATCH', { reason }))
  }
}

function flush(body: OutgoingBody): void {
  body.flush()
}
