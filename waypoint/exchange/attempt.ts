// One try of a request: a connection to the chosen endpoint, the request on it, and a limit in time. Tells how it went once;
// holds the endpoint's lease until it is over. Made by flow.ts and mirror.ts.
import type { BodyReader, ClientExchange, RawPair, ResponseHandlers } from '../../http/exchange.ts'
import type { Clock, Timer } from '../../kit/clock.ts'
import type { MeshError } from '../../kit/error.ts'
import type { RequestHead, ResponseHead } from '../../model/http.ts'
import { isGrpc } from '../../policy/http/grpc.ts'
import type { TraceSpan } from '../../telemetry/trace-span.ts'
import type { BalancedEndpoint, Lease, Outcome } from '../balance/endpoint.ts'
import type { BackendCluster } from '../clusters.ts'
import type { CallClient } from '../dial.ts'
import { waypointFailure } from '../errors.ts'
import { answeredTry, endTry } from '../spans.ts'
import type { Upstream } from '../upstream.ts'
import type { RequestBody } from './replay.ts'

/** How a try failed before a response came. */
export interface TryFailure {
  /** `overflow` = a limit of ours, which no other try gets around. */
  readonly kind: 'connect' | 'refused' | 'reset' | 'timeout' | 'overflow'
  readonly error: MeshError
  /** A byte of the request may have reached the endpoint. */
  readonly wasSent: boolean
  /** The connection had carried other requests before: maybe it was closed already. */
  readonly isReused: boolean
}

/** What a try tells. Of onResponse, onUpgrade and onFailed exactly one comes; onBroken may follow the first two. */
export interface AttemptHandlers {
  onInform(head: ResponseHead): void
  onResponse(head: ResponseHead, body: BodyReader): void
  onUpgrade(head: ResponseHead, raw: RawPair): void
  onFailed(failure: TryFailure): void
  /** The time limit of this try has passed after its response began. */
  onBroken(error: MeshError): void
}

/** What a try is made of. */
export interface AttemptOptions {
  readonly cluster: BackendCluster
  readonly endpoint: BalancedEndpoint
  readonly lease: Lease
  /** Undefined = the waypoint asks for itself. */
  readonly client: CallClient | undefined
  readonly head: RequestHead
  readonly body: Pick<RequestBody, 'length' | 'sendTo' | 'detach'>
  /** Limit of this try in ms. */
  readonly timeoutMs: number | undefined
  readonly clock: Clock
  /** Ended with the try. */
  readonly span: TraceSpan | undefined
}

/** One try. */
export class Attempt implements ResponseHandlers {
  readonly endpoint: BalancedEndpoint
  readonly #options: AttemptOptions
  readonly #handlers: AttemptHandlers
  #waiting: Disposable | undefined
  #exchange: ClientExchange | undefined
  #timer: Timer | undefined
  #isReused = false
  #hasResponse = false
  #isOver = false

  constructor(options: AttemptOptions, handlers: AttemptHandlers) {
    this.endpoint = options.endpoint
    this.#options = options
    this.#handlers = handlers
  }

