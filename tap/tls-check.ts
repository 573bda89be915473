// Whether one direction of a TCP connection carries TLS records and nothing else (RFC 8446 §5.1), from its segments in any order.
// Used by flows.ts; keeps at most a few segments that came too early.

const HEADER_BYTES = 5
const LONGEST_RECORD_BYTES = 16_384 + 256
const MOST_EARLY_SEGMENTS = 64

/** The check of one direction. `begin` tells the first byte's sequence number; without it the verdict is `unknown`. */
export class TlsCheck {
  /** `none` until the first payload byte; `plain` and `unknown` are final. */
  verdict: 'none' | 'tls' | 'plain' | 'unknown' = 'none'
  #next: number | undefined
  #left = 0 // bytes of the running record's body still to come
  #header: number[] = []
  readonly #early = new Map<number, Buffer>()

  /** @param seq sequence number of the first payload byte; a retransmitted SYN repeats it */
  begin(seq: number): void {
    this.#next ??= seq >>> 0
  }

  take(seq: number, payload: Buffer): void {
    if (this.verdict === 'plain' || this.verdict === 'unknown') return
    if (this.#next === undefined) {
      this.verdict = 'unknown'
      return
    }
    const ahead = (seq - this.#next) | 0 // modulo 2^32
    if (ahead > 0) this.#keep(seq, payload)
    else if (-ahead < payload.length) this.#read(payload.subarray(-ahead))
    for (let next = this.#early.get(this.#next); next !== undefined; next = this.#early.get(this.#next)) {
      this.#early.delete(this.#next)
      this.#read(next)
    }
  }

  #keep(seq: number, payload: Buffer): void {
    if (this.#early.size >= MOST_EARLY_SEGMENTS) this.verdict = 'unknown'
    else this.#early.set(seq, Buffer.from(payload))
  }

  #read(bytes: Buffer): void {
    this.#next = ((this.#next ?? 0) + bytes.length) >>> 0
    for (let at = 0; at < bytes.length; ) {
      if (this.#left > 0) {
        const body = Math.min(this.#left, bytes.length - at)
        this.#left -= body
        at += body
        continue
      }
      this.#header.push(bytes[at++] ?? 0)
      if (!isHeaderSoFar(this.#header)) {
        this.verdict = 'plain'
        return
      }
      if (this.#header.length < HEADER_BYTES) continue
      this.#left = ((this.#header[3] ?? 0) << 8) | (this.#header[4] ?? 0)
      this.#header = []
    }
    this.verdict = 'tls'
  }
}

/** Content type 20 to 24, version 3.0 to 3.4, a length that a record may have. */
function isHeaderSoFar([type, major, minor, high, low]: readonly number[]): boolean {
  if (type === undefined || type < 20 || type > 24) return false
  if (major !== undefined && major !== 3) return false
  if (minor !== undefined && minor > 4) return false
  return low === undefined || ((high ?? 0) << 8) + low <= LONGEST_RECORD_BYTES
}
