// A channel of which the first bytes have been read already, for example to detect the protocol.
import type { MeshError } from '../kit/error.ts'
import type { Channel, ChannelSink } from './channel.ts'

/**
 * @param channel its sink was removed by its owner: whatever it delivers from `attach` on comes after `bytes`
 * @param bytes delivered first, not copied
 * @returns the channel as if nothing had been read
 */
export function prefixed(channel: Channel, bytes: Buffer): Channel {
  return bytes.length === 0 ? channel : new PrefixedChannel(channel, bytes)
}

class PrefixedChannel implements Channel, ChannelSink {
  readonly #channel: Channel
  /** Undefined once it was delivered. */
  #bytes: Buffer | undefined
  #sink: ChannelSink | undefined
  #isPaused = false
  #isClosed = false

  constructor(channel: Channel, bytes: Buffer) {
    this.#channel = channel
    this.#bytes = bytes
  }

  attach(sink: ChannelSink): void {
    this.#sink = sink
    // The far side may deliver within `attach`; the first bytes have to be out before that.
    this.#deliver()
    if (this.#isClosed) return
    this.#channel.attach(this)
    if (this.#isPaused) this.#channel.pause()
  }

  write(bytes: Buffer): boolean {
    return this.#channel.write(bytes)
  }

  end(): void {
    this.#channel.end()
  }

  reset(): void {
    this.#isClosed = true
    this.#channel.reset()
  }

  pause(): void {
    this.#isPaused = true
    this.#channel.pause()
  }

  resume(): void {
    this.#isPaused = false
    this.#channel.resume()
  }

  onData(chunk: Buffer): void {
    this.#sink?.onData(chunk)
  }

  onEnd(): void {
    this.#sink?.onEnd()
  }

  onWritable(): void {
    this.#sink?.onWritable()
  }

  onClosed(error: MeshError | undefined): void {
    this.#isClosed = true
    this.#sink?.onClosed(error)
  }

  #deliver(): void {
    const bytes = this.#bytes
    this.#bytes = undefined
    if (bytes !== undefined) this.#sink?.onData(bytes)
  }
}
