// The queue of frames toward one TLS socket. One write is under way at a time and each is one contiguous buffer, because
// TLSWrap copies multi-buffer writes together; small frames that come meanwhile share a block, large ones go as they are.
import type { TLSSocket } from 'node:tls'
import { BLOCK_BYTES, BLOCK_ROOM, type Block, takeBlock } from './block.ts'
import { FRAME_HEADER_BYTES, FrameType, writeFrameHeader } from './frame.ts'

/** Writes frames in order. Never throws; after `stop` everything is dropped. */
export class FrameWriter {
  readonly #socket: TLSSocket
  readonly #queueBytes: number
  readonly #onRoom: () => void
  #head: Block | undefined
  #tail: Block | undefined
  /** The block given to TLS; set exactly while a write is under way. */
  #current: Block | undefined
  #currentBytes = 0
  #queued = 0
  #control = 0
  #isHeld = false
  #isEnding = false
  #isStopped = false

  /** @param onRoom called whenever a write has ended and at most half of `queueBytes` is queued */
  constructor(socket: TLSSocket, queueBytes: number, onRoom: () => void) {
    this.#socket = socket
    this.#queueBytes = queueBytes
    this.#onRoom = onRoom
  }

  /** Senders of DATA should wait for `onRoom`. */
  get isFull(): boolean {
    return this.#queued >= this.#queueBytes
  }

  /** Bytes of control frames that TLS has not taken yet. */
  get controlBytes(): number {
    return this.#control
  }

  /** Collects what follows until `flush`, so that it goes out in one record. */
  hold(): void {
    this.#isHeld = true
  }

  flush(): void {
    this.#isHeld = false
    this.#pump()
  }

  /** Any small frame; `payload` is copied. It must fit into a block. */
  control(type: number, flags: number, streamId: number, payload: Uint8Array): void {
    this.#append(type, flags, streamId, payload, payload.length)
    this.#control += FRAME_HEADER_BYTES + payload.length
    if (this.#tail !== undefined) this.#tail.control += FRAME_HEADER_BYTES + payload.length
    this.#pump()
  }

  /** A small DATA frame; the first `length` bytes are copied. */
  smallData(streamId: number, bytes: Buffer, length: number): void {
    this.#append(FrameType.data, 0, streamId, bytes, length)
    this.#pump()
  }

  /** Bytes that are no frame (the client's preface). */
  raw(bytes: Buffer): void {
    const block = this.#reserve(bytes.length)
    block.bytes.set(bytes, block.end)
    block.end += bytes.length
    this.#queued += bytes.length
  }

  /** Takes a block whose payload is start…end (start ≥ BLOCK_ROOM) and sends it as DATA frames of at most `maxFrameBytes`. */
  data(streamId: number, block: Block, maxFrameBytes: number): void {
    if (block.end - block.start > maxFrameBytes) splitInPlace(streamId, block, maxFrameBytes)
    else {
      writeFrameHeader(block.bytes, block.start - BLOCK_ROOM, block.end - block.start, FrameType.data, 0, streamId)
      block.start -= BLOCK_ROOM
    }
    this.#enqueue(block)
    this.#queued += block.end - block.start
    this.#pump()
  }

  /** Ends the socket once everything queued is out. Nothing may be written after this. */
  endSocket(): void {
    this.#isEnding = true
    this.#isHeld = false
    this.#pump()
  }

  /** Drops what is queued. */
  stop(): void {
    this.#isStopped = true
    for (let block = this.#head; block !== undefined; ) {
      const next: Block | undefined = block.next
      block.release()
      block = next
    }
    this.#head = undefined
    this.#tail = undefined
  }

  #append(type: number, flags: number, streamId: number, payload: Uint8Array, length: number): void {
    const block = this.#reserve(FRAME_HEADER_BYTES + length)
    writeFrameHeader(block.bytes, block.end, length, type, flags, streamId)
    block.bytes.set(length === payload.length ? payload : payload.subarray(0, length), block.end + FRAME_HEADER_BYTES)
    block.end += FRAME_HEADER_BYTES + length
    this.#queued += FRAME_HEADER_BYTES + length
  }

  #reserve(bytes: number): Block {
    const tail = this.#tail
    if (tail?.isBatch === true && BLOCK_BYTES - tail.end >= bytes) return tail
    const block = takeBlock()
    block.isBatch = true
    this.#enqueue(block)
    return block
  }

  #enqueue(block: Block): void {
    if (this.#tail === undefined) this.#head = block
    else this.#tail.next = block
    this.#tail = block
  }

  #pump(): void {
    const block = this.#head
    if (this.#current !== undefined || this.#isHeld) return
    if (block === undefined) {
      if (this.#isEnding && !this.#isStopped) this.#socket.end()
      return
    }
    if (this.#isStopped) {
      this.stop()
      return
    }
    this.#head = block.next
    if (this.#head === undefined) this.#tail = undefined
    this.#current = block
    this.#currentBytes = block.end - block.start
    this.#socket.write(block.used(), this.#onWritten)
  }

  readonly #onWritten = (): void => {
    const block = this.#current
    if (block === undefined) return
    this.#current = undefined
    this.#queued -= this.#currentBytes
    this.#control -= block.control
    block.release()
    if (this.#isStopped) return // a failed write is told by the socket's own events
    this.#pump()
    if (this.#queued <= this.#queueBytes / 2) this.#onRoom()
  }
}

/** Makes room for a header before each piece, moving the last piece first; the block has the room behind its payload. */
function splitInPlace(streamId: number, block: Block, maxFrameBytes: number): void {
  const { bytes, start, end } = block
  const pieces = Math.ceil((end - start) / maxFrameBytes)
  for (let i = pieces - 1; i >= 0; i--) {
    const from = start + i * maxFrameBytes
    const to = i === pieces - 1 ? end : from + maxFrameBytes
    const target = from + i * FRAME_HEADER_BYTES
    if (i > 0) bytes.copyWithin(target, from, to)
    writeFrameHeader(bytes, target - FRAME_HEADER_BYTES, to - from, FrameType.data, 0, streamId)
  }
  block.start = start - BLOCK_ROOM
  block.end = end + (pieces - 1) * FRAME_HEADER_BYTES
}
