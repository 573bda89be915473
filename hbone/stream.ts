// One HTTP/2 stream that carries a CONNECT: its two windows, its halves, what waits to be sent. Owned by Http2Connection.
import type { MeshError } from '../kit/error.ts'
import type { AbuseMeter } from './abuse.ts'
import { BLOCK_ROOM, type Block, takeBlock } from './block.ts'
import { ChunkQueue } from './chunk-queue.ts'
import { H2Error, h2ErrorName, hboneFailure } from './errors.ts'
import { Flag, FrameType, MAX_WINDOW } from './frame.ts'
import type { HeldBytes } from './held.ts'
import type { HeaderField } from './hpack-table.ts'
import { type HboneLimits, STREAM_CREDIT_SHARE } from './limits.ts'
import type { PeerSettings } from './peer-settings.ts'
import type { HboneTunnel, TunnelSink } from './tunnel.ts'
import type { FrameWriter } from './writer.ts'

/** What a stream uses of its connection. */
export interface StreamHost {
  readonly writer: FrameWriter
  readonly meter: AbuseMeter
  readonly limits: HboneLimits
  readonly peer: PeerSettings
  readonly held: HeldBytes
  /** Bytes that the peer lets us send on all streams. */
  sendWindow: number
  /** Streams that wait for the connection's window or for room in the writer. */
  readonly waiting: Set<Stream>
  /** Bytes of the connection's window were consumed. */
  returnCredit(bytes: number): void
  windowUpdate(streamId: number, bytes: number): void
  sendReset(streamId: number, code: number): void
  /** The stream is closed; `isReset` = by either side's RST_STREAM. */
  streamClosed(stream: Stream, isReset: boolean): void
}

/** Takes the head that a client's stream waits for; replaced by nothing once the final head came. */
export type HeadSink = (fields: readonly HeaderField[], isTooLarge: boolean, isEnd: boolean) => void

const SMALL_DATA_BYTES = 16384 // copied into a shared block; also the smallest SETTINGS_MAX_FRAME_SIZE there is
const EMPTY = Buffer.alloc(0)

/** A stream; the tunnel interface is for users, the `take…` methods are the connection's. */
export class Stream implements HboneTunnel {
  readonly id: number
  readonly openedAt: number
  responseHeaders: Readonly<Record<string, string>> = {}
  /** Set while a client's stream waits for its response. */
  headSink: HeadSink | undefined
  /** Called once when the stream closes before a tunnel was made of it; then undefined. */
  onFailed: ((error: MeshError) => void) | undefined
  /** DATA may come: the 200 was sent or received. */
  isTunnel = false
  isRemoteEnded = false
  isClosed = false
  readonly #host: StreamHost
  #sendWindow: number
  #receiveWindow: number
  /** Received and not yet credited. */
  #held = 0
  #sink: TunnelSink | undefined
  #inbox: ChunkQueue | undefined
  /** The rest of a block that windows or the writer did not let through. */
  #pending: Block | undefined
  /** The sink was told false and waits for onWritable. */
  #isWaiting = false
  #isEnding = false
  #isLocalEnded = false
  #closedWith: MeshError | undefined
  #closed: PromiseWithResolvers<MeshError | undefined> | undefined

  constructor(id: number, host: StreamHost, openedAt: number) {
    this.id = id
    this.openedAt = openedAt
    this.#host = host
    this.#sendWindow = host.peer.initialWindowBytes
    this.#receiveWindow = host.limits.streamWindowBytes
  }

  get closed(): Promise<MeshError | undefined> {
    this.#closed ??= Promise.withResolvers()
    if (this.isClosed) this.#closed.resolve(this.#closedWith)
    return this.#closed.promise
  }

