// One HTTP/2 connection over an admitted TLS socket, either role: preface, SETTINGS, streams, flow control, GOAWAY.
// server.ts and client.ts add what a CONNECT means. Follows RFC 9113; what is a connection error ends everything at once.
import type { TLSSocket } from 'node:tls'
import type { Clock, Timer } from '../kit/clock.ts'
import { type MeshError, messageOf } from '../kit/error.ts'
import { readShared } from '../kit/shared-read.ts'
import { AbuseMeter } from './abuse.ts'
import { H2Error, h2ErrorName, hboneFailure } from './errors.ts'
import { CLIENT_PREFACE, FrameDecoder, type FrameFault, FrameType, MAX_WINDOW } from './frame.ts'
import { FrameHandler } from './frame-handler.ts'
import type { HeldBytes } from './held.ts'
import { encodeHeaders } from './hpack.ts'
import type { HeaderField } from './hpack-table.ts'
import { Keepalive } from './keepalive.ts'
import { CONNECTION_CREDIT_SHARE, CONTROL_BACKLOG_BYTES, FAREWELL_MS, GOAWAY_GRACE_MS, type HboneLimits } from './limits.ts'
import { initialPeerSettings, ourSettings, type PeerSettings, type Role } from './peer-settings.ts'
import type { Stream, StreamHost } from './stream.ts'
import { FrameWriter } from './writer.ts'

/** What a role adds to a connection. */
export interface ConnectionHandler {
  readonly role: Role
  /** A client opened a stream (server role). */
  onRequest(stream: Stream, fields: readonly HeaderField[], isTooLarge: boolean, isEnd: boolean): void
  /** The peer's SETTINGS or GOAWAY changed what may be opened. */
  onCapacity(): void
  /** The socket is gone; undefined = orderly. */
  onClosed(error: MeshError | undefined): void
}

/** How a connection is set up. */
export interface ConnectionOptions {
  readonly limits: HboneLimits
  readonly clock: Clock
  readonly held: HeldBytes
}

const WORD = Buffer.alloc(4)
const PING_PAYLOAD = Buffer.from('weft-hb1', 'latin1')

/** The connection core. */
export class Http2Connection implements StreamHost {
  readonly limits: HboneLimits
  readonly held: HeldBytes
  readonly meter: AbuseMeter
  readonly peer: PeerSettings = initialPeerSettings()
  readonly waiting = new Set<Stream>()
  readonly streams = new Map<number, Stream>()
  readonly writer: FrameWriter
  readonly handler: ConnectionHandler
  sendWindow = 65535
  /** Last stream that the peer said it will process; MAX_WINDOW = it sent no GOAWAY. */
  peerLastStream = MAX_WINDOW
  hasPeerGoneAway = false
  readonly #socket: TLSSocket
  readonly #clock: Clock
  readonly #decoder: FrameDecoder
  readonly #frames: FrameHandler
  readonly #keepalive: Keepalive
  #handshake: Timer | undefined
  #farewell: Timer | undefined
  #receiveWindow: number
  /** Received on all streams and not yet credited. */
  #heldHere = 0
  /** Bytes of the client's preface that were seen; a client expects none. */
  #prefaceSeen: number
  #isLeaving = false
  #isOver = false
  #isClosed = false
  #error: MeshError | undefined

