// The chunked transfer coding (RFC 9112 §7.1), read strictly: sizes are bounded hex, line ends are CRLF, extensions are checked
// and skipped up to a bound, trailers are read like headers.
import type { HeaderField } from '../model/http.ts'
import { CHARS, HEX, VALUE } from './chars.ts'
import { readTrailers } from './fields.ts'
import { HeadBuffer } from './head-buffer.ts'
import type { HttpLimits } from './options.ts'

const CR = 13
const LF = 10
const SEMICOLON = 59

/** 4 GiB - 1: more is no chunk but an attempt at an overflow. */
const MAX_SIZE_DIGITS = 8
/** Bytes of chunk extensions in one body. */
const MAX_EXTENSION_BYTES = 1024

const AT_SIZE = 0
const AT_EXTENSION = 1
const AT_SIZE_LF = 2
const AT_DATA = 3
const AT_DATA_CR = 4
const AT_DATA_LF = 5
const AT_TRAILERS = 6
const AT_LAST_LF = 7
const AT_FIELDS = 8
const AT_END = 9

/** Reads what is between the data of one body. */
export class ChunkedDecoder {
  /** Bytes of data that follow; the user of the decoder takes them and counts them down. */
  left = 0
  /** What is wrong; then nothing more is read. */
  fault: string | undefined
  trailers: readonly HeaderField[] = []
  readonly #limits: HttpLimits
  #at = AT_SIZE
  /** The size as far as it was read, and its digits. */
  #next = 0
  #digits = 0
  #extensionBytes = 0
  #fields: HeadBuffer | undefined

  constructor(limits: HttpLimits) {
    this.#limits = limits
  }

  /** The body is over. */
  get isEnd(): boolean {
    return this.#at === AT_END
  }

  /**
   * Reads from `at` up to data, the end of the body, a fault or the end of `chunk`. Call it only when `left` is 0.
   * @returns where it stopped
   */
  skip(chunk: Buffer, at: number): number {
    let pos = at
    if (this.#at === AT_DATA) this.#at = AT_DATA_CR
    while (pos < chunk.length && this.left === 0 && this.#at !== AT_END && this.fault === undefined) {
      if (this.#at === AT_FIELDS) pos = this.#readFields(chunk, pos)
      else if (this.#at === AT_TRAILERS && chunk[pos] !== CR) this.#at = AT_FIELDS
      else this.#byte(chunk[pos++] ?? 0)
    }
    return pos
  }

  #byte(code: number): void {
    switch (this.#at) {
      case AT_SIZE:
        this.#size(code)
        return
      case AT_EXTENSION:
        if (code === CR) this.#at = AT_SIZE_LF
        else if (((CHARS[code] ?? 0) & VALUE) === 0) this.fault = 'a bad chunk extension'
        else if (++this.#extensionBytes > MAX_EXTENSION_BYTES) this.fault = 'too many chunk extensions'
        return
      case AT_SIZE_LF:
        if (code !== LF) this.fault = 'a bare CR in a chunk size'
        else if (this.#next === 0) this.#at = AT_TRAILERS
        else this.#begin()
        return
      case AT_DATA_CR:
        if (code !== CR) this.fault = 'a chunk that is longer than its size'
        this.#at = AT_DATA_LF
        return
      case AT_DATA_LF:
        if (code !== LF) this.fault = 'a bare CR after a chunk'
        this.#at = AT_SIZE
        return
      case AT_TRAILERS:
        this.#at = AT_LAST_LF
        return
      default:
        if (code !== LF) this.fault = 'a bare CR after the last chunk'
        this.#at = AT_END
    }
  }

  #size(code: number): void {
    if (((CHARS[code] ?? 0) & HEX) !== 0) {
      if (++this.#digits > MAX_SIZE_DIGITS) this.fault = 'a chunk size that is too long'
      this.#next = this.#next * 16 + (code <= 0x39 ? code - 0x30 : (code | 0x20) - 0x57)
    } else if (this.#digits === 0 || (code !== CR && code !== SEMICOLON)) this.fault = 'a bad chunk size'
    else this.#at = code === CR ? AT_SIZE_LF : AT_EXTENSION
  }

  #begin(): void {
    this.left = this.#next
    this.#next = 0
    this.#digits = 0
    this.#at = AT_DATA
  }

  #readFields(chunk: Buffer, at: number): number {
    this.#fields ??= new HeadBuffer(this.#limits.trailerBytes)
    const pos = this.#fields.feed(chunk, at)
    const { text, fault } = this.#fields
    if (fault !== undefined) this.fault = fault === 'too-large' ? 'trailers that are too long' : 'bad trailers'
    if (text === undefined) return pos
    const trailers = readTrailers(text, this.#limits.headers)
    if (trailers === undefined) this.fault = 'bad trailers'
    else this.trailers = trailers
    this.#at = AT_END
    return pos
  }
}
