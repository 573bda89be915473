// RFC 9113 frames: an incremental decoder over the chunks that TLS gives, and encoders for the small frames.
// DATA payloads are passed on as views of the chunk, never assembled; everything else is checked, bounded, then assembled.
import { H2Error } from './errors.ts'
import { MAX_HEADER_BLOCK_BYTES, MAX_SETTINGS_PER_FRAME } from './limits.ts'

/** Sizes and magic of RFC 9113 sections 3.4, 4.1 and 6.9.1. */
export const FRAME_HEADER_BYTES = 9
export const MAX_WINDOW = 0x7fffffff
export const CLIENT_PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1')

/** Frame types (RFC 9113 section 6). */
export const FrameType = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const

/** Frame flags; `ack` and `endStream` share a bit on different types. */
export const Flag = { endStream: 0x1, ack: 0x1, endHeaders: 0x4, padded: 0x8, priority: 0x20 } as const

/** Takes what the decoder finds. After `onFault` nothing more is reported. */
export interface FrameSink {
  /** DATA begins; `length` counts against flow control (padding too). @returns whether its bytes are wanted */
  onDataStart(streamId: number, length: number, flags: number): boolean
  /** Payload of the DATA begun last, without padding: a view on received memory that is never reused. */
  onDataBytes(bytes: Buffer): void
  onDataEnd(streamId: number, flags: number): void
  /** Any other frame; the payload is valid only during the call and empty for unknown types. */
  onFrame(type: number, flags: number, streamId: number, payload: Buffer): void
  /** A connection error: HTTP/2 code and reason. */
  onFault(code: number, reason: string): void
}

/** A fault in a frame header: what a connection error is made of. */
export interface FrameFault {
  readonly code: number
  readonly reason: string
}

const EMPTY = Buffer.alloc(0)
const IN_HEADER = 0
const IN_DATA = 1
const IN_PAYLOAD = 2
const IN_SKIPPED = 3
const IN_PAD_LENGTH = 4

/** Cuts a byte stream into frames. Never throws; keeps at most one frame that is not DATA. */
export class FrameDecoder {
  readonly #sink: FrameSink
  readonly #maxFrameBytes: number
  readonly #header = Buffer.allocUnsafeSlow(FRAME_HEADER_BYTES)
  #state = IN_HEADER
  /** Bytes of #header that are there. */
  #headerFill = 0
  #type = 0
  #flags = 0
  #streamId = 0
  /** Bytes of the current frame that are still to come. */
  #left = 0
  /** How many of #left are padding (DATA only). */
  #padding = 0
  #isDataWanted = false
  /** Set while a payload spans chunks. */
  #payload: Buffer | undefined
  #payloadFill = 0
  #isStopped = false

  constructor(sink: FrameSink, maxFrameBytes: number) {
    this.#sink = sink
    this.#maxFrameBytes = maxFrameBytes
  }

  /** Nothing is reported any more. */
  stop(): void {
    this.#isStopped = true
    this.#payload = undefined
  }

