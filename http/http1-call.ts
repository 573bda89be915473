// One request to an HTTP/1.1 server and its response: what the caller holds. The connection does the work.
import type { MeshError } from '../kit/error.ts'
import type { RequestHead } from '../model/http.ts'
import { httpFailure } from './errors.ts'
import type { ClientExchange, ResponseHandlers } from './exchange.ts'
import type { IncomingBody } from './incoming-body.ts'
import type { OutgoingBody } from './outgoing-body.ts'

/** The connection, as its calls use it. */
export interface CallOwner {
  /** Gives a request up; does nothing once it is over. */
  cancel(call: Call, error: MeshError): void
}

/** A request under way. */
export class Call implements ClientExchange {
  readonly head: RequestHead
  readonly handlers: ResponseHandlers
  readonly body: OutgoingBody
  readonly #owner: CallOwner
  /** The response's body; after a switch what the server sends. Undefined = no response yet. */
  incoming: IncomingBody | undefined
  /** What goes to the server after a switch. */
  raw: OutgoingBody | undefined
  /** The response is whole. */
  isReceived = false
  /** The response says that it is the last on this connection. */
  isLast = false
  interims = 0

  constructor(head: RequestHead, handlers: ResponseHandlers, body: OutgoingBody, owner: CallOwner) {
    this.head = head
    this.handlers = handlers
    this.body = body
    this.#owner = owner
  }

  cancel(error: MeshError): void {
    this.#owner.cancel(this, error)
  }

  /** No handler is called any more. */
  abandon(): void {
    this.incoming?.abandon()
    this.body.abandon()
    this.raw?.abandon()
  }

  /** It ended before its time. */
  fail(error: MeshError): void {
    const wasSent = this.body.isSent
    this.body.abandon()
    this.raw?.abandon()
    if (this.incoming === undefined) this.handlers.onFailed(error, wasSent)
    else this.incoming.fail(error.code === 'CONNECTION_CLOSED' ? httpFailure('UPSTREAM_RESET', {}, error) : error)
  }
}
