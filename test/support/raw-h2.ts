// A peer that writes any frame it likes and records what comes back: the attacker of the HTTP/2 tests.
import type tls from 'node:tls'
import { CLIENT_PREFACE, encodeFrame, FrameDecoder, FrameType } from '../../hbone/frame.ts'
import { encodeHeaders } from '../../hbone/hpack.ts'
import type { HeaderField } from '../../hbone/hpack-table.ts'

/** One frame that came back. */
export interface SeenFrame {
  readonly type: number
  readonly flags: number
  readonly streamId: number
  readonly payload: Buffer
}

/** The raw end of a connection. */
export class RawPeer {
  readonly frames: SeenFrame[] = []
  readonly socket: tls.TLSSocket
  isEnded = false
  #waiting: (() => void)[] = []
  #data: Buffer[] = []

  constructor(socket: tls.TLSSocket) {
    this.socket = socket
    const decoder = new FrameDecoder(
      {
        onDataStart: () => true,
        onDataBytes: (bytes) => this.#data.push(bytes),
        onDataEnd: (streamId, flags) => {
          this.#see({ type: FrameType.data, flags, streamId, payload: Buffer.concat(this.#data) })
          this.#data = []
        },
        onFrame: (type, flags, streamId, payload) => this.#see({ type, flags, streamId, payload: Buffer.from(payload) }),
        onFault: (_code, reason) => {
          throw new Error(`our side sent a bad frame: ${reason}`)
        },
      },
      1 << 24,
    )
    let skipped = 0
    socket.on('data', (chunk: Buffer) => {
      const isClient = chunk.subarray(0, 3).equals(CLIENT_PREFACE.subarray(0, 3)) && skipped === 0
      skipped = 1
      decoder.push(isClient ? chunk.subarray(CLIENT_PREFACE.length) : chunk)
    })
    socket.on('error', () => this.#end())
    socket.on('end', () => this.#end())
    socket.on('close', () => this.#end())
  }

  send(...frames: readonly Buffer[]): void {
    if (!this.socket.destroyed && !this.isEnded) this.socket.write(Buffer.concat(frames))
  }

  /** @returns the first frame of that type (and stream), waiting for it; undefined when the connection ends first. */
  async frame(type: number, streamId?: number, test: (frame: SeenFrame) => boolean = () => true): Promise<SeenFrame | undefined> {
    return this.#first((one) => one.type === type && (streamId === undefined || one.streamId === streamId) && test(one))
  }

  async #first(test: (frame: SeenFrame) => boolean): Promise<SeenFrame | undefined> {
    while (true) {
      const found = this.frames.find(test)
      if (found !== undefined || this.isEnded) return found
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
  }

  /** @returns the error code of the GOAWAY that ends the connection, or `closed` without one. */
  async goAway(): Promise<number | 'closed'> {
    const frame = await this.frame(FrameType.goAway)
    return frame === undefined ? 'closed' : frame.payload.readUInt32BE(4)
  }

  /** @returns the error code of the RST_STREAM of that stream. */
  async reset(streamId: number): Promise<number | 'closed'> {
    return (await this.frame(FrameType.rstStream, streamId))?.payload.readUInt32BE(0) ?? 'closed'
  }

  /** @returns `:status` of the answer to a CONNECT (as our encoder writes it), or `reset`, or `closed`. */
  async answer(streamId: number): Promise<string> {
    const isAnswer = (frame: SeenFrame): boolean =>
      frame.streamId === streamId && (frame.type === FrameType.headers || frame.type === FrameType.rstStream)
    const frame = await this.#first(isAnswer)
    if (frame === undefined) return 'closed'
    if (frame.type === FrameType.rstStream) return 'reset'
    const statuses = ['200', '400', '401', '431', '503']
    return statuses.find((status) => encodeHeaders([[':status', status]]).equals(frame.payload)) ?? frame.payload.toString('hex')
  }

  #see(frame: SeenFrame): void {
    this.frames.push(frame)
    this.#wake()
  }

  #end(): void {
    this.isEnded = true
    this.#wake()
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const wake of waiting) wake()
  }
}

/** HEADERS with END_HEADERS. */
export function headers(streamId: number, fields: readonly HeaderField[], flags = 0): Buffer {
  return encodeFrame(FrameType.headers, 0x4 | flags, streamId, encodeHeaders(fields))
}

/** A good CONNECT. */
export function connect(streamId: number, more: readonly HeaderField[] = []): Buffer {
  return headers(streamId, [[':method', 'CONNECT'], [':authority', '10.0.0.2:80'], ...more])
}

/** A frame with a 32-bit payload (RST_STREAM, WINDOW_UPDATE). */
export function word(type: number, streamId: number, value: number): Buffer {
  const payload = Buffer.alloc(4)
  payload.writeUInt32BE(value)
  return encodeFrame(type, 0, streamId, payload)
}

/** SETTINGS of `id, value` pairs. */
export function settings(...pairs: readonly number[]): Buffer {
  const payload = Buffer.alloc(pairs.length * 3)
  for (let i = 0; i < pairs.length; i += 2) {
    payload.writeUInt16BE(pairs[i] ?? 0, i * 3)
    payload.writeUInt32BE(pairs[i + 1] ?? 0, i * 3 + 2)
  }
  return encodeFrame(FrameType.settings, 0, 0, payload)
}

/** DATA of zeros. */
export function data(streamId: number, bytes: number, flags = 0): Buffer {
  return encodeFrame(FrameType.data, flags, streamId, Buffer.alloc(bytes))
}

/** The same frame many times, in one write. */
export function repeat(frame: Buffer, times: number): Buffer {
  return Buffer.concat(Array.from({ length: times }, () => frame))
}

/** The first stream ids of a client: 1, 3, 5 … */
export function ids(count: number): number[] {
  return Array.from({ length: count }, (_, index) => 1 + 2 * index)
}
