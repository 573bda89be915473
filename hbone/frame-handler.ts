// What each received frame does to a connection, by the rules of RFC 9113 sections 5 and 6. Stream errors reset one
// stream, connection errors end all; frames that move nothing forward are counted.
import type { Http2Connection } from './connection.ts'
import { H2Error, h2ErrorName, hboneFailure } from './errors.ts'
import { Flag, type FrameSink, FrameType, headerFragment, MAX_WINDOW } from './frame.ts'
import { HeaderBlock } from './header-block.ts'
import { HpackDecoder } from './hpack.ts'
import type { HeaderField } from './hpack-table.ts'
import { RESET_MEMORY_STREAMS } from './limits.ts'
import { applySettings } from './peer-settings.ts'
import { Stream } from './stream.ts'

const EMPTY = Buffer.alloc(0)

/** The receiving half of one connection. */
export class FrameHandler implements FrameSink {
  /** Highest stream that the peer has opened (server role). */
  lastPeerStream = 0
  /** Highest stream that we have opened (client role). */
  lastOwnStream = 0
  readonly #connection: Http2Connection
  readonly #hpack: HpackDecoder
  readonly #block = new HeaderBlock()
  /** Streams that we reset, oldest first: their late frames are no fault of the peer. */
  readonly #resetByUs = new Set<number>()
  /** The stream of the DATA under way; undefined = its bytes are not wanted. */
  #dataStream: Stream | undefined
  /** Bytes of that DATA that are not payload: what is left after the payload was taken. */
  #dataRest = 0
  /** The stream used last: DATA comes in runs. */
  #recent: Stream | undefined
  #isGreeted = false
  #mayOpen = true

  constructor(connection: Http2Connection) {
    this.#connection = connection
    this.#hpack = new HpackDecoder(connection.limits)
  }

  /** Streams that begin from now on are ignored: a final GOAWAY names lastPeerStream. */
  refuseFurther(): void {
    this.#mayOpen = false
  }

