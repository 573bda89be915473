// HEADERS and its CONTINUATIONs put together, bounded in bytes and frames (CVE-2024-27983, CVE-2024-30255).
import { H2Error } from './errors.ts'
import type { FrameFault } from './frame.ts'
import { MAX_CONTINUATIONS, MAX_HEADER_BLOCK_BYTES } from './limits.ts'

/** The header block under way of a connection, if any. */
export class HeaderBlock {
  #streamId = 0
  #isEndStream = false
  #parts: Buffer[] = []
  #bytes = 0

  /** The stream whose block is open; 0 = none. Until it is complete no other frame may come. */
  get streamId(): number {
    return this.#streamId
  }

  /** Whether the HEADERS frame carried END_STREAM. */
  get isEndStream(): boolean {
    return this.#isEndStream
  }

  /** A HEADERS frame without END_HEADERS. */
  begin(streamId: number, isEndStream: boolean, fragment: Buffer): void {
    this.#streamId = streamId
    this.#isEndStream = isEndStream
    this.#parts = [Buffer.from(fragment)]
    this.#bytes = fragment.length
  }

  /** A CONTINUATION of that stream. */
  append(fragment: Buffer): FrameFault | undefined {
    this.#bytes += fragment.length
    if (this.#bytes > MAX_HEADER_BLOCK_BYTES || this.#parts.length > MAX_CONTINUATIONS) return FLOOD
    this.#parts.push(Buffer.from(fragment))
    return undefined
  }

  /** @returns the whole block; none is open afterwards. */
  finish(): Buffer {
    const block = Buffer.concat(this.#parts, this.#bytes)
    this.#parts = []
    this.#streamId = 0
    return block
  }
}

const FLOOD: FrameFault = { code: H2Error.enhanceYourCalm, reason: 'CONTINUATION flood' }
