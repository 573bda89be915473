// A tunnel as a Node stream: for TLS inside a tunnel, for parsers of streams, and for tests. The splices do not use it.
import { Duplex } from 'node:stream'
import type { MeshError } from '../kit/error.ts'
import { hboneFailure } from './errors.ts'
import { BLOCK_DATA_BYTES } from './limits.ts'
import type { HboneTunnel, TunnelSink } from './tunnel.ts'

/** @returns the tunnel as a half-open Duplex; destroying it resets the tunnel, a reset tunnel emits the MeshError. */
export function duplexOf(tunnel: HboneTunnel): Duplex {
  return new TunnelDuplex(tunnel)
}

class TunnelDuplex extends Duplex implements TunnelSink {
  readonly #tunnel: HboneTunnel
  /** Received bytes that Readable has and the reader has not. */
  #unread = 0
  /** The rest of a write that waits for onWritable. */
  #rest: Buffer | undefined
  #done: ((error?: Error | null) => void) | undefined

  constructor(tunnel: HboneTunnel) {
    super({ allowHalfOpen: true, autoDestroy: true })
    this.#tunnel = tunnel
    tunnel.attach(this)
  }

  onData(chunk: Buffer): void {
    this.#unread += chunk.length
    this.push(Buffer.from(chunk))
    this.#credit()
  }

  onEnd(): void {
    this.push(null)
  }

  onWritable(): void {
    this.#go()
  }

  onClosed(error: MeshError | undefined): void {
    if (error !== undefined) this.destroy(error)
    else this.#go() // a server that wants no more: what waits is dropped
  }

  override _read(): void {
    this.#credit()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#rest = chunk
    this.#done = done
    this.#go()
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#tunnel.end()
    done()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#done?.(error ?? hboneFailure('ABORTED'))
    this.#done = undefined
    if (error !== null || !this.readableEnded || !this.writableFinished) this.#tunnel.reset()
    done(error)
  }

  #credit(): void {
    const read = this.#unread - this.readableLength
    this.#unread = this.readableLength
    if (read > 0) this.#tunnel.credit(read)
  }

  #go(): void {
    while (this.#rest !== undefined) {
      const piece = this.#rest.subarray(0, BLOCK_DATA_BYTES)
      this.#rest = piece.length < this.#rest.length ? this.#rest.subarray(piece.length) : undefined
      if (piece.length > 0 && !this.#tunnel.sendBytes(piece, piece.length)) return
    }
    const done = this.#done
    this.#done = undefined
    done?.()
  }
}
