// What both HTTP codecs take and give: options, limits, and the handle of a served or a dialled connection.
import type { Clock } from '../kit/clock.ts'
import type { MeshError } from '../kit/error.ts'
import type { ExchangeHandler, HttpClient } from './exchange.ts'

/** What one message or one connection may cost. A peer can make nothing grow beyond these. */
export interface HttpLimits {
  /** Bytes of a head, from the first byte of its first line to the empty line. More is refused with 431. */
  readonly headBytes: number
  /** Header fields of one head, hop-by-hop ones too. More is refused with 431. */
  readonly headers: number
  /** Bytes and fields of trailers. More breaks the message off. */
  readonly trailerBytes: number
  /** From the first byte of a request's head to its end, else 408. */
  readonly headTimeoutMs: number
  /** A connection without a request under way is closed after this. */
  readonly idleTimeoutMs: number
  /** What is left of a request's body after its response is read and dropped up to here; beyond, the connection is closed. */
  readonly drainBytes: number
  /** The same in time; also how long a closing connection waits for the peer to end its half. */
  readonly drainMs: number
}

/** Defaults. 60 KiB and 100 fields are Envoy's, which services behind a mesh have been written against. */
export const HTTP_LIMITS: HttpLimits = {
  headBytes: 60 * 1024,
  headers: 100,
  trailerBytes: 8 * 1024,
  headTimeoutMs: 15_000,
  idleTimeoutMs: 3_600_000,
  drainBytes: 64 * 1024,
  drainMs: 1_000,
}

/** How a connection that came in is served. */
export interface HttpServerOptions {
  /** Takes each request; must not throw. */
  readonly handler: ExchangeHandler
  /** Scheme of the requests: inside a tunnel the application speaks plain HTTP. */
  readonly scheme: 'http'
  readonly limits: HttpLimits
  readonly clock: Clock
  /** Once, when the connection is gone; undefined = it ended in order. */
  readonly onClosed?: (error: MeshError | undefined) => void
}

/** A connection that is being served. */
export interface HttpServerConnection {
  /**
   * Takes no request beyond those under way and those that the client has sent before it could know, tells the client so, and
   * closes after the last of them; an idle connection after `drainMs`.
   */
  drain(): void
  /** Closes at once; requests under way break off. */
  close(): void
  /** No request is under way. */
  readonly isIdle: boolean
}

/** How a connection to a server is used. */
export interface HttpClientOptions {
  readonly limits: HttpLimits
  readonly clock: Clock
  /** The connection has become free for (more) requests: `canRequest` is true again. */
  readonly onIdle?: () => void
  /** Once, when the connection is gone; undefined = it ended in order. */
  readonly onClosed?: (error: MeshError | undefined) => void
}

/** One connection to a server. */
export interface HttpConnection extends HttpClient {
  /** Whether `request` may be called now; a request that is made all the same fails with STREAM_REFUSED. */
  readonly canRequest: boolean
  /** Requests under way. */
  readonly active: number
  /** Requests made so far. */
  readonly requests: number
  /** Takes no further request and closes after those under way. */
  drain(): void
  /** Closes at once; requests under way fail with `error` (CONNECTION_CLOSED if absent). */
  close(error?: MeshError): void
}
