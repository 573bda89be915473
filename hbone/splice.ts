// The byte pumps: tunnel ↔ socket and socket ↔ socket. An end is passed on as an end, a reset as a reset; nothing is
// taken from one side faster than the other takes it.
import type { MeshError } from '../kit/error.ts'
import { BLOCK_ROOM, type Block } from './block.ts'
import { H2Error } from './errors.ts'
import type { PlainReader, PlainSocket } from './plain-socket.ts'
import type { HboneTunnel, TunnelSink } from './tunnel.ts'

/**
 * How a splice ended: `both` = each direction by its own end; else who failed first and how (the other side was
 * reset). `tunnel` without an error: the server ended it while the socket went on sending.
 */
export interface SpliceEnd {
  readonly by: 'both' | 'tunnel' | 'socket' | 'a' | 'b'
  readonly error: MeshError | undefined
}

/** Updated while bytes flow. */
export interface ByteCounters {
  fromTunnel: number
  toTunnel: number
}

/** Updated while bytes flow. */
export interface PlainCounters {
  fromA: number
  fromB: number
}

/** A plain reader pauses while the other side has this much unsent. */
const PLAIN_QUEUE_BYTES = 256 * 1024

/** What an app may still send after the server's end before it is reset: more than socket buffers hold by default. */
const MOST_DROPPED_BYTES = 16 * 1024 * 1024

/**
 * Carries bytes both ways until both directions have ended or either side failed; owns both from here on.
 * @returns how it ended; never rejects
 */
export function spliceTunnel(tunnel: HboneTunnel, socket: PlainSocket, counters: ByteCounters): Promise<SpliceEnd> {
  const splice = new TunnelSplice(tunnel, socket)
  tunnel.attach(new FromTunnel(splice, socket, counters))
  socket.attach(new FromSocket(splice, tunnel, counters))
  return splice.done
}

/** As spliceTunnel, between two sockets. */
export function splicePlain(a: PlainSocket, b: PlainSocket, counters: PlainCounters): Promise<SpliceEnd> {
  const ended = Promise.withResolvers<SpliceEnd>()
  const state: PlainState = { ended, open: 2 }
  const fromA = new PlainCopy('a', a, b, state, (bytes) => {
    counters.fromA += bytes
  })
  const fromB = new PlainCopy('b', b, a, state, (bytes) => {
    counters.fromB += bytes
  })
  a.attach(fromA)
  b.attach(fromB)
  return ended.promise
}

class TunnelSplice {
  readonly #tunnel: HboneTunnel
  readonly #socket: PlainSocket
  readonly #ended = Promise.withResolvers<SpliceEnd>()
  #hasSocketEnded = false
  /** Bytes of the socket that came after the server's end. */
  #dropped = 0
  #isTunnelClosed = false
  #isSocketClosed = false

  constructor(tunnel: HboneTunnel, socket: PlainSocket) {
    this.#tunnel = tunnel
    this.#socket = socket
  }

  get done(): Promise<SpliceEnd> {
    return this.#ended.promise
  }

  socketEnded(): void {
    this.#hasSocketEnded = true
    this.#tunnel.end()
  }

  /**
   * The socket has sent something. After a server's own end that is dropped, so that a reset does not tear what the app has not
   * yet read out of its kernel; an app that goes on for longer is reset.
   * @returns whether the tunnel takes it
   */
  takesMore(length: number): boolean {
    if (!this.#isTunnelClosed) return true
    this.#dropped += length
    if (this.#dropped > MOST_DROPPED_BYTES && this.#socket.queuedBytes === 0) {
      this.#ended.resolve({ by: 'tunnel', error: undefined })
      this.#socket.reset()
    }
    return false
  }

  tunnelClosed(error: MeshError | undefined): void {
    this.#isTunnelClosed = true
    if (error === undefined) {
      this.#socket.resume() // it may wait for a window that nobody will open, and is to be read to its end
      this.#finish()
      return
    }
    this.#ended.resolve({ by: 'tunnel', error })
    this.#socket.reset()
  }

  socketClosed(error: MeshError | undefined): void {
    this.#isSocketClosed = true
    if (error === undefined && this.#hasSocketEnded) {
      this.#finish()
      return
    }
    this.#ended.resolve({ by: 'socket', error })
    this.#tunnel.reset(H2Error.connectError) // RFC 9113 section 8.5
  }

  #finish(): void {
    if (!this.#isTunnelClosed || !this.#isSocketClosed) return
    this.#ended.resolve({ by: 'both', error: undefined })
    this.#tunnel.reset() // already closed: gives back the credit of what the socket dropped
  }
}

/** Out of the tunnel, into the socket. */
class FromTunnel implements TunnelSink {
  readonly #splice: TunnelSplice
  readonly #socket: PlainSocket
  readonly #counters: ByteCounters

