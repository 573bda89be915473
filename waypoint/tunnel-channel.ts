// An HBONE tunnel as the channel of an HTTP connection: credit goes back when the reader has taken the bytes, so that a
// paused reader slows the peer down by the stream's window. Called by door.ts (downstream) and dial.ts (upstream).
import { BLOCK_DATA_BYTES } from '../hbone/limits.ts'
import type { HboneTunnel, TunnelSink } from '../hbone/tunnel.ts'
import type { Channel, ChannelSink } from '../http/channel.ts'
import type { MeshError } from '../kit/error.ts'

/** @returns the tunnel as a channel; the tunnel is owned by it from here on. */
export function tunnelChannel(tunnel: HboneTunnel): Channel {
  return new TunnelChannel(tunnel)
}

class TunnelChannel implements Channel, TunnelSink {
  readonly #tunnel: HboneTunnel
  #sink: ChannelSink | undefined
  #isPaused = false
  /** Delivered while paused; credited by resume. */
  #owed = 0
  /** Set while the tunnel takes nothing; what is written meanwhile waits in order. */
  #isBlocked = false
  #waiting: Buffer[] = []
  #isEnding = false
  #isClosed = false

  constructor(tunnel: HboneTunnel) {
    this.#tunnel = tunnel
  }

  attach(sink: ChannelSink): void {
    this.#sink = sink
    this.#tunnel.attach(this)
  }

  write(bytes: Buffer): boolean {
    if (this.#isClosed || this.#isEnding || bytes.length === 0) return true
    if (this.#isBlocked) this.#waiting.push(Buffer.from(bytes))
    else this.#send(bytes)
    return !this.#isBlocked
  }

  end(): void {
    if (this.#isEnding || this.#isClosed) return
    this.#isEnding = true
    if (this.#waiting.length === 0) this.#tunnel.end()
  }

  reset(): void {
    this.#waiting = []
    this.#tunnel.reset()
  }

  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    this.#isPaused = false
    if (this.#owed === 0) return
    const owed = this.#owed
    this.#owed = 0
    this.#tunnel.credit(owed)
  }

  onData(chunk: Buffer): void {
    this.#sink?.onData(chunk)
    if (this.#isPaused) this.#owed += chunk.length
    else this.#tunnel.credit(chunk.length)
  }

  onEnd(): void {
    this.#sink?.onEnd()
  }

  onWritable(): void {
    this.#isBlocked = false
    const waiting = this.#waiting
    this.#waiting = []
    for (const [index, bytes] of waiting.entries()) {
      this.#send(bytes)
      if (!this.#isBlocked) continue
      this.#waiting.push(...waiting.slice(index + 1))
      return
    }
    if (this.#isEnding) this.#tunnel.end()
    else this.#sink?.onWritable()
  }

  onClosed(error: MeshError | undefined): void {
    this.#isClosed = true
    this.#waiting = []
    this.resume() // what a paused reader got counts against the connection's window
    this.#sink?.onClosed(error)
  }

  /** One piece is what a block holds; after a refusal the rest waits. */
  #send(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; at += BLOCK_DATA_BYTES) {
      const piece = bytes.subarray(at, at + BLOCK_DATA_BYTES)
      this.#isBlocked = !this.#tunnel.sendBytes(piece, piece.length)
      if (!this.#isBlocked) continue
      const rest = bytes.subarray(at + piece.length)
      if (rest.length > 0) this.#waiting.push(Buffer.from(rest))
      return
    }
  }
}
