// A channel as a Node stream, for node:http2 (which takes a Duplex) and for tests. Reads push the carrier's window back through
// pause and resume; writes are taken into a bounded queue, because an HTTP/2 session of Node does not read while a write waits:
// two such sessions, each waiting for the other to read, would stand still for ever.
import { Duplex } from 'node:stream'
import type { MeshError } from '../kit/error.ts'
import type { Channel, ChannelSink } from './channel.ts'

/** Written bytes that are taken although the channel is full: more than both ends' HTTP/2 windows let anybody send at once. */
export const WRITE_QUEUE_BYTES = 4 * 1024 * 1024

/** Received bytes at which the channel is paused. */
const READ_BUFFER_BYTES = 64 * 1024

/** Small pieces (frame headers) are written together up to this size. */
const JOIN_BYTES = 64 * 1024
/** Pieces are put together here: channels copy within the call. Buffers of their own are what full collections come from. */
const scratch = Buffer.allocUnsafeSlow(JOIN_BYTES)

/** Sees the bytes that pass. */
export interface ByteTap {
  /** @returns false = drop this chunk, and slow the peer down from now on: the connection is being ended */
  received(chunk: Buffer): boolean
  sent(bytes: number): void
}

/**
 * @param tap sees what comes before the reader does, and what goes. With one, a chunk is the reader's within the call only, as long as
 *   it flows (node:http2 copies at once); without one, it is the reader's own
 * @returns the channel as a half-open Duplex; destroying it resets the channel, a broken channel emits its MeshError.
 */
export function channelDuplex(channel: Channel, tap?: ByteTap): Duplex {
  return new ChannelDuplex(channel, tap)
}

class ChannelDuplex extends Duplex implements ChannelSink {
  readonly #channel: Channel
  readonly #tap: ByteTap | undefined
  /** Written and not yet given to the channel; only while #isFull. */
  #queue: Buffer[] = []
  #queuedBytes = 0
  /** `write` returned false and onWritable has not come since. */
  #isFull = false
  /** Asked to deliver no more; cleared by _read. */
  #isPaused = false
  /** Within _read: what comes now is not asked for yet. */
  #isReading = false
  #isClosed = false
  /** A write that waits for room in the queue. */
  #done: (() => void) | undefined
  /** The end of our half, which waits for the queue to empty. */
  #finish: (() => void) | undefined

  constructor(channel: Channel, tap: ByteTap | undefined) {
    super({ allowHalfOpen: true, autoDestroy: true, readableHighWaterMark: READ_BUFFER_BYTES })
    this.#channel = channel
    this.#tap = tap
    channel.attach(this)
  }

  onData(chunk: Buffer): void {
    if (this.destroyed) return
    if (this.#tap?.received(chunk) === false) {
      this.#channel.pause() // for good: a flood is not read until the connection is gone
      return
    }
    if (this.#isTakenAtOnce) this.emit('data', chunk)
    else if (!this.push(Buffer.from(chunk)) && !this.#isPaused) this.#hold()
  }

  /** The reader flows, nothing waits before this, and it keeps no chunk: then `push` would do the same, with a copy. */
  get #isTakenAtOnce(): boolean {
    return this.#tap !== undefined && this.readableFlowing === true && this.readableLength === 0 && !this.#isReading
  }

  #hold(): void {
    this.#isPaused = true
    this.#channel.pause()
  }

  onEnd(): void {
    this.push(null)
  }

  onWritable(): void {
    this.#isFull = false
    this.#flush()
  }

  onClosed(error: MeshError | undefined): void {
    this.#isClosed = true
    if (error !== undefined) this.destroy(error)
    else this.#flush() // both halves have ended: nobody takes what waits
  }

  override _read(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    this.#isReading = true
    this.#channel.resume()
    this.#isReading = false
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#take(chunk)
    this.#taken(done)
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    let bytes = 0
    for (const { chunk } of chunks) {
      if (bytes + chunk.length > JOIN_BYTES) {
        this.#take(scratch.subarray(0, bytes))
        bytes = 0
      }
      if (chunk.length > JOIN_BYTES) this.#take(chunk)
      else bytes += chunk.copy(scratch, bytes)
    }
    this.#take(scratch.subarray(0, bytes))
    this.#taken(done)
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#finish = () => {
      this.#channel.end()
      done()
    }
    this.#flush()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#queue = []
    this.#queuedBytes = 0
    if (!this.#isClosed && !(this.readableEnded && this.writableFinished)) this.#channel.reset()
    this.#isClosed = true
    this.#flush()
    done(error)
  }

  /** @param bytes valid during the call only */
  #take(bytes: Buffer): void {
    if (this.#isClosed || bytes.length === 0) return
    this.#tap?.sent(bytes.length)
    if (this.#isFull) {
      this.#queue.push(Buffer.from(bytes))
      this.#queuedBytes += bytes.length
    } else this.#isFull = !this.#channel.write(bytes)
  }

  #taken(done: () => void): void {
    if (this.#queuedBytes < WRITE_QUEUE_BYTES) done()
    else this.#done = done
  }

  #flush(): void {
    while (!this.#isFull && !this.#isClosed) {
      const next = this.#queue.shift()
      if (next === undefined) break
      this.#queuedBytes -= next.length
      this.#isFull = !this.#channel.write(next)
    }
    if (this.#isClosed) {
      this.#queue = []
      this.#queuedBytes = 0
    }
    if (this.#queuedBytes < WRITE_QUEUE_BYTES) this.#release()
  }

  #release(): void {
    const done = this.#done
    this.#done = undefined
    done?.()
    if (this.#queue.length > 0) return
    const finish = this.#finish
    this.#finish = undefined
    finish?.()
  }
}