  constructor(splice: TunnelSplice, socket: PlainSocket, counters: ByteCounters) {
    this.#splice = splice
    this.#socket = socket
    this.#counters = counters
  }

  onData(chunk: Buffer): void {
    this.#counters.fromTunnel += chunk.length
    this.#socket.push(chunk)
  }

  onEnd(): void {
    this.#socket.end()
  }

  onWritable(): void {
    this.#socket.resume()
  }

  onClosed(error: MeshError | undefined): void {
    this.#splice.tunnelClosed(error)
  }
}

/** Out of the socket, into the tunnel. */
class FromSocket implements PlainReader {
  readonly #splice: TunnelSplice
  readonly #tunnel: HboneTunnel
  readonly #counters: ByteCounters

  constructor(splice: TunnelSplice, tunnel: HboneTunnel, counters: ByteCounters) {
    this.#splice = splice
    this.#tunnel = tunnel
    this.#counters = counters
  }

  onBlock(block: Block, length: number): boolean {
    if (!this.#splice.takesMore(length)) {
      block.release()
      return true
    }
    this.#counters.toTunnel += length
    return this.#tunnel.sendBlock(block, length)
  }

  onBytes(bytes: Buffer, length: number): boolean {
    if (!this.#splice.takesMore(length)) return true
    this.#counters.toTunnel += length
    return this.#tunnel.sendBytes(bytes, length)
  }

  onEnd(): void {
    this.#splice.socketEnded()
  }

  onDrained(bytes: number): void {
    this.#tunnel.credit(bytes)
  }

  onClosed(error: MeshError | undefined): void {
    this.#splice.socketClosed(error)
  }
}

interface PlainState {
  readonly ended: PromiseWithResolvers<SpliceEnd>
  /** Sockets that are not closed. */
  open: number
}

/** One direction of splicePlain. */
class PlainCopy implements PlainReader {
  readonly #name: 'a' | 'b'
  readonly #from: PlainSocket
  readonly #to: PlainSocket
  readonly #state: PlainState
  readonly #count: (bytes: number) => void
  #hasEnded = false

  constructor(name: 'a' | 'b', from: PlainSocket, to: PlainSocket, state: PlainState, count: (bytes: number) => void) {
    this.#name = name
    this.#from = from
    this.#to = to
    this.#state = state
    this.#count = count
  }

  onBlock(block: Block, length: number): boolean {
    this.#count(length)
    block.start = BLOCK_ROOM
    block.end = BLOCK_ROOM + length
    this.#to.write(block.used(), block.release)
    return this.#mayGoOn()
  }

  onBytes(bytes: Buffer, length: number): boolean {
    this.#count(length)
    this.#to.write(Buffer.from(bytes.subarray(0, length)), this.#onWritten)
    return this.#mayGoOn()
  }

  onEnd(): void {
    this.#hasEnded = true
    this.#to.end()
  }

  onDrained(): void {
    // nothing is pushed here
  }

  onClosed(error: MeshError | undefined): void {
    this.#state.open--
    if (error !== undefined || !this.#hasEnded) {
      this.#state.ended.resolve({ by: this.#name, error })
      this.#to.reset()
    } else if (this.#state.open === 0) this.#state.ended.resolve({ by: 'both', error: undefined })
  }

  /** Asks to be told when the other side has drained. */
  #mayGoOn(): boolean {
    if (this.#to.queuedBytes < PLAIN_QUEUE_BYTES) return true
    this.#to.write(EMPTY, this.#onWritten)
    return false
  }

  readonly #onWritten = (): void => {
    if (this.#to.queuedBytes < PLAIN_QUEUE_BYTES) this.#from.resume()
  }
}

const EMPTY = Buffer.alloc(0)
