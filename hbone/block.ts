// 64 KiB buffers that go from a plain socket to TLS without a copy: the frame header is written into the room in front
// of the payload, so that header and payload are one contiguous write. They are pooled: garbage was the tail latency.
import { FRAME_HEADER_BYTES } from './frame.ts'
import { BLOCK_DATA_BYTES, FREE_BLOCKS } from './limits.ts'

/** Where the payload begins in `bytes` of a block that a socket has filled. */
export const BLOCK_ROOM = FRAME_HEADER_BYTES

const SMALLEST_MAX_FRAME = 16384
const MORE_HEADERS = BLOCK_DATA_BYTES / SMALLEST_MAX_FRAME - 1

/** Size of `bytes`. */
export const BLOCK_BYTES = BLOCK_ROOM + BLOCK_DATA_BYTES + MORE_HEADERS * FRAME_HEADER_BYTES

/** One pooled buffer; exactly one owner at a time, who passes it on or calls `release`. */
export class Block {
  readonly bytes: Buffer = Buffer.allocUnsafeSlow(BLOCK_BYTES)
  /** What a socket reads into. */
  readonly room: Buffer = this.bytes.subarray(BLOCK_ROOM, BLOCK_ROOM + BLOCK_DATA_BYTES)
  /** The view of a full block with one frame header, made once: full blocks are the hot path. */
  readonly full: Buffer = this.bytes.subarray(0, BLOCK_ROOM + BLOCK_DATA_BYTES)
  /** The bytes in use are start…end; meaning is the owner's. */
  start = 0
  end = 0
  /** Bytes of control frames among them (FrameWriter). */
  control = 0
  /** Whether small frames may still be appended (FrameWriter). */
  isBatch = false
  /** Next in a queue. */
  next: Block | undefined = undefined
  /** Gives the block back; made once, so that it can be a write callback. The second call of an owner does nothing. */
  readonly release: () => void = () => giveBack(this)
  isFree = false

  /** @returns start…end as one view. */
  used(): Buffer {
    return this.start === 0 && this.end === this.full.length ? this.full : this.bytes.subarray(this.start, this.end)
  }
}

const free: Block[] = []

/** @returns a block with undefined contents; the caller owns it. */
export function takeBlock(): Block {
  const block = free.pop() ?? new Block()
  block.isFree = false
  return block
}

/** Blocks waiting for reuse, for tests and dumps. */
export function freeBlocks(): number {
  return free.length
}

function giveBack(block: Block): void {
  if (block.isFree) return
  block.isFree = true
  block.start = 0
  block.end = 0
  block.control = 0
  block.isBatch = false
  block.next = undefined
  if (free.length < FREE_BLOCKS) free.push(block)
}
