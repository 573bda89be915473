// A plain TCP socket on the data path: read by `onread` into pooled blocks (busy) or one shared buffer (idle, so that an
// idle socket holds no memory for reading), written in one writev per turn of the event loop.
import { Socket, type SocketConstructorOpts } from 'node:net'
import { codeOf, type MeshError } from '../kit/error.ts'
import { resetSocket } from '../kit/reset-socket.ts'
import { type Block, takeBlock } from './block.ts'
import { BlockQueue } from './block-queue.ts'
import { hboneFailure } from './errors.ts'
import { BLOCK_DATA_BYTES } from './limits.ts'

/** Takes what comes out of a PlainSocket. Calls come in order; after onClosed there are none. */
export interface PlainReader {
  /** `length` bytes at BLOCK_ROOM of a block that the reader then owns. @returns false = stop until `resume` */
  onBlock(block: Block, length: number): boolean
  /** The first `length` bytes, valid during the call only. @returns false = stop until `resume` */
  onBytes(bytes: Buffer, length: number): boolean
  /** The peer sent FIN. */
  onEnd(): void
  /** So many pushed bytes were taken by the kernel. */
  onDrained(bytes: number): void
  /** Undefined = both sides ended, or `destroy` without an error; else SOCKET_RESET. */
  onClosed(error: MeshError | undefined): void
}

/** A read of at least this makes the socket busy: its next read goes into a block of its own. */
const BUSY_BYTES = 32 * 1024
/** Smaller chunks are likely the last of a message and are written at once, larger ones wait for the end of the turn. */
const PROMPT_BYTES = 8 * 1024
const EMPTY = Buffer.alloc(0)

let shared: Buffer | undefined
let flushing: PlainSocket[] = []

/**
 * @returns the socket of an accepted connection
 * @param accepted a `pauseOnConnect` socket (emptied by this) or a TCP handle; TCP_NODELAY is its listener's affair
 */
export function adoptAccepted(accepted: Socket | object): PlainSocket {
  if (!(accepted instanceof Socket)) return new PlainSocket({ handle: accepted }, false)
  const inside = accepted as unknown as { _handle: object | null; _server: object | null }
  const { _handle: handle, _server: server } = inside
  if (handle === null) throw hboneFailure('SOCKET_RESET', { cause: 'already closed' })
  inside._handle = null
  inside._server = null
  return new PlainSocket({ handle }, false, server)
}

/**
 * @returns the socket of an fd that linux/socket.ts opened (and gave TCP_NODELAY); the fd is owned by it.
 * @param options connecting: a non-blocking connect is under way; see `connected`
 */
export function adoptFd(fd: number, options: { readonly connecting: boolean }): PlainSocket {
  return new PlainSocket({ fd }, options.connecting)
}

/** A TCP socket. Nothing is read before `attach` or `readAhead`. */
export class PlainSocket {
  /** Resolves once connected. @throws MeshError DIAL_FAILED (`cause` = ECONNREFUSED, ETIMEDOUT, …) */
  readonly connected: Promise<void>
  /** Resolves when the socket is gone, with SOCKET_RESET if it failed. */
  readonly closed: Promise<MeshError | undefined>
  readonly #socket: Socket
  readonly #closed = Promise.withResolvers<MeshError | undefined>()
  readonly #queue = new BlockQueue()
  /** Blocks of the write under way. */
  #sent: Block[] = []
  #reader: PlainReader | undefined
  #error: MeshError | undefined
  /** What the kernel reads into, if it is not the shared buffer. */
  #own: Block | undefined
  #isBusy = false
  /** What `readAhead` has read; undefined = it was not asked for, or is over. */
  #ahead: Buffer | undefined
  #isScheduled = false
  /** Bytes of the writev under way. */
  #writing = 0
  #isEnding = false
  #hasPeerEnded = false
  #isResetting = false
  #isClosed = false

