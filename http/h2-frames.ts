// Reads along the frame headers that a peer sends (RFC 9113 §4.1), for what node:http2 does not tell: whether a stream ended in
// order (Node reports a reset by NO_ERROR as an end), who reset it, and what unproductive frames a connection costs.
import type { ByteTap } from './channel-duplex.ts'
import type { H2Abuse } from './h2-abuse.ts'
import { REMEMBERED_STREAMS } from './h2-limits.ts'

const HEADER_BYTES = 9
const RESET_BYTES = HEADER_BYTES + 4 // with its code
const PREFACE_BYTES = 24 // a client's; what it says is nghttp2's to check
const DATA = 0
const HEADERS = 1
const RST_STREAM = 3
const WINDOW_UPDATE = 8
const END_STREAM = 1

/** What a peer said about a stream. */
export interface StreamEnd {
  /** END_STREAM came: with DATA, or with HEADERS (the head itself, or trailers). */
  readonly by: 'data' | 'headers' | undefined
  /** Code of the RST_STREAM that came. */
  readonly reset: number | undefined
}

const NOTHING: StreamEnd = { by: undefined, reset: undefined }

/** Watches what comes in on one connection. */
export class FrameWatch implements ByteTap {
  readonly #abuse: H2Abuse
  readonly #onAbuse: () => void
  readonly #header = Buffer.alloc(RESET_BYTES)
  /** Bytes of #header that are there, and that are wanted: a frame header, and of a reset also its code. */
  #have = 0
  #want = HEADER_BYTES
  /** Payload that has not come yet. */
  #skip: number
  readonly #ends = new Map<number, StreamEnd>()
  #isStopped = false

  /**
   * @param peer who sends what is watched
   * @param onAbuse called for each frame over the limit; the bytes that hold it are dropped
   */
  constructor(peer: 'client' | 'server', abuse: H2Abuse, onAbuse: () => void) {
    this.#abuse = abuse
    this.#onAbuse = onAbuse
    this.#skip = peer === 'client' ? PREFACE_BYTES : 0
  }

  received(chunk: Buffer): boolean {
    if (this.#isStopped) return false
    let at = 0
    while (at < chunk.length) {
      if (this.#skip > 0) {
        const passed = Math.min(this.#skip, chunk.length - at)
        this.#skip -= passed
        at += passed
        continue
      }
      const copied = chunk.copy(this.#header, this.#have, at, at + this.#want - this.#have)
      this.#have += copied
      at += copied
      if (this.#have < this.#want) break
      if (this.#have === HEADER_BYTES && this.#isReset()) {
        this.#want = RESET_BYTES
        continue
      }
      this.#have = 0
      this.#want = HEADER_BYTES
      if (this.#isTooMuch()) {
        this.#onAbuse()
        return false
      }
    }
    return true
  }

  /** Nothing is wanted of this peer any more: what comes is dropped. */
  stop(): void {
    this.#isStopped = true
  }

  sent(bytes: number): void {
    this.#abuse.sent(bytes)
  }

  /** @returns how the peer ended a stream, as far as its frames have come */
  endOf(streamId: number | undefined): StreamEnd {
    return (streamId === undefined ? undefined : this.#ends.get(streamId)) ?? NOTHING
  }

  /** The stream is closed: its number does not come again. */
  forget(streamId: number | undefined): void {
    if (streamId !== undefined) this.#ends.delete(streamId)
  }

  #isReset(): boolean {
    return this.#header[3] === RST_STREAM && this.#header.readUIntBE(0, 3) === RESET_BYTES - HEADER_BYTES
  }

  #isTooMuch(): boolean {
    const isReset = this.#isReset()
    const length = isReset ? 0 : this.#header.readUIntBE(0, 3)
    const type = this.#header[3]
    const isEnd = ((this.#header[4] ?? 0) & END_STREAM) !== 0
    const streamId = this.#header.readUInt32BE(5) & 0x7fffffff
    this.#skip = length
    if (type === DATA || type === HEADERS) {
      if (isEnd) this.#note(streamId, { by: type === DATA ? 'data' : 'headers', reset: undefined })
      else if (length === 0) return this.#abuse.idleFrame()
      this.#abuse.messageFrame(length)
      return false
    }
    if (type === WINDOW_UPDATE) return this.#abuse.windowUpdate()
    if (isReset) this.#note(streamId, { by: this.endOf(streamId).by, reset: this.#header.readUInt32BE(HEADER_BYTES) })
    return this.#abuse.idleFrame()
  }

  #note(streamId: number, end: StreamEnd): void {
    this.#ends.set(streamId, end)
    if (this.#ends.size <= REMEMBERED_STREAMS) return
    const [oldest] = this.#ends.keys() // a stream that was refused before it had an owner, or one of a flood
    this.forget(oldest)
  }
}