  constructor(socket: TLSSocket, handler: ConnectionHandler, options: ConnectionOptions) {
    this.#socket = socket
    this.handler = handler
    this.limits = options.limits
    this.held = options.held
    this.#clock = options.clock
    this.meter = new AbuseMeter(options.clock)
    this.writer = new FrameWriter(socket, options.limits.writeQueueBytes, () => this.#wakeWaiting())
    this.#frames = new FrameHandler(this)
    this.#decoder = new FrameDecoder(this.#frames, options.limits.maxFrameBytes)
    this.#receiveWindow = options.limits.connectionWindowBytes
    this.#prefaceSeen = handler.role === 'client' ? CLIENT_PREFACE.length : 0
    this.#keepalive = new Keepalive({
      clock: options.clock,
      intervalMs: options.limits.pingIntervalMs,
      timeoutMs: options.limits.pingTimeoutMs,
      sendPing: () => this.writer.control(FrameType.ping, 0, 0, PING_PAYLOAD),
      onDead: () => this.destroy(hboneFailure('KEEPALIVE_TIMEOUT', { timeoutMs: options.limits.pingTimeoutMs }), H2Error.noError),
    })
    this.#handshake = options.clock.after(options.limits.handshakeTimeoutMs, () =>
      this.destroy(hboneFailure('HANDSHAKE_TIMEOUT', { timeoutMs: options.limits.handshakeTimeoutMs }), H2Error.noError),
    )
    this.#handshake.unref()
    this.#begin()
  }

  /** New streams may be opened by us (client role). */
  get isUsable(): boolean {
    return !this.#isOver && !this.#isLeaving && !this.hasPeerGoneAway
  }

  /** The connection error or the socket is gone; no frame is handled any more. */
  get isOver(): boolean {
    return this.#isOver
  }

  /** The peer's first SETTINGS arrived. */
  greeted(): void {
    this.#handshake?.[Symbol.dispose]()
    this.#handshake = undefined
  }

  /** A stream of ours begins; its HEADERS must follow at once. */
  opened(stream: Stream): void {
    this.streams.set(stream.id, stream)
    this.#frames.lastOwnStream = stream.id
  }

  /** Sends a head; the block is split to the peer's frame size. */
  sendHeaders(streamId: number, fields: readonly HeaderField[], isEnd: boolean): void {
    const block = encodeHeaders(fields)
    const most = this.peer.maxFrameBytes
    for (let at = 0; at === 0 || at < block.length; at += most) {
      const flags = (at === 0 && isEnd ? 0x1 : 0) | (at + most >= block.length ? 0x4 : 0)
      this.writer.control(at === 0 ? FrameType.headers : FrameType.continuation, flags, streamId, block.subarray(at, at + most))
    }
  }

  sendReset(streamId: number, code: number): void {
    WORD.writeUInt32BE(code)
    this.writer.control(FrameType.rstStream, 0, streamId, WORD)
    this.#frames.rememberReset(streamId)
  }

  windowUpdate(streamId: number, bytes: number): void {
    WORD.writeUInt32BE(bytes)
    this.writer.control(FrameType.windowUpdate, 0, streamId, WORD)
  }

  /** DATA of `bytes` begins. @returns false = the peer overran the connection's window */
  takeWindow(bytes: number): boolean {
    this.#receiveWindow -= bytes
    this.#heldHere += bytes
    return this.#receiveWindow >= 0
  }

  returnCredit(bytes: number): void {
    this.#heldHere -= bytes
    const whole = this.limits.connectionWindowBytes
    const step = whole - this.#heldHere - this.#receiveWindow
    if (this.#isOver || step * CONNECTION_CREDIT_SHARE < whole) return
    this.#receiveWindow += step
    this.windowUpdate(0, step)
  }

  /** @returns false = the window overflows */
  takeWindowUpdate(bytes: number): boolean {
    this.sendWindow += bytes
    if (this.sendWindow > MAX_WINDOW) return false
    this.#wakeWaiting()
    return true
  }

  streamClosed(stream: Stream, isReset: boolean): void {
    this.streams.delete(stream.id)
    if (isReset && !this.#isOver && this.meter.streamReset(stream.openedAt))
      this.fail({ code: H2Error.enhanceYourCalm, reason: 'too many resets' })
    else if (this.streams.size === 0) this.leaveWhenIdle()
    if (!this.#isOver) this.handler.onCapacity()
  }

  /** Graceful end: no new streams, the open ones run on, then the socket is closed. */
  leave(): void {
    if (this.#isLeaving || this.#isOver) return
    this.#isLeaving = true
    if (this.handler.role === 'client') {
      this.#sendGoAway(0, H2Error.noError, '')
      this.leaveWhenIdle()
      return
    }
    this.#sendGoAway(MAX_WINDOW, H2Error.noError, '')
    this.#farewell = this.#clock.after(GOAWAY_GRACE_MS, () => {
      this.#frames.refuseFurther()
      this.#sendGoAway(this.#frames.lastPeerStream, H2Error.noError, '')
      this.#farewell = undefined
      this.leaveWhenIdle()
    })
  }

  /** Closes the socket if the connection is being left and nothing runs any more. */
  leaveWhenIdle(): void {
    const isAnnounced = this.#isLeaving && this.#farewell === undefined
    if (this.#isOver || this.streams.size > 0 || !(isAnnounced || this.hasPeerGoneAway)) return
    this.#finish(undefined)
    this.writer.endSocket()
    this.#destroyLater()
  }

  /** A connection error caused by the peer. */
  fail(fault: FrameFault): void {
    const code = fault.code === H2Error.enhanceYourCalm ? 'PEER_ABUSE' : 'PROTOCOL_VIOLATION'
    this.destroy(hboneFailure(code, { h2: h2ErrorName(fault.code), reason: fault.reason }), fault.code, fault.reason)
  }

  /** Ends everything at once: GOAWAY, all tunnels closed with `error`, the socket closed as soon as the GOAWAY is out. */
  destroy(error: MeshError, code: number, reason = ''): void {
    if (this.#isOver) return
    this.#sendGoAway(this.#frames.lastPeerStream, code, reason)
    this.#finish(error)
    this.#socket.pause()
    this.writer.endSocket()
    this.#destroyLater()
  }

  #begin(): void {
    const socket = this.#socket
    socket.setNoDelay(true)
    readShared(socket, (bytes) => this.#receive(bytes))
    socket.on('end', () => this.#lost(undefined))
    socket.on('error', (error) => this.#lost(error))
    socket.on('close', () => this.#closed())
    this.writer.hold()
    if (this.handler.role === 'client') this.writer.raw(CLIENT_PREFACE)
    this.writer.control(FrameType.settings, 0, 0, ourSettings(this.limits, this.handler.role))
    const more = this.limits.connectionWindowBytes - 65535
    if (more > 0) this.windowUpdate(0, more)
    this.writer.flush()
    if (socket.destroyed) queueMicrotask(() => this.#closed())
  }

  #receive(chunk: Buffer): void {
    if (this.#isOver) return
    this.#keepalive.heard()
    this.writer.hold()
    const rest = this.#prefaceSeen === CLIENT_PREFACE.length ? chunk : this.#takePreface(chunk)
    if (rest !== undefined) this.#decoder.push(rest)
    this.writer.flush()
    if (this.writer.controlBytes > CONTROL_BACKLOG_BYTES) this.fail({ code: H2Error.enhanceYourCalm, reason: 'answers are not read' })
  }

  #takePreface(chunk: Buffer): Buffer | undefined {
    const taken = Math.min(CLIENT_PREFACE.length - this.#prefaceSeen, chunk.length)
    if (CLIENT_PREFACE.compare(chunk, 0, taken, this.#prefaceSeen, this.#prefaceSeen + taken) !== 0) {
      this.fail({ code: H2Error.protocolError, reason: 'wrong connection preface' })
      return undefined
    }
    this.#prefaceSeen += taken
    return taken < chunk.length ? chunk.subarray(taken) : undefined
  }

  #wakeWaiting(): void {
    if (this.waiting.size === 0) return
    this.writer.hold()
    for (const stream of [...this.waiting]) {
      this.waiting.delete(stream)
      stream.resume()
      if (this.writer.isFull) break
    }
    this.writer.flush()
  }

  #sendGoAway(lastStream: number, code: number, reason: string): void {
    const text = Buffer.from(reason, 'latin1')
    const payload = Buffer.alloc(8 + text.length)
    payload.writeUInt32BE(lastStream)
    payload.writeUInt32BE(code, 4)
    payload.set(text, 8)
    this.writer.control(FrameType.goAway, 0, 0, payload)
    this.writer.flush()
  }

  #lost(cause: Error | undefined): void {
    const detail = cause === undefined ? {} : { cause: messageOf(cause) }
    const isOrderly = cause === undefined && this.streams.size === 0
    this.#finish(isOrderly ? undefined : hboneFailure('CONNECTION_CLOSED', detail, cause))
    this.#socket.destroy()
  }

  /** No frame in, no frame out; tunnels are closed. The socket is the caller's. */
  #finish(error: MeshError | undefined): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#error = error
    this.#decoder.stop()
    this.#keepalive[Symbol.dispose]()
    this.#handshake?.[Symbol.dispose]()
    this.#farewell?.[Symbol.dispose]()
    for (const stream of [...this.streams.values()]) stream.close(error ?? hboneFailure('CONNECTION_CLOSED'), false)
  }

  #destroyLater(): void {
    this.#farewell = this.#clock.after(FAREWELL_MS, () => this.#socket.destroy())
    this.#farewell.unref()
  }

  #closed(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#finish(this.streams.size === 0 ? undefined : hboneFailure('CONNECTION_CLOSED'))
    this.#farewell?.[Symbol.dispose]()
    this.writer.stop()
    this.handler.onClosed(this.#error)
  }
}
