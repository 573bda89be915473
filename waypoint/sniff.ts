// Finds out what a client speaks by its first bytes, without losing them: a channel that can be attached to again. A client
// that waits for the server to speak first is told apart by a deadline. Called by serve.ts.
import type { Channel, ChannelSink } from '../http/channel.ts'
import { detect } from '../http/detect.ts'
import type { Clock, Timer } from '../kit/clock.ts'
import type { MeshError } from '../kit/error.ts'

/** What a connection speaks. */
export type Spoken = 'http1' | 'http2' | 'tcp'

/** How it ends. */
export interface SniffHandlers {
  /** The verdict, and the channel to go on with, which delivers the first bytes again. */
  decided(spoken: Spoken, channel: Channel): void
  /** The client went before anything could be said. */
  gone(): void
}

/** Bytes that are looked at; no preface or request line that counts needs more. */
const MOST_BYTES = 8 * 1024

/**
 * Watches the first bytes of a channel.
 * @param handlers exactly one of them is called, once
 */
export function sniff(channel: Channel, options: { readonly clock: Clock; readonly timeoutMs: number }, handlers: SniffHandlers): void {
  const sniffer = new Sniffer(channel, handlers)
  sniffer.deadline = options.clock.after(options.timeoutMs, () => sniffer.decide('tcp'))
  channel.attach(sniffer)
}

class Sniffer implements Channel, ChannelSink {
  deadline: Timer | undefined
  readonly #channel: Channel
  readonly #handlers: SniffHandlers
  #sink: ChannelSink | undefined
  #isDecided = false
  #head: Buffer = Buffer.alloc(0)
  #hasEnded = false
  #closed: { readonly error: MeshError | undefined } | undefined

  constructor(channel: Channel, handlers: SniffHandlers) {
    this.#channel = channel
    this.#handlers = handlers
  }

  decide(spoken: Spoken): void {
    if (this.#isDecided) return
    this.#isDecided = true
    this.deadline?.[Symbol.dispose]()
    this.deadline = undefined
    this.#handlers.decided(spoken, this)
    if (this.#sink === undefined) this.#channel.pause() // whoever goes on with it is not ready yet
  }

  attach(sink: ChannelSink): void {
    this.#sink = sink
    const head = this.#head
    this.#head = Buffer.alloc(0)
    this.#channel.resume()
    if (head.length > 0) sink.onData(head)
    if (this.#hasEnded) sink.onEnd()
    if (this.#closed !== undefined) sink.onClosed(this.#closed.error)
  }

  write(bytes: Buffer): boolean {
    return this.#channel.write(bytes)
  }

  end(): void {
    this.#channel.end()
  }

  reset(): void {
    this.#channel.reset()
  }

  pause(): void {
    this.#channel.pause()
  }

  resume(): void {
    this.#channel.resume()
  }

  onData(chunk: Buffer): void {
    if (this.#sink !== undefined) {
      this.#sink.onData(chunk)
      return
    }
    this.#head = Buffer.concat([this.#head, chunk])
    if (this.#isDecided) return
    const verdict = detect(this.#head)
    if (verdict !== 'more') this.decide(verdict)
    else if (this.#head.length >= MOST_BYTES) this.decide('tcp')
  }

  onEnd(): void {
    this.#hasEnded = true
    if (this.#sink !== undefined) this.#sink.onEnd()
    else this.decide('tcp')
  }

  onWritable(): void {
    this.#sink?.onWritable()
  }

  onClosed(error: MeshError | undefined): void {
    this.deadline?.[Symbol.dispose]()
    this.#closed = { error }
    if (this.#isDecided) this.#sink?.onClosed(error)
    else {
      this.#isDecided = true
      this.#handlers.gone()
    }
  }
}
