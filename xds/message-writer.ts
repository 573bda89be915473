// Writes gRPC messages to a call in pieces, each when the one before has gone to the socket. grpc-js copies every message whole for
// every client; at 17 MB for 100 clients that is what the process would be made of. So the pieces go to the HTTP/2 stream under the call.
import type { ServerHttp2Stream } from 'node:http2'
import { Metadata, type ServerDuplexStream } from '@grpc/grpc-js'
import type { PiecePool } from './encode-push.ts'

type Call = ServerDuplexStream<Buffer, Buffer>

interface Message {
  readonly pieces: Iterator<Buffer, undefined>
  /** Called when the last piece has been handed over. */
  readonly done: () => void
}

const PREFIX_BYTES = 5

/**
 * The only writer of a call: one piece at a time, whatever the stream has room for. Node makes a connection's TLS buffer as large as
 * what it was given at once (64 KiB of them) and keeps it as long as the connection. What has not been written when the call ends is dropped,
 * and `done` is not called.
 */
export class MessageWriter {
  readonly #call: Call
  readonly #stream: ServerHttp2Stream | undefined
  readonly #pool: PiecePool
  readonly #queue: Message[] = []
  #isWaiting = false
  #hasBegun = false

  constructor(call: Call, pool: PiecePool) {
    this.#call = call
    this.#pool = pool
    this.#stream = streamOf(call)
  }

  /** @param pieces one message with gRPC's prefix */
  write(pieces: Iterator<Buffer, undefined>, done: () => void): void {
    this.#queue.push({ pieces, done })
    if (!this.#isWaiting) this.#pump()
  }

  #pump(): void {
    for (let message = this.#queue[0]; message !== undefined; message = this.#queue[0]) {
      const piece = message.pieces.next().value
      if (piece === undefined) {
        this.#queue.shift()
        message.done()
        if (this.#isWaiting) return // `done` has written more
      } else if (!this.#writePiece(piece, message)) return
    }
  }

  /** @returns whether more can be written now */
  #writePiece(piece: Buffer, { pieces }: Message): boolean {
    const stream = this.#stream
    if (stream === undefined) {
      this.#call.write(wholeOf(piece, pieces))
      return true
    }
    if (stream.destroyed || stream.closed) return false
    if (!this.#hasBegun) this.#call.sendMetadata(new Metadata())
    this.#hasBegun = true
    this.#isWaiting = true
    stream.write(piece, (error) => {
      // After a failure the session may still hold the piece: then it is left to the garbage collector.
      if (error !== undefined && error !== null) return
      this.#pool.give(piece)
      this.#isWaiting = false
      this.#pump()
    })
    return false
  }
}

/** grpc-js keeps the stream to itself; where it is not found, messages are written whole. */
function streamOf(call: Call): ServerHttp2Stream | undefined {
  const inner: unknown = Reflect.get(call, 'call')
  const stream: unknown = typeof inner === 'object' && inner !== null ? Reflect.get(inner, 'stream') : undefined
  const isStream = typeof stream === 'object' && stream !== null && 'respond' in stream && 'write' in stream && 'closed' in stream
  return isStream ? (stream as ServerHttp2Stream) : undefined
}

function wholeOf(first: Buffer, rest: Iterator<Buffer, undefined>): Buffer {
  const pieces = [first]
  for (let next = rest.next(); next.done !== true; next = rest.next()) pieces.push(next.value)
  return Buffer.concat(pieces).subarray(PREFIX_BYTES)
}
