// Two ends of one connection in memory, as channels: bounded like a carrier with flow control, so that back-pressure can be
// counted in bytes. Bytes move in turns of the event loop, as they do on sockets.
import type { Channel, ChannelSink } from '../../http/channel.ts'
import { MeshError } from '../../kit/error.ts'

const RESET = { source: 'upstream', retry: 'no', message: 'the far end reset the channel' } as const

/** One end, with what it knows for assertions. */
export interface PairEnd extends Channel {
  /** Bytes on their way to this end. */
  readonly waiting: number
  /** The most bytes that ever were. */
  readonly mostWaiting: number
  /** Bytes delivered to this end's sink. */
  readonly delivered: number
  /** This end is closed: by a reset of either side, or both halves have ended. */
  readonly isClosed: boolean
}

/**
 * @param windowBytes bytes on their way in one direction at which `write` answers false
 * @returns both ends
 */
export function channelPair(windowBytes = 256 * 1024): [PairEnd, PairEnd] {
  const left = new End(windowBytes)
  const right = new End(windowBytes)
  left.peer = right
  right.peer = left
  return [left, right]
}

class End implements PairEnd {
  peer: End | undefined
  waiting = 0
  mostWaiting = 0
  delivered = 0
  isClosed = false
  readonly #windowBytes: number
  #sink: ChannelSink | undefined
  #inbox: Buffer[] = []
  #isPaused = false
  #isScheduled = false
  #peerEnded = false
  #peerEndTold = false
  #ended = false
  #wroteTooMuch = false

  constructor(windowBytes: number) {
    this.#windowBytes = windowBytes
  }

  attach(sink: ChannelSink): void {
    if (this.#sink !== undefined) throw new Error('attached twice')
    this.#sink = sink
    this.#schedule()
  }

  write(bytes: Buffer): boolean {
    if (this.isClosed || this.#ended) return true
    this.peer?.take(Buffer.from(bytes))
    this.#wroteTooMuch = (this.peer?.waiting ?? 0) >= this.#windowBytes
    return !this.#wroteTooMuch
  }

  end(): void {
    if (this.isClosed || this.#ended) return
    this.#ended = true
    this.peer?.takeEnd()
    this.#closeInOrder()
  }

  reset(): void {
    if (this.isClosed) return
    this.close(undefined)
    setImmediate(() => this.peer?.close(new MeshError('CHANNEL_RESET', RESET)))
  }

  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    this.#isPaused = false
    this.#schedule()
  }

  take(bytes: Buffer): void {
    if (this.isClosed) return
    this.#inbox.push(bytes)
    this.waiting += bytes.length
    this.mostWaiting = Math.max(this.mostWaiting, this.waiting)
    this.#schedule()
  }

  takeEnd(): void {
    this.#peerEnded = true
    this.#schedule()
  }

  close(error: MeshError | undefined): void {
    if (this.isClosed) return
    this.isClosed = true
    this.#inbox = []
    this.waiting = 0
    this.#sink?.onClosed(error)
  }

  #schedule(): void {
    if (this.#isScheduled || this.isClosed) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      this.#deliver()
    })
  }

  #deliver(): void {
    while (this.#sink !== undefined && !this.#isPaused && !this.isClosed) {
      const next = this.#inbox.shift()
      if (next === undefined) break
      this.waiting -= next.length
      this.delivered += next.length
      this.#sink.onData(next)
      next.fill(0xee) // valid during the call only
    }
    if (this.waiting < this.#windowBytes) this.peer?.writable()
    if (this.#inbox.length > 0 || !this.#peerEnded || this.#peerEndTold || this.#sink === undefined || this.isClosed) return
    this.#peerEndTold = true
    this.#sink.onEnd()
    this.#closeInOrder()
  }

  writable(): void {
    if (!this.#wroteTooMuch || this.isClosed) return
    this.#wroteTooMuch = false
    this.#sink?.onWritable()
  }

  #closeInOrder(): void {
    if (this.#ended && this.#peerEndTold) setImmediate(() => this.close(undefined))
  }
}