  attach(sink: TunnelSink): void {
    if (this.#sink !== undefined) throw new TypeError('a tunnel has one sink')
    this.#sink = sink
    const inbox = this.#inbox
    this.#inbox = undefined
    if (inbox !== undefined) for (const chunk of inbox.take()) sink.onData(chunk)
    if (this.isRemoteEnded && this.#closedWith === undefined) sink.onEnd()
    if (this.isClosed) sink.onClosed(this.#closedWith)
  }

  sendBlock(block: Block, length: number): boolean {
    if (this.isClosed || this.#isEnding || length === 0) {
      block.release()
      return true
    }
    block.start = BLOCK_ROOM
    block.end = BLOCK_ROOM + length
    this.#pending = block
    return this.#flush()
  }

  sendBytes(bytes: Buffer, length: number): boolean {
    const host = this.#host
    const isFree = length <= this.#sendWindow && length <= host.sendWindow && !host.writer.isFull
    if (isFree && length <= SMALL_DATA_BYTES && !this.isClosed && !this.#isEnding && length > 0) {
      this.#spend(length)
      host.writer.smallData(this.id, bytes, length)
      return this.#mayGoOn()
    }
    const block = takeBlock()
    bytes.copy(block.bytes, BLOCK_ROOM, 0, length)
    return this.sendBlock(block, length)
  }

  end(): void {
    if (this.#isEnding || this.isClosed) return
    this.#isEnding = true
    if (this.#pending === undefined) this.#sendEnd()
  }

  reset(code: number = H2Error.cancel): void {
    if (this.isClosed) {
      this.#dropHeld()
      return
    }
    this.#host.sendReset(this.id, code)
    this.close(hboneFailure('ABORTED', { h2: h2ErrorName(code) }), true)
  }

  credit(bytes: number): void {
    const taken = Math.min(bytes, this.#held)
    this.#held -= taken
    this.#host.held.add(-taken)
    this.#host.returnCredit(taken)
    if (this.isClosed || this.isRemoteEnded) return
    const target = this.#host.held.windowFor(this.#host.limits.streamWindowBytes)
    const step = target - this.#held - this.#receiveWindow
    if (step * STREAM_CREDIT_SHARE < target) return
    this.#receiveWindow += step
    this.#host.windowUpdate(this.id, step)
  }

  /** DATA of `length` bytes begins. @returns false = the peer overran the window */
  takeWindow(length: number): boolean {
    this.#receiveWindow -= length
    return this.#receiveWindow >= 0
  }

  /** Bytes of that DATA; `padding` counts like bytes that were read at once. */
  takeData(chunk: Buffer): void {
    if (this.isClosed) {
      this.#host.returnCredit(chunk.length)
      return
    }
    this.#held += chunk.length
    this.#host.held.add(chunk.length)
    if (this.#sink !== undefined) this.#sink.onData(chunk)
    else {
      this.#inbox ??= new ChunkQueue()
      this.#inbox.push(Buffer.from(chunk))
    }
  }

  /** Padding and its length byte. */
  takePadding(bytes: number): void {
    this.#held += bytes
    this.#host.held.add(bytes)
    this.credit(bytes)
  }

  takeEnd(): void {
    if (this.isRemoteEnded || this.isClosed) return
    this.isRemoteEnded = true
    this.#sink?.onEnd()
    if (this.#isLocalEnded) this.close(undefined, false)
  }

  /** @returns false = the window overflows: a stream error */
  takeWindowUpdate(bytes: number): boolean {
    this.#sendWindow += bytes
    if (this.#sendWindow > MAX_WINDOW) return false
    this.resume()
    return true
  }

  /** Something that this stream waited for may be there. */
  resume(): void {
    if (!this.#isWaiting || this.isClosed || !this.#flush()) return
    this.#sink?.onWritable()
  }

  /** Ends it without a frame. The first call counts. */
  close(error: MeshError | undefined, isReset: boolean): void {
    if (this.isClosed) return
    this.isClosed = true
    this.#closedWith = error
    this.#pending?.release()
    this.#pending = undefined
    this.#host.waiting.delete(this)
    if (error !== undefined) {
      this.#inbox = undefined
      this.#dropHeld()
    }
    this.#host.streamClosed(this, isReset)
    const onFailed = this.onFailed
    this.onFailed = undefined
    this.headSink = undefined
    onFailed?.(error ?? hboneFailure('STREAM_RESET', { h2: 'ended without a response' }))
    this.#closed?.resolve(error)
    this.#sink?.onClosed(error)
  }

  #dropHeld(): void {
    const held = this.#held
    this.#held = 0
    this.#host.held.add(-held)
    this.#host.returnCredit(held)
  }

  #spend(bytes: number): void {
    this.#sendWindow -= bytes
    this.#host.sendWindow -= bytes
    this.#host.meter.sent(bytes)
  }

  /** Sends what windows and the writer allow. @returns whether the sink may send more at once */
  #flush(): boolean {
    const block = this.#pending
    if (block === undefined) return this.#mayGoOn()
    const host = this.#host
    const bytes = block.end - block.start
    const allowed = host.writer.isFull ? 0 : Math.min(bytes, this.#sendWindow, host.sendWindow)
    if (allowed === bytes) this.#pending = undefined
    if (allowed > 0) {
      this.#spend(allowed)
      host.writer.data(
        this.id,
        allowed === bytes ? block : takePart(block, allowed),
        Math.min(host.peer.maxFrameBytes, host.limits.maxFrameBytes),
      )
    }
    if (allowed < bytes) {
      this.#isWaiting = true
      if (this.#sendWindow > 0) host.waiting.add(this)
      return false
    }
    if (this.#isEnding) this.#sendEnd()
    return this.#mayGoOn()
  }

  #mayGoOn(): boolean {
    this.#isWaiting = this.#host.writer.isFull
    if (this.#isWaiting) this.#host.waiting.add(this)
    return !this.#isWaiting
  }

  #sendEnd(): void {
    if (this.#isLocalEnded) return
    this.#isLocalEnded = true
    this.#host.writer.control(FrameType.data, Flag.endStream, this.id, EMPTY)
    if (this.isRemoteEnded) this.close(undefined, false)
  }
}

/** Moves the first bytes of a block into another one: the header of the rest will overwrite their end. */
function takePart(block: Block, bytes: number): Block {
  const part = takeBlock()
  block.bytes.copy(part.bytes, BLOCK_ROOM, block.start, block.start + bytes)
  part.start = BLOCK_ROOM
  part.end = BLOCK_ROOM + bytes
  block.start += bytes
  return part
}
