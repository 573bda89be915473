// A plain socket as a channel: endpoints that are outside the mesh, listeners without a tunnel, tests.
import type { Socket } from 'node:net'
import type { MeshError } from '../kit/error.ts'
import { resetSocket } from '../kit/reset-socket.ts'
import { readShared } from '../kit/shared-read.ts'
import type { Channel, ChannelSink } from './channel.ts'
import { httpFailure } from './errors.ts'

/**
 * @param socket made with `allowHalfOpen`, connected or connecting; owned by the channel from now on
 * @returns the socket as a channel; a failure of the socket closes it with CHANNEL_FAILED
 */
export function socketChannel(socket: Socket): Channel {
  return new SocketChannel(socket)
}

class SocketChannel implements Channel {
  readonly #socket: Socket
  #error: MeshError | undefined
  #isClosed = false

  constructor(socket: Socket) {
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('error', (cause) => {
      this.#error ??= httpFailure('CHANNEL_FAILED', {}, cause)
    })
  }

  attach(sink: ChannelSink): void {
    const socket = this.#socket
    readShared(socket, (chunk) => {
      if (!this.#isClosed) sink.onData(chunk)
    })
    socket.on('end', () => this.#isClosed || sink.onEnd())
    socket.on('drain', () => this.#isClosed || sink.onWritable())
    socket.on('close', () => {
      if (this.#isClosed) return
      this.#isClosed = true
      const isWhole = socket.readableEnded && socket.writableFinished
      sink.onClosed(isWhole ? undefined : (this.#error ?? httpFailure('CHANNEL_FAILED')))
    })
  }

  write(bytes: Buffer): boolean {
    if (this.#isClosed || !this.#socket.writable) return true
    return this.#socket.write(Buffer.from(bytes))
  }

  end(): void {
    if (!this.#isClosed) this.#socket.end()
  }

  reset(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    resetSocket(this.#socket)
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    if (!this.#isClosed) this.#socket.resume()
  }
}