  /** Begins, once. */
  start(): void {
    const { cluster, endpoint, client, head, timeoutMs, clock } = this.#options
    if (timeoutMs !== undefined) this.#timer = clock.after(timeoutMs, () => this.#expire())
    const onReady = (upstream: Upstream): void => this.#send(upstream)
    const onFailed = (error: MeshError): void => this.#fail(error.code === 'UPSTREAM_OVERFLOW' ? 'overflow' : 'connect', error, false)
    const key = { endpoint, client, host: cluster.host, version: versionFor(cluster, head) }
    const waiting = cluster.pool.acquire(key, { onReady, onFailed })
    if (!this.#isOver && this.#exchange === undefined) this.#waiting = waiting
  }

  /** Gives up; no handler is called any more. Nothing is held against the endpoint. */
  cancel(error: MeshError): void {
    if (this.#isOver) return
    this.#end({})
    this.#exchange?.cancel(error)
  }

  /** The response has ended: gives the lease back with what is known. @param isWhole the request had been sent to its end */
  done(outcome: Outcome, isWhole: boolean): void {
    if (this.#isOver) return
    this.#end(outcome)
    if (!isWhole) this.#exchange?.cancel(waypointFailure('SUPERSEDED'))
  }

  /** The response is not wanted: another try takes its place. */
  abandon(outcome: Outcome): void {
    if (this.#isOver) return
    this.#options.body.detach()
    this.#end(outcome)
    this.#exchange?.cancel(waypointFailure('SUPERSEDED'))
  }

  #send({ connection, isReused }: Upstream): void {
    if (this.#isOver) return
    this.#waiting = undefined
    this.#isReused = isReused
    const { head, body } = this.#options
    const exchange = connection.request(head, body.length, this)
    this.#exchange = exchange
    if (!this.#isOver) body.sendTo(exchange.body)
  }

  // ── the response ──
  onInform(head: ResponseHead): void {
    if (!this.#isOver) this.#handlers.onInform(head)
  }

  onResponse(head: ResponseHead, body: BodyReader): void {
    this.#hasResponse = true
    answeredTry(this.#options.span, head.status)
    if (!this.#isOver) this.#handlers.onResponse(head, body)
  }

  onUpgrade(head: ResponseHead, raw: RawPair): void {
    this.#hasResponse = true
    answeredTry(this.#options.span, head.status)
    this.#timer?.[Symbol.dispose]()
    if (!this.#isOver) this.#handlers.onUpgrade(head, raw)
  }

  onFailed(error: MeshError, wasSent: boolean): void {
    this.#fail(REFUSED.has(error.code) ? 'refused' : 'reset', error, wasSent)
  }

  #expire(): void {
    if (this.#isOver) return
    const error = waypointFailure('TRY_TIMEOUT', { ms: this.#options.timeoutMs })
    if (!this.#hasResponse) {
      this.#fail('timeout', error, this.#exchange !== undefined)
      this.#exchange?.cancel(error)
      return
    }
    this.#end({ failure: 'timeout' })
    this.#exchange?.cancel(error)
    this.#handlers.onBroken(error)
  }

  #fail(kind: TryFailure['kind'], error: MeshError, wasSent: boolean): void {
    if (this.#isOver) return
    this.#end(kind === 'overflow' ? {} : { failure: kind })
    this.#options.body.detach()
    this.#handlers.onFailed({ kind, error, wasSent, isReused: this.#isReused })
  }

  #end(outcome: Outcome): void {
    this.#isOver = true
    this.#timer?.[Symbol.dispose]()
    this.#waiting?.[Symbol.dispose]()
    this.#options.lease.done(outcome)
    endTry(this.#options.span, outcome)
  }
}

/** The endpoint did not process the request. */
const REFUSED: ReadonlySet<string> = new Set(['STREAM_REFUSED', 'CONNECTION_DRAINED'])

/**
 * HTTP version towards an endpoint: what the backend's policy says, else the service's port, else HTTP/2 for gRPC; a port of
 * unknown protocol gets what the client speaks. A protocol switch needs HTTP/1.1.
 */
export function versionFor(
  { policy, appProtocol }: Pick<BackendCluster, 'policy' | 'appProtocol'>,
  head: RequestHead,
): 'HTTP/1.1' | 'HTTP/2' {
  if (head.upgrade !== undefined) return 'HTTP/1.1'
  if (policy.http !== undefined) return policy.http
  if (appProtocol === 'HTTP2' || appProtocol === 'GRPC' || isGrpc(head)) return 'HTTP/2'
  return appProtocol === 'UNKNOWN' && head.version === 'HTTP/2' ? 'HTTP/2' : 'HTTP/1.1'
}