  /** We reset this stream. */
  rememberReset(streamId: number): void {
    this.#resetByUs.add(streamId)
    if (this.#resetByUs.size <= RESET_MEMORY_STREAMS) return
    for (const oldest of this.#resetByUs) {
      this.#resetByUs.delete(oldest)
      break
    }
  }

  onFault(code: number, reason: string): void {
    this.#connection.fail({ code, reason })
  }

  onDataStart(streamId: number, length: number, flags: number): boolean {
    const connection = this.#connection
    this.#dataStream = undefined
    this.#dataRest = length
    if (!this.#isAllowed(FrameType.data)) return false
    if (!connection.takeWindow(length)) {
      connection.fail({ code: H2Error.flowControlError, reason: 'connection window overrun' })
      return false
    }
    if (length === 0 && (flags & Flag.endStream) === 0) this.#idle()
    const stream = this.#find(streamId)
    if (stream === undefined) this.#onClosedStream(streamId, 'DATA')
    else if (stream.isRemoteEnded) this.#streamError(stream, H2Error.streamClosed)
    else if (!stream.takeWindow(length)) this.#streamError(stream, H2Error.flowControlError)
    else if (!stream.isTunnel && length > 0)
      this.#streamError(stream, H2Error.protocolError) // no byte before the 2xx
    else {
      if (length > 0) connection.meter.data(length)
      this.#dataStream = stream
    }
    return this.#dataStream !== undefined
  }

  onDataBytes(bytes: Buffer): void {
    this.#dataRest -= bytes.length
    this.#dataStream?.takeData(bytes)
  }

  onDataEnd(_streamId: number, flags: number): void {
    const stream = this.#dataStream
    this.#dataStream = undefined
    if (this.#dataRest > 0) {
      if (stream === undefined || stream.isClosed) this.#connection.returnCredit(this.#dataRest)
      else stream.takePadding(this.#dataRest)
    }
    if ((flags & Flag.endStream) !== 0) stream?.takeEnd()
  }

  onFrame(type: number, flags: number, streamId: number, payload: Buffer): void {
    if (!this.#isAllowed(type, flags, streamId)) return
    switch (type) {
      case FrameType.headers:
        this.#onHeaders(flags, streamId, payload)
        return
      case FrameType.continuation:
        this.#onContinuation(flags, payload)
        return
      case FrameType.rstStream:
        this.#onReset(streamId, payload.readUInt32BE(0))
        return
      case FrameType.settings:
        this.#onSettings(flags, payload)
        return
      case FrameType.pushPromise:
        this.#connection.fail({ code: H2Error.protocolError, reason: 'PUSH_PROMISE' })
        return
      case FrameType.ping:
        this.#idle()
        if ((flags & Flag.ack) === 0) this.#connection.writer.control(FrameType.ping, Flag.ack, 0, payload)
        return
      case FrameType.goAway:
        this.#onGoAway(payload.readUInt32BE(0) & MAX_WINDOW)
        return
      case FrameType.windowUpdate:
        this.#onWindowUpdate(streamId, payload.readUInt32BE(0) & MAX_WINDOW)
        return
      default: // PRIORITY has no effect; unknown types are ignored
        this.#idle()
    }
  }

  /** SETTINGS first; inside a header block nothing but its CONTINUATION. */
  #isAllowed(type: number, flags = 0, streamId = 0): boolean {
    const isContinuation = type === FrameType.continuation
    const isExpected = this.#block.streamId === 0 ? !isContinuation : isContinuation && streamId === this.#block.streamId
    const isFirst = !this.#isGreeted && (type !== FrameType.settings || (flags & Flag.ack) !== 0)
    if (isExpected && !isFirst) return true
    this.#connection.fail({ code: H2Error.protocolError, reason: isFirst ? 'the first frame is not SETTINGS' : 'frame out of place' })
    return false
  }

  #find(streamId: number): Stream | undefined {
    if (this.#recent?.id === streamId && !this.#recent.isClosed) return this.#recent
    const stream = this.#connection.streams.get(streamId)
    if (stream !== undefined) this.#recent = stream
    return stream
  }

  #idle(): void {
    if (this.#connection.meter.idleFrame()) this.#floods()
  }

  #floods(): void {
    this.#connection.fail({ code: H2Error.enhanceYourCalm, reason: 'flood of empty frames' })
  }

  #isIdle(streamId: number): boolean {
    const isClients = (streamId & 1) === 1
    if (this.#connection.handler.role === 'server') return !isClients || streamId > this.lastPeerStream
    return !isClients || streamId > this.lastOwnStream
  }

  /** A frame that needs an open stream came for one that is not. */
  #onClosedStream(streamId: number, what: string): void {
    if (this.#isIdle(streamId) && this.#mayOpen) {
      this.#connection.fail({ code: H2Error.protocolError, reason: `${what} on an idle stream` })
    } else if (this.#resetByUs.has(streamId) || !this.#mayOpen) return
    else this.#connection.fail({ code: H2Error.streamClosed, reason: `${what} on a closed stream` })
  }

  #streamError(stream: Stream, code: number): void {
    this.#connection.sendReset(stream.id, code)
    stream.close(hboneFailure('PROTOCOL_VIOLATION', { h2: h2ErrorName(code), stream: stream.id }), true)
  }

  #onHeaders(flags: number, streamId: number, payload: Buffer): void {
    const fragment = headerFragment(flags, payload)
    if (fragment === undefined) {
      this.#connection.fail({ code: H2Error.protocolError, reason: 'padding is longer than the frame' })
      return
    }
    const isEnd = (flags & Flag.endStream) !== 0
    if ((flags & Flag.endHeaders) !== 0) this.#onHead(streamId, isEnd, fragment)
    else this.#block.begin(streamId, isEnd, fragment)
  }

