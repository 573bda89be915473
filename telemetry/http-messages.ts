// Counts the messages of a gRPC body while it passes: each is a flag, a length of four bytes, and that many bytes
// (grpc/grpc:doc/PROTOCOL-HTTP2.md). Chunks may end anywhere. Nothing is copied or kept.

const PREFIX_BYTES = 5

/** Counter of one direction of one call. Bytes that are no gRPC give a meaningless number and nothing worse. */
export class GrpcMessageCounter {
  /** Messages whose prefix has come as a whole. */
  count = 0
  /** Bytes of the prefix that have come, 0–4. */
  #prefix = 0
  /** The length as far as it has come. */
  #length = 0
  /** Bytes of the message that are still to come. */
  #missing = 0

  /** Looks at the next bytes. */
  take(chunk: Uint8Array): void {
    let at = 0
    while (at < chunk.length) {
      if (this.#missing > 0) {
        const skipped = Math.min(this.#missing, chunk.length - at)
        this.#missing -= skipped
        at += skipped
      } else this.#takePrefix(chunk[at++] ?? 0)
    }
  }

  #takePrefix(byte: number): void {
    if (this.#prefix > 0) this.#length = this.#length * 256 + byte // the first byte is the flag
    if (++this.#prefix < PREFIX_BYTES) return
    this.count++
    this.#missing = this.#length
    this.#prefix = 0
    this.#length = 0
  }
}