  /** @param server net.Server whose connection count this socket is part of */
  constructor(source: { readonly handle?: object; readonly fd?: number }, isConnecting: boolean, server: object | null = null) {
    const buffer = (): Buffer => this.#nextBuffer()
    const callback = (length: number): boolean => this.#onRead(length)
    const options = {
      ...source,
      allowHalfOpen: true,
      pauseOnCreate: true,
      onread: { buffer, callback },
    }
    this.#socket = new Socket(options as SocketConstructorOpts) // handle and pauseOnCreate are Node's own, without a type
    if (server !== null) (this.#socket as unknown as { _server: object })._server = server
    this.closed = this.#closed.promise
    this.#socket.on('end', () => {
      this.#hasPeerEnded = true
      this.#reader?.onEnd()
    })
    this.#socket.on('error', (error) => {
      this.#error ??= hboneFailure('SOCKET_RESET', { cause: codeOf(error) }, error)
    })
    this.#socket.on('close', () => this.#onClosed())
    this.connected = isConnecting ? this.#awaitConnect() : Promise.resolve()
  }

  get bytesRead(): number {
    return this.#socket.bytesRead
  }

  get bytesWritten(): number {
    return this.#socket.bytesWritten
  }

  /** Bytes that were pushed or written and not taken by the kernel. */
  get queuedBytes(): number {
    return this.#queue.bytes + this.#socket.writableLength
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Starts reading, once. */
  attach(reader: PlainReader): void {
    if (this.#reader !== undefined) throw new TypeError('a socket has one reader')
    this.#reader = reader
    const ahead = this.#ahead
    this.#ahead = undefined
    const mayGoOn = ahead === undefined || ahead.length === 0 || this.#isResetting || reader.onBytes(ahead, ahead.length)
    if (this.#hasPeerEnded) reader.onEnd()
    if (this.#isClosed) reader.onClosed(this.#error)
    else if (mayGoOn) this.#socket.resume()
  }

  /** Reads once before `attach`, which then gives it to the reader first: what a client sends at once does not wait for a turn. */
  readAhead(): void {
    if (this.#reader !== undefined || this.#ahead !== undefined || this.#isClosed) return
    this.#ahead = EMPTY
    this.#socket.resume()
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    if (!this.#isClosed && !this.#isResetting) this.#socket.resume()
  }

  /** Sends a copy of the bytes; told by onDrained. What comes in one turn goes out together, 64 KiB at once. */
  push(chunk: Buffer): void {
    const isPrompt = chunk.length < PROMPT_BYTES && this.#queue.bytes === 0 && !this.#isScheduled
    this.#queue.push(chunk)
    if (this.#writing > 0) return
    if (isPrompt || this.#queue.bytes >= BLOCK_DATA_BYTES) this.flush()
    else if (!this.#isScheduled) {
      this.#isScheduled = true
      if (flushing.push(this) === 1) setImmediate(flushAll)
    }
  }

  /** Sends bytes now, not to be mixed with `push`. `done` is called when they were taken or the socket is gone. */
  write(bytes: Buffer, done: () => void): void {
    this.#socket.write(bytes, done)
  }

  /** Sends what was pushed. */
  flush(): void {
    this.#isScheduled = false
    if (this.#writing > 0 || this.#isClosed || this.#queue.bytes === 0) return
    this.#writing = this.#queue.bytes
    const blocks = this.#queue.take()
    this.#sent = blocks
    const last = blocks.length - 1
    if (last > 0) this.#socket.cork()
    for (let i = 0; i < last; i++) this.#socket.write(blocks[i]?.used() ?? EMPTY)
    this.#socket.write(blocks[last]?.used() ?? EMPTY, this.#onWritten)
    if (last > 0) this.#socket.uncork()
  }

  /** Sends FIN after everything that was pushed. */
  end(): void {
    if (this.#isEnding) return
    this.#isEnding = true
    if (this.#queue.bytes === 0 && this.#writing === 0) this.#finish()
    else this.flush()
  }

  /** Sends RST and drops everything. */
  reset(): void {
    if (this.#isClosed || this.#isResetting) return
    this.#isResetting = true
    resetSocket(this.#socket)
  }

  /** Closes; with an error by RST, which `closed` then gives. */
  destroy(error?: MeshError): void {
    this.#error ??= error
    if (error === undefined) this.#socket.destroy()
    else this.reset()
  }

  #awaitConnect(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    // An empty write waits in the kernel's queue until the connection is made, and fails with its error.
    this.#socket.write(EMPTY, (error) => {
      if (error === null || error === undefined) resolve()
      else reject(hboneFailure('DIAL_FAILED', { cause: codeOf(error) }, error))
    })
    promise.catch(() => undefined) // whoever does not wait for it is told by `closed`
    return promise
  }

  #nextBuffer(): Buffer {
    if (this.#isBusy) {
      this.#own = takeBlock()
      return this.#own.room
    }
    shared ??= Buffer.allocUnsafeSlow(BLOCK_DATA_BYTES)
    return shared
  }

  #onRead(length: number): boolean {
    const block = this.#own
    this.#own = undefined
    this.#isBusy = length >= BUSY_BYTES
    if (this.#reader === undefined) {
      if (block === undefined) this.#ahead = Buffer.from((shared ?? EMPTY).subarray(0, length))
      return false
    }
    if (block !== undefined && this.#isBusy) return this.#reader.onBlock(block, length)
    const mayGoOn = this.#reader.onBytes(block?.room ?? shared ?? EMPTY, length)
    block?.release()
    return mayGoOn
  }

  readonly #onWritten = (): void => {
    const bytes = this.#writing
    const blocks = this.#sent
    this.#writing = 0
    this.#sent = []
    for (const block of blocks) block.release()
    if (this.#isClosed) return
    this.#reader?.onDrained(bytes)
    if (this.#queue.bytes > 0) this.flush()
    else if (this.#isEnding) this.#finish()
  }

  /** Sends FIN. When the peer's has come and been read, close() does that, without a shutdown() before it. */
  #finish(): void {
    if (this.#hasPeerEnded && this.#socket.writableLength === 0) this.#socket.destroy()
    else this.#socket.end()
  }

  #onClosed(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const block of this.#queue.take()) block.release()
    this.#own?.release()
    this.#own = undefined
    this.#closed.resolve(this.#error)
    this.#reader?.onClosed(this.#error)
  }
}

function flushAll(): void {
  const sockets = flushing
  flushing = []
  for (const socket of sockets) socket.flush()
}