  #onContinuation(flags: number, payload: Buffer): void {
    const { streamId, isEndStream } = this.#block
    const fault = this.#block.append(payload)
    if (fault !== undefined) {
      this.#connection.fail(fault)
      return
    }
    if ((flags & Flag.endHeaders) !== 0) this.#onHead(streamId, isEndStream, this.#block.finish())
  }

  #onHead(streamId: number, isEnd: boolean, block: Buffer): void {
    const decoded = this.#hpack.decode(block)
    if (!decoded.ok) {
      const isBomb = decoded.errors[0] === 'header list is a bomb'
      const reason = decoded.errors.join(', ')
      this.#connection.fail({ code: isBomb ? H2Error.enhanceYourCalm : H2Error.compressionError, reason })
      return
    }
    const { fields, isTooLarge } = decoded.value
    const stream = this.#find(streamId)
    if (stream === undefined) this.#onNewHead(streamId, fields, isTooLarge, isEnd)
    else if (stream.isRemoteEnded) this.#streamError(stream, H2Error.streamClosed)
    else if (stream.headSink !== undefined) stream.headSink(fields, isTooLarge, isEnd)
    else if (!isEnd || isTooLarge || fields.some(([name]) => name.startsWith(':'))) this.#streamError(stream, H2Error.protocolError)
    else stream.takeEnd() // trailers
  }

  #onNewHead(streamId: number, fields: readonly HeaderField[], isTooLarge: boolean, isEnd: boolean): void {
    const connection = this.#connection
    const isNew = connection.handler.role === 'server' && (streamId & 1) === 1 && streamId > this.lastPeerStream
    if (!isNew) {
      this.#onClosedStream(streamId, 'HEADERS')
      return
    }
    if (!this.#mayOpen) return
    this.lastPeerStream = streamId
    const openedAt = connection.meter.streamOpened()
    if (connection.streams.size >= connection.limits.maxStreams) {
      connection.sendReset(streamId, H2Error.refusedStream)
      if (connection.meter.streamReset(openedAt)) connection.fail({ code: H2Error.enhanceYourCalm, reason: 'too many resets' })
      return
    }
    const stream = new Stream(streamId, connection, openedAt)
    stream.isRemoteEnded = isEnd
    connection.streams.set(streamId, stream)
    connection.handler.onRequest(stream, fields, isTooLarge, isEnd)
  }

  #onReset(streamId: number, code: number): void {
    const stream = this.#find(streamId)
    if (stream === undefined) {
      if (this.#isIdle(streamId) && this.#mayOpen)
        this.#connection.fail({ code: H2Error.protocolError, reason: 'RST_STREAM on an idle stream' })
      else this.#idle()
      return
    }
    const isServed = this.#connection.handler.role === 'client' && stream.isTunnel && stream.isRemoteEnded
    if (code === H2Error.noError && isServed) {
      stream.close(undefined, false) // RFC 9113 section 8.1: the server has said all and reads no more; what it said counts
      return
    }
    const kind = code === H2Error.refusedStream && !stream.isTunnel ? 'STREAM_REFUSED' : 'STREAM_RESET'
    stream.close(hboneFailure(kind, { h2: h2ErrorName(code) }), true)
  }

  #onSettings(flags: number, payload: Buffer): void {
    const connection = this.#connection
    this.#idle()
    if ((flags & Flag.ack) !== 0) return
    if (!this.#isGreeted) connection.greeted()
    this.#isGreeted = true
    const before = connection.peer.initialWindowBytes
    const fault = applySettings(connection.peer, payload, connection.handler.role)
    if (fault !== undefined) {
      connection.fail(fault)
      return
    }
    connection.writer.control(FrameType.settings, Flag.ack, 0, EMPTY)
    const change = connection.peer.initialWindowBytes - before
    for (const stream of change === 0 ? [] : [...connection.streams.values()]) {
      if (stream.takeWindowUpdate(change)) continue
      connection.fail({ code: H2Error.flowControlError, reason: 'SETTINGS_INITIAL_WINDOW_SIZE overflows a window' })
      return
    }
    connection.handler.onCapacity()
  }

  #onGoAway(lastStream: number): void {
    const connection = this.#connection
    this.#idle()
    connection.hasPeerGoneAway = true
    connection.peerLastStream = Math.min(connection.peerLastStream, lastStream)
    if (connection.handler.role === 'client') {
      for (const stream of [...connection.streams.values()]) {
        if (stream.id > lastStream) stream.close(hboneFailure('GOAWAY'), false)
      }
    }
    connection.handler.onCapacity()
    connection.leaveWhenIdle()
  }

  #onWindowUpdate(streamId: number, bytes: number): void {
    const connection = this.#connection
    if (connection.meter.windowUpdate()) this.#floods()
    if (streamId === 0) {
      if (bytes === 0) connection.fail({ code: H2Error.protocolError, reason: 'WINDOW_UPDATE of 0' })
      else if (!connection.takeWindowUpdate(bytes))
        connection.fail({ code: H2Error.flowControlError, reason: 'connection window overflow' })
      return
    }
    const stream = this.#find(streamId)
    if (stream === undefined) {
      if (this.#isIdle(streamId) && this.#mayOpen)
        connection.fail({ code: H2Error.protocolError, reason: 'WINDOW_UPDATE on an idle stream' })
    } else if (bytes === 0) this.#streamError(stream, H2Error.protocolError)
    else if (!stream.takeWindowUpdate(bytes)) this.#streamError(stream, H2Error.flowControlError)
  }
}
