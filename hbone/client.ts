// The client of HBONE: opens CONNECT tunnels on one TLS socket whose peer was already admitted. The server is hostile
// until proven otherwise: every answer is bounded and checked.
import type { TLSSocket } from 'node:tls'
import { type Clock, systemClock } from '../kit/clock.ts'
import type { MeshError } from '../kit/error.ts'
import { type ConnectRequest, connectFields, readResponse } from './connect.ts'
import { Http2Connection } from './connection.ts'
import { H2Error, h2ErrorName, hboneFailure } from './errors.ts'
import { MAX_WINDOW } from './frame.ts'
import { type HeldBytes, heldBytes } from './held.ts'
import type { HeaderField } from './hpack-table.ts'
import { HBONE_LIMITS, type HboneLimits, MAX_INTERIM_RESPONSES } from './limits.ts'
import { Stream } from './stream.ts'
import type { HboneTunnel } from './tunnel.ts'

/** How a client is set up. */
export interface HboneClientOptions {
  readonly limits?: Partial<HboneLimits>
  readonly clock?: Clock
  readonly held?: HeldBytes
  /** The socket is gone. Undefined = orderly. */
  onClosed?(reason: MeshError | undefined): void
}

/** One connection to a server. */
export interface HboneClientConnection {
  /** Whether streams may be opened at all (no GOAWAY, not closed). */
  readonly isUsable: boolean
  /** Streams that are open or being opened. */
  readonly streams: number
  /** How many the server allows (100 until it says so). */
  readonly maxStreams: number
  /** Resolves when the socket is gone. */
  readonly closed: Promise<void>
  /**
   * Opens a tunnel; attach or reset it.
   * @throws MeshError CONNECT_REFUSED {status} | STREAM_REFUSED | STREAM_RESET | PROTOCOL_VIOLATION | CONNECTION_CLOSED | GOAWAY | STREAM_LIMIT | ABORTED
   */
  open(request: ConnectRequest, options?: { readonly signal?: AbortSignal }): Promise<HboneTunnel>
  /** No new streams; open ones run on; closes after the last one. */
  close(): void
  /** Ends everything now. */
  destroy(): void
  /** Called whenever a stream closed or the server changed its limits; set by the pool. */
  onCapacity: (() => void) | undefined
}

/**
 * Speaks HTTP/2 CONNECT on a socket; attaches its readers within this call. Streams may be opened at once.
 * @param socket handshaken, ALPN h2, its peer admitted, nothing read yet; owned by the connection from here on
 */
export function connectHbone(socket: TLSSocket, options: HboneClientOptions = {}): HboneClientConnection {
  return new Client(socket, options)
}

class Client implements HboneClientConnection {
  onCapacity: (() => void) | undefined
  readonly #connection: Http2Connection
  readonly #closed = Promise.withResolvers<void>()
  #nextId = 1

  constructor(socket: TLSSocket, options: HboneClientOptions) {
    this.#connection = new Http2Connection(
      socket,
      {
        role: 'client',
        onRequest: () => undefined,
        onCapacity: () => this.onCapacity?.(),
        onClosed: (error) => {
          this.#closed.resolve()
          this.onCapacity?.()
          options.onClosed?.(error)
        },
      },
      { limits: { ...HBONE_LIMITS, ...options.limits }, clock: options.clock ?? systemClock, held: options.held ?? heldBytes },
    )
  }

  get isUsable(): boolean {
    return this.#connection.isUsable && this.#nextId < MAX_WINDOW
  }

  get streams(): number {
    return this.#connection.streams.size
  }

  get maxStreams(): number {
    return this.#connection.peer.maxConcurrentStreams
  }

  get closed(): Promise<void> {
    return this.#closed.promise
  }

  open(request: ConnectRequest, options: { readonly signal?: AbortSignal } = {}): Promise<HboneTunnel> {
    const connection = this.#connection
    if (connection.isOver) return Promise.reject(hboneFailure('CONNECTION_CLOSED'))
    if (!this.isUsable) return Promise.reject(hboneFailure('GOAWAY'))
    if (this.streams >= this.maxStreams) return Promise.reject(hboneFailure('STREAM_LIMIT', { streams: this.streams }))
    if (options.signal?.aborted === true) return Promise.reject(hboneFailure('ABORTED'))
    const stream = new Stream(this.#nextId, connection, connection.meter.streamOpened())
    const fields = connectFields(request)
    this.#nextId += 2
    connection.opened(stream)
    const opened = awaitResponse(stream, options.signal)
    connection.sendHeaders(stream.id, fields, false)
    return opened
  }

  close(): void {
    this.#connection.leave()
  }

  destroy(): void {
    this.#connection.destroy(hboneFailure('CLOSED_LOCALLY'), H2Error.noError)
  }
}

function awaitResponse(stream: Stream, signal: AbortSignal | undefined): Promise<HboneTunnel> {
  const { promise, resolve, reject } = Promise.withResolvers<HboneTunnel>()
  const abort = (): void => stream.reset(H2Error.cancel)
  signal?.addEventListener('abort', abort, { once: true })
  let interims = 0
  const failed = (error: MeshError): void => {
    signal?.removeEventListener('abort', abort)
    reject(error)
  }
  const fail = (error: MeshError, code: number): void => {
    stream.onFailed = undefined
    signal?.removeEventListener('abort', abort)
    reject(error)
    stream.reset(code)
  }
  const takeHead = (fields: readonly HeaderField[], isTooLarge: boolean, isEnd: boolean): void => {
    const head = readResponse(fields, isTooLarge)
    const isInterim = typeof head !== 'string' && head.status < 200
    if (typeof head === 'string' || (isInterim && (isEnd || head.status === 101 || ++interims > MAX_INTERIM_RESPONSES))) {
      const reason = typeof head === 'string' ? head : 'bad interim response'
      fail(hboneFailure('PROTOCOL_VIOLATION', { h2: h2ErrorName(H2Error.protocolError), reason }), H2Error.protocolError)
    } else if (isInterim) return
    else if (head.status !== 200) fail(hboneFailure('CONNECT_REFUSED', { status: head.status }), H2Error.cancel)
    else {
      signal?.removeEventListener('abort', abort)
      stream.headSink = undefined
      stream.onFailed = undefined
      stream.isTunnel = true
      stream.responseHeaders = head.headers
      resolve(stream)
      if (isEnd) stream.takeEnd()
    }
  }
  stream.onFailed = failed
  stream.headSink = takeHead
  return promise
}
