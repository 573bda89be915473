// Finds the end of a head (or of trailers) in bytes that come in any pieces. A head that is whole in one piece is not copied.
import { CHARS, TOKEN } from './chars.ts'

const CR = 13
const LF = 10
const FIRST_BYTES = 1024

/** Why a head will never be whole: too long, or bytes that no head may have. */
export type HeadBufferFault = 'too-large' | 'malformed'

/** Collects one head at a time. */
export class HeadBuffer {
  /** The head once `feed` found its end: lines that end with CRLF each, without the empty line. One character per byte. */
  text: string | undefined
  fault: HeadBufferFault | undefined
  readonly #most: number
  /** Bytes of an unfinished head; undefined = none. */
  #bytes: Buffer | undefined
  #length = 0

  /** @param most bytes of a head, with the empty line */
  constructor(most: number) {
    this.#most = most
  }

  /** Whether a part of a head is here. */
  get isBegun(): boolean {
    return this.#length > 0
  }

  /**
   * Takes bytes of `chunk` from `at` up to the end of the head.
   * @returns where the taken bytes end; then `text` or `fault` is set, or all bytes are taken
   */
  feed(chunk: Buffer, at: number): number {
    this.text = undefined
    if (this.#length > 0) return this.#append(chunk, at)
    const end = findEnd(chunk, at, chunk.length)
    if (end < 0) return this.#append(chunk, at)
    if (end - at > this.#most) this.fault = 'too-large'
    else this.text = chunk.toString('latin1', at, end - 2)
    return end
  }

  /** Forgets what was collected. */
  clear(): void {
    this.#bytes = undefined
    this.#length = 0
  }

  #append(chunk: Buffer, at: number): number {
    const before = this.#length
    const count = Math.min(chunk.length - at, this.#most - before)
    const bytes = this.#room(before + count)
    chunk.copy(bytes, before, at, at + count)
    this.#length = before + count
    const end = findEnd(bytes, Math.max(0, before - 3), this.#length)
    if (end >= 0) {
      this.text = bytes.toString('latin1', 0, end - 2)
      this.clear()
      return at + end - before
    }
    if (isBroken(bytes, Math.max(0, before - 1), this.#length)) this.fault = 'malformed'
    else if (this.#length === this.#most) this.fault = 'too-large'
    return at + count
  }

  #room(wanted: number): Buffer {
    const bytes = this.#bytes
    if (bytes !== undefined && bytes.length >= wanted) return bytes
    const grown = Buffer.allocUnsafeSlow(Math.min(this.#most, Math.max(FIRST_BYTES, wanted * 2)))
    bytes?.copy(grown, 0, 0, this.#length)
    this.#bytes = grown
    return grown
  }
}

/** @returns where the bytes after CR LF CR LF start, or -1 */
function findEnd(bytes: Buffer, from: number, to: number): number {
  let at = from + 3
  while (at < to) {
    const code = bytes[at]
    if (code === LF) {
      if (bytes[at - 1] === CR && bytes[at - 2] === LF && bytes[at - 3] === CR) return at + 1
      at += 2 // at best this is the first of the two LF
    } else at += code === CR ? 1 : 4
  }
  return -1
}

/** Whether a line ends with something else than CRLF, or the head does not begin as one: known before its end has come. */
function isBroken(bytes: Buffer, from: number, to: number): boolean {
  if (((CHARS[bytes[0] ?? 0] ?? 0) & TOKEN) === 0) return true
  for (let at = from; at < to; at++) {
    const code = bytes[at]
    if (code === LF && bytes[at - 1] !== CR) return true
    if (code === CR && at + 1 < to && bytes[at + 1] !== LF) return true
    if (code === 0) return true
  }
  return false
}
