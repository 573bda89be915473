// Received chunks that wait for a socket or a reader. Small ones are copied together, so that a peer that sends
// one-byte frames cannot make us hold a hundred times what its window allows.

const SMALL_BYTES = 2048
const TAIL_BYTES = 16384

/** A FIFO of bytes. */
export class ChunkQueue {
  #chunks: Buffer[] = []
  /** Small chunks collected behind #chunks: the first #tailFill bytes. */
  #tail: Buffer | undefined
  #tailFill = 0
  #bytes = 0

  /** Bytes that wait. */
  get bytes(): number {
    return this.#bytes
  }

  /** @param chunk is kept, or copied when it is small and something waits already */
  push(chunk: Buffer): void {
    const isFirst = this.#bytes === 0
    this.#bytes += chunk.length
    if (chunk.length >= SMALL_BYTES || isFirst) {
      this.#closeTail()
      this.#chunks.push(chunk)
      return
    }
    if (this.#tail !== undefined && this.#tailFill + chunk.length > TAIL_BYTES) this.#closeTail()
    this.#tail ??= Buffer.allocUnsafeSlow(TAIL_BYTES)
    this.#tail.set(chunk, this.#tailFill)
    this.#tailFill += chunk.length
  }

  /** @returns everything, in order; the queue is empty afterwards. */
  take(): Buffer[] {
    this.#closeTail()
    const chunks = this.#chunks
    this.#chunks = []
    this.#bytes = 0
    return chunks
  }

  #closeTail(): void {
    if (this.#tail !== undefined) this.#chunks.push(this.#tail.subarray(0, this.#tailFill))
    this.#tail = undefined
    this.#tailFill = 0
  }
}