  /** Takes the next received chunk; nothing of it is kept. */
  push(chunk: Buffer): void {
    let at = 0
    while (!this.#isStopped) {
      if (this.#state === IN_HEADER) at = this.#takeHeader(chunk, at)
      else if (this.#state === IN_DATA) at = this.#takeData(chunk, at)
      else if (this.#state === IN_PAYLOAD) at = this.#takePayload(chunk, at)
      else if (this.#state === IN_SKIPPED) at = this.#skip(chunk, at)
      else at = this.#takePadLength(chunk, at)
      if (at < 0) return
    }
  }

  /** @returns where to go on; -1 = the chunk is used up. */
  #takeHeader(chunk: Buffer, at: number): number {
    if (this.#headerFill === 0 && chunk.length - at >= FRAME_HEADER_BYTES) {
      this.#begin(chunk, at)
      return at + FRAME_HEADER_BYTES
    }
    const taken = Math.min(FRAME_HEADER_BYTES - this.#headerFill, chunk.length - at)
    if (taken === 0) return -1
    chunk.copy(this.#header, this.#headerFill, at, at + taken)
    this.#headerFill += taken
    if (this.#headerFill < FRAME_HEADER_BYTES) return -1
    this.#headerFill = 0
    this.#begin(this.#header, 0)
    return at + taken
  }

  #begin(bytes: Buffer, at: number): void {
    this.#left = bytes.readUIntBE(at, 3)
    this.#type = bytes.readUInt8(at + 3)
    this.#flags = bytes.readUInt8(at + 4)
    this.#streamId = bytes.readUInt32BE(at + 5) & MAX_WINDOW
    const fault = this.#left > this.#maxFrameBytes ? TOO_LARGE : checkHeader(this.#type, this.#flags, this.#streamId, this.#left)
    if (fault !== undefined) {
      this.stop()
      this.#sink.onFault(fault.code, fault.reason)
      return
    }
    if (this.#type === FrameType.data) this.#beginData()
    else this.#state = this.#type > FrameType.continuation ? IN_SKIPPED : IN_PAYLOAD
  }

  #beginData(): void {
    this.#padding = 0
    this.#isDataWanted = this.#sink.onDataStart(this.#streamId, this.#left, this.#flags)
    this.#state = (this.#flags & Flag.padded) === 0 ? IN_DATA : IN_PAD_LENGTH
  }

  #takePadLength(chunk: Buffer, at: number): number {
    if (at === chunk.length) return -1
    this.#padding = chunk.readUInt8(at)
    this.#left--
    if (this.#padding > this.#left) {
      this.stop()
      this.#sink.onFault(H2Error.protocolError, 'padding is longer than the frame')
    }
    this.#state = IN_DATA
    return at + 1
  }

  #takeData(chunk: Buffer, at: number): number {
    const wanted = this.#left - this.#padding
    const there = chunk.length - at
    if (wanted > 0) {
      if (there === 0) return -1
      const taken = Math.min(wanted, there)
      this.#left -= taken
      if (this.#isDataWanted) this.#sink.onDataBytes(taken === chunk.length ? chunk : chunk.subarray(at, at + taken))
      return at + taken
    }
    const skipped = Math.min(this.#left, there)
    this.#left -= skipped
    if (this.#left > 0) return -1
    this.#state = IN_HEADER
    this.#sink.onDataEnd(this.#streamId, this.#flags)
    return at + skipped
  }

  #takePayload(chunk: Buffer, at: number): number {
    const there = chunk.length - at
    if (this.#payload === undefined && there >= this.#left) {
      const end = at + this.#left
      this.#finish(chunk.subarray(at, end))
      return end
    }
    if (there === 0) return -1
    this.#payload ??= Buffer.allocUnsafe(this.#left)
    const taken = Math.min(this.#left - this.#payloadFill, there)
    chunk.copy(this.#payload, this.#payloadFill, at, at + taken)
    this.#payloadFill += taken
    if (this.#payloadFill < this.#left) return -1
    this.#finish(this.#payload)
    return at + taken
  }

  #skip(chunk: Buffer, at: number): number {
    const skipped = Math.min(this.#left, chunk.length - at)
    this.#left -= skipped
    if (this.#left > 0) return -1
    this.#finish(EMPTY)
    return at + skipped
  }

  #finish(payload: Buffer): void {
    this.#state = IN_HEADER
    this.#payload = undefined
    this.#payloadFill = 0
    this.#sink.onFrame(this.#type, this.#flags, this.#streamId, payload)
  }
}

const TOO_LARGE: FrameFault = { code: H2Error.frameSizeError, reason: 'frame is larger than SETTINGS_MAX_FRAME_SIZE' }
const ON_STREAM_ZERO: FrameFault = { code: H2Error.protocolError, reason: 'frame of a stream on stream 0' }
const ON_A_STREAM: FrameFault = { code: H2Error.protocolError, reason: 'frame of the connection on a stream' }
const WRONG_SIZE: FrameFault = { code: H2Error.frameSizeError, reason: 'wrong frame size' }
const LARGE_BLOCK: FrameFault = { code: H2Error.enhanceYourCalm, reason: 'header block is too large' }
const MANY_SETTINGS: FrameFault = { code: H2Error.enhanceYourCalm, reason: 'too many settings in a frame' }

/** What is wrong with a frame by its header alone (sizes, stream 0); undefined = nothing. */
export function checkHeader(type: number, flags: number, streamId: number, length: number): FrameFault | undefined {
  const isPadded = (flags & Flag.padded) !== 0
  switch (type) {
    case FrameType.data:
      return streamId === 0 ? ON_STREAM_ZERO : isPadded && length === 0 ? WRONG_SIZE : undefined
    case FrameType.headers: {
      const least = (isPadded ? 1 : 0) + ((flags & Flag.priority) !== 0 ? 5 : 0)
      return streamId === 0 ? ON_STREAM_ZERO : length < least ? WRONG_SIZE : length > MAX_HEADER_BLOCK_BYTES ? LARGE_BLOCK : undefined
    }
    case FrameType.continuation:
      return streamId === 0 ? ON_STREAM_ZERO : length > MAX_HEADER_BLOCK_BYTES ? LARGE_BLOCK : undefined
    case FrameType.priority:
      return streamId === 0 ? ON_STREAM_ZERO : length !== 5 ? WRONG_SIZE : undefined
    case FrameType.rstStream:
      return streamId === 0 ? ON_STREAM_ZERO : length !== 4 ? WRONG_SIZE : undefined
    case FrameType.settings:
      if (streamId !== 0) return ON_A_STREAM
      if (length % 6 !== 0 || ((flags & Flag.ack) !== 0 && length !== 0)) return WRONG_SIZE
      return length > MAX_SETTINGS_PER_FRAME * 6 ? MANY_SETTINGS : undefined
    case FrameType.ping:
      return streamId !== 0 ? ON_A_STREAM : length !== 8 ? WRONG_SIZE : undefined
    case FrameType.goAway:
      return streamId !== 0 ? ON_A_STREAM : length < 8 ? WRONG_SIZE : undefined
    case FrameType.windowUpdate:
      return length !== 4 ? WRONG_SIZE : undefined
    default:
      return undefined // PUSH_PROMISE is refused by the connection; unknown types are ignored
  }
}

/** Writes a frame header at `at` of `into`. */
export function writeFrameHeader(into: Buffer, at: number, length: number, type: number, flags: number, streamId: number): void {
  into[at] = length >>> 16
  into[at + 1] = length >>> 8
  into[at + 2] = length
  into[at + 3] = type
  into[at + 4] = flags
  into[at + 5] = streamId >>> 24
  into[at + 6] = streamId >>> 16
  into[at + 7] = streamId >>> 8
  into[at + 8] = streamId
}

/** One whole frame as a new Buffer (small frames and tests; the data path writes in place). */
export function encodeFrame(type: number, flags: number, streamId: number, payload: Uint8Array = EMPTY): Buffer {
  const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + payload.length)
  writeFrameHeader(frame, 0, payload.length, type, flags, streamId)
  frame.set(payload, FRAME_HEADER_BYTES)
  return frame
}

/** HEADERS payload without padding and priority; undefined when the padding does not fit. */
export function headerFragment(flags: number, payload: Buffer): Buffer | undefined {
  const padding = (flags & Flag.padded) !== 0 ? payload.readUInt8(0) : 0
  const start = ((flags & Flag.padded) !== 0 ? 1 : 0) + ((flags & Flag.priority) !== 0 ? 5 : 0)
  const end = payload.length - padding
  return end < start ? undefined : payload.subarray(start, end)
}
