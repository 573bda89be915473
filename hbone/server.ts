// The server of HBONE: serves CONNECTs on one TLS socket whose peer was already admitted.
import type { TLSSocket } from 'node:tls'
import { type Clock, systemClock } from '../kit/clock.ts'
import type { MeshError } from '../kit/error.ts'
import { type ConnectRequest, readConnect, responseFields } from './connect.ts'
import { Http2Connection } from './connection.ts'
import { H2Error, hboneFailure } from './errors.ts'
import { type HeldBytes, heldBytes } from './held.ts'
import type { HeaderField } from './hpack-table.ts'
import { HBONE_LIMITS, type HboneLimits } from './limits.ts'
import type { Stream } from './stream.ts'
import type { HboneTunnel } from './tunnel.ts'

/** What a server is told. Callbacks must not throw. */
export interface HboneServerOptions {
  readonly limits?: Partial<HboneLimits>
  readonly clock?: Clock
  readonly held?: HeldBytes
  /** A well-formed CONNECT; answer it once with `accept` or `refuse`, now or later. */
  onConnect(request: ConnectRequest, stream: HboneServerStream): void
  /** The socket is gone. Undefined = orderly. */
  onClosed?(reason: MeshError | undefined): void
  /** A head was refused by the codec itself: 400 (not CONNECT, bad authority), 431, or 0 = malformed and reset. */
  onReject?(status: number, reason: string): void
}

/** A CONNECT that waits for its answer. */
export interface HboneServerStream {
  /** Sends the 200. From here on the tunnel must be attached or reset. Closed streams give a closed tunnel. */
  accept(headers?: Readonly<Record<string, string>>): HboneTunnel
  /** Sends `status` and ends the stream. */
  refuse(status: number, headers?: Readonly<Record<string, string>>): void
  /** Whether it is closed already: then nothing should be begun for it. */
  readonly isClosed: boolean
  /** Resolves when the stream is closed, also before it was answered. */
  readonly closed: Promise<void>
}

/** One served connection. */
export interface HboneServerConnection {
  /** Tunnels and unanswered CONNECTs. */
  readonly streams: number
  /** Resolves when the socket is gone. */
  readonly closed: Promise<void>
  /** No new streams; open ones run on; closes after the last one. */
  goAway(): void
  /** Ends everything now. @param code HTTP/2 error code of the GOAWAY */
  destroy(code: number): void
}

/**
 * Serves HTTP/2 CONNECT on a socket; attaches its readers within this call.
 * @param socket handshaken, ALPN h2, its peer admitted, nothing read yet; owned by the connection from here on
 */
export function serveHbone(socket: TLSSocket, options: HboneServerOptions): HboneServerConnection {
  const closed = Promise.withResolvers<void>()
  const connection = new Http2Connection(
    socket,
    {
      role: 'server',
      onRequest: (stream, fields, isTooLarge, isEnd) => onRequest(connection, options, stream, fields, isTooLarge, isEnd),
      onCapacity: () => undefined,
      onClosed: (error) => {
        closed.resolve()
        options.onClosed?.(error)
      },
    },
    { limits: { ...HBONE_LIMITS, ...options.limits }, clock: options.clock ?? systemClock, held: options.held ?? heldBytes },
  )
  return {
    get streams() {
      return connection.streams.size
    },
    closed: closed.promise,
    goAway: () => connection.leave(),
    destroy: (code) => connection.destroy(hboneFailure('CLOSED_LOCALLY'), code),
  }
}

function onRequest(
  connection: Http2Connection,
  options: HboneServerOptions,
  stream: Stream,
  fields: readonly HeaderField[],
  isTooLarge: boolean,
  isEnd: boolean,
): void {
  const head = readConnect(fields, isTooLarge, isEnd)
  if (head.kind === 'connect') {
    options.onConnect(head.request, new ServerStream(connection, stream))
    return
  }
  if (head.kind === 'malformed') stream.reset(H2Error.protocolError)
  else answer(connection, stream, head.status, {})
  options.onReject?.(head.kind === 'refuse' ? head.status : 0, head.reason)
}

/** Sends a final response without a tunnel; NO_ERROR tells a client that sends on to stop (RFC 9113 section 8.1). */
function answer(connection: Http2Connection, stream: Stream, status: number, headers: Readonly<Record<string, string>>): void {
  connection.sendHeaders(stream.id, responseFields(status, headers), true)
  if (!stream.isRemoteEnded) connection.sendReset(stream.id, H2Error.noError)
  stream.close(undefined, false)
}

class ServerStream implements HboneServerStream {
  readonly #connection: Http2Connection
  readonly #stream: Stream
  #isAnswered = false

  constructor(connection: Http2Connection, stream: Stream) {
    this.#connection = connection
    this.#stream = stream
  }

  get isClosed(): boolean {
    return this.#stream.isClosed
  }

  get closed(): Promise<void> {
    return this.#stream.closed.then(() => undefined)
  }

  accept(headers: Readonly<Record<string, string>> = {}): HboneTunnel {
    this.#answerOnce()
    if (!this.#stream.isClosed) {
      this.#connection.sendHeaders(this.#stream.id, responseFields(200, headers), false)
      this.#stream.isTunnel = true
    }
    return this.#stream
  }

  refuse(status: number, headers: Readonly<Record<string, string>> = {}): void {
    this.#answerOnce()
    if (!this.#stream.isClosed) answer(this.#connection, this.#stream, status, headers)
  }

  #answerOnce(): void {
    if (this.#isAnswered) throw new TypeError('a CONNECT is answered once')
    this.#isAnswered = true
  }
}
