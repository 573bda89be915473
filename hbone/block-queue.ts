// Bytes that wait for a plain socket, copied into pooled blocks: received chunks live in the reader's one buffer and are gone
// after the call. Whole blocks go to the kernel in one write each, and a peer that sends one-byte frames fills them too.
import { type Block, BLOCK_ROOM, takeBlock } from './block.ts'
import { BLOCK_DATA_BYTES } from './limits.ts'

/** A FIFO of bytes; an empty one holds no memory. */
export class BlockQueue {
  #blocks: Block[] = []
  /** The last of #blocks while it has room. */
  #open: Block | undefined
  #bytes = 0

  /** Bytes that wait. */
  get bytes(): number {
    return this.#bytes
  }

  /** @param chunk is copied */
  push(chunk: Buffer): void {
    this.#bytes += chunk.length
    for (let at = 0; at < chunk.length; ) {
      const block = this.#open ?? this.#add()
      const taken = Math.min(chunk.length - at, BLOCK_ROOM + BLOCK_DATA_BYTES - block.end)
      chunk.copy(block.bytes, block.end, at, at + taken)
      block.end += taken
      at += taken
      if (block.end === BLOCK_ROOM + BLOCK_DATA_BYTES) this.#open = undefined
    }
  }

  /** @returns everything, in order, as blocks that the caller owns; the queue is empty afterwards. */
  take(): Block[] {
    const blocks = this.#blocks
    this.#blocks = []
    this.#open = undefined
    this.#bytes = 0
    return blocks
  }

  #add(): Block {
    const block = takeBlock()
    block.start = BLOCK_ROOM
    block.end = BLOCK_ROOM
    this.#blocks.push(block)
    this.#open = block
    return block
  }
}
