// A port of a pod as a byte stream, over the channels of a port-forward web socket: 0 carries the bytes, 1 an error as text; the
// first message of each names the port.
import { Duplex } from 'node:stream'
import { objectFailure } from '../../objects/errors.ts'
import type { ChannelSocket } from './access.ts'

const DATA = 0
const FAULT = 1
const PORT_BYTES = 2

/** Ends when the pod's side ends; destroyed with the socket. */
export class PodPort extends Duplex {
  #socket: ChannelSocket | undefined
  readonly #hasBegun = new Set<number>()

  /** Joins it with an open socket. Called once. */
  connect(socket: ChannelSocket): void {
    this.#socket = socket
    socket.addEventListener('close', () => {
      if (!this.readableEnded) this.push(null)
    })
  }

  /** One message of the socket. @returns false = close the socket */
  receive(channel: number, data: Buffer): boolean {
    const bytes = this.#hasBegun.has(channel) ? data : data.subarray(PORT_BYTES)
    this.#hasBegun.add(channel)
    if (bytes.length === 0) return true
    if (channel === DATA) {
      if (!this.push(bytes)) this.#socket?.pause?.()
      return true
    }
    if (channel !== FAULT) return true
    this.destroy(objectFailure('API_FAILED', { what: bytes.toString('utf8', 0, 500).trim() }))
    return false
  }

  // What http.request asks of a connection, and what has no meaning here.
  setKeepAlive(): this {
    return this
  }
  setNoDelay(): this {
    return this
  }
  setTimeout(): this {
    return this
  }
  ref(): this {
    return this
  }
  unref(): this {
    return this
  }

  [Symbol.dispose](): void {
    this.destroy()
  }

  override _read(): void {
    this.#socket?.resume?.()
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.#socket?.send(Buffer.concat([Buffer.of(DATA), chunk]))
    done()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#socket?.close()
    done(error)
  }
}
