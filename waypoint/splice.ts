// Bytes between two channels: an end is passed on as an end, a reset as a reset, and neither side is read faster than the other
// takes it. Called by tcp.ts.
import type { Channel, ChannelSink } from '../http/channel.ts'
import type { MeshError } from '../kit/error.ts'

/** Updated while bytes flow. */
export interface SpliceCounters {
  fromA: number
  fromB: number
}

/** How it ended: `both` = each direction by its own end, else which side failed first. */
export interface ChannelSpliceEnd {
  readonly by: 'both' | 'a' | 'b'
  readonly error: MeshError | undefined
}

/**
 * Carries bytes both ways until both directions have ended or either side failed; owns both from here on.
 * @returns how it ended; never rejects
 */
export function spliceChannels(a: Channel, b: Channel, counters: SpliceCounters): Promise<ChannelSpliceEnd> {
  const { promise, resolve } = Promise.withResolvers<ChannelSpliceEnd>()
  let open = 2
  const closed = (by: 'a' | 'b', other: Channel, error: MeshError | undefined): void => {
    open--
    if (error === undefined && open > 0) return
    resolve({ by: error === undefined ? 'both' : by, error })
    if (error !== undefined) other.reset()
  }
  // B first: nothing of A is taken before there is somebody to give it to.
  b.attach(
    new Copy(
      b,
      a,
      (bytes) => {
        counters.fromB += bytes
      },
      (error) => closed('b', a, error),
    ),
  )
  a.attach(
    new Copy(
      a,
      b,
      (bytes) => {
        counters.fromA += bytes
      },
      (error) => closed('a', b, error),
    ),
  )
  return promise
}

/** Out of one channel, into the other. */
class Copy implements ChannelSink {
  readonly #from: Channel
  readonly #to: Channel
  readonly #count: (bytes: number) => void
  readonly #closed: (error: MeshError | undefined) => void

  constructor(from: Channel, to: Channel, count: (bytes: number) => void, closed: (error: MeshError | undefined) => void) {
    this.#from = from
    this.#to = to
    this.#count = count
    this.#closed = closed
  }

  onData(chunk: Buffer): void {
    this.#count(chunk.length)
    if (!this.#to.write(chunk)) this.#from.pause()
  }

  onEnd(): void {
    this.#to.end()
  }

  /** We may write into `from` again: the other direction goes on. */
  onWritable(): void {
    this.#to.resume()
  }

  onClosed(error: MeshError | undefined): void {
    this.#closed(error)
  }
}
