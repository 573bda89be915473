// One request from its head to the end of its response: plan → fault → try (and try again) → response → record. The phases
// stand in this order; each ends the flow or leads to the next. Called by serve.ts for every request.
import type { BodyReader, BodyWriter, RawPair, ServerExchange } from '../../http/exchange.ts'
import type { Timer } from '../../kit/clock.ts'
import type { MeshError } from '../../kit/error.ts'
import type { RequestHead, ResponseHead } from '../../model/http.ts'
import type { GlobalRateLimit } from '../../model/route.ts'
import type { InjectedFault } from '../../policy/http/choose.ts'
import { grpcStatusIn, httpStatusOf, isGrpc } from '../../policy/http/grpc.ts'
import { retryPauseMs } from '../../policy/http/retry.ts'
import type { TraceSpan } from '../../telemetry/trace-span.ts'
import type { BackendCluster } from '../clusters.ts'
import { refusalFor, serviceRefusalFor } from '../context.ts'
import type { Downstream, WaypointContext } from '../context.ts'
import { waypointFailure } from '../errors.ts'
import { openRecord } from '../record.ts'
import type { RequestRecord } from '../record.ts'
import { beginRequest, beginTry, endRequest, tracedHead } from '../spans.ts'
import { Attempt } from './attempt.ts'
import type { AttemptHandlers, TryFailure } from './attempt.ts'
import { mirrorRequest } from './mirror.ts'
import { globalLimitsOf, plainPlan, planRequest, retryAfter, withRequestId } from './plan.ts'
import type { Plan, ProxyPlan } from './plan.ts'
import { joinRaw, pump } from './raw.ts'
import type { RawCounters } from './raw.ts'
import { RequestBody } from './replay.ts'
import { affinityOf, responseFor, watchEnd } from './response.ts'
import type { Affinity } from './response.ts'
import type { ReplyDetails } from './reply.ts'
import { reply, replyError } from './reply.ts'
import { RetryState, errorOf } from './retries.ts'

const NOBODY: ReadonlySet<string> = new Set()

/** Proxies one request to its end; never throws. */
export function handleExchange(exchange: ServerExchange, downstream: Downstream, waypoint: WaypointContext): void {
  const flow = new Flow(exchange, downstream, waypoint)
  try {
    flow.run()
  } catch (error) {
    flow.fail(error) // a rule that cannot be carried out must not take the other requests down
  }
}

class Flow {
  readonly #exchange: ServerExchange
  readonly #downstream: Downstream
  readonly #waypoint: WaypointContext
  readonly #head: RequestHead
  readonly #record: RequestRecord
  readonly #span: TraceSpan | undefined
  readonly #body: RequestBody
  readonly #retries: RetryState
  /** Endpoints that failed; made with the first of them. */
  #tried: Set<string> | undefined
  #affinity: Affinity | undefined
  #attempt: Attempt | undefined
  /** Set once the response has begun. */
  #writer: BodyWriter | undefined
  /** The fault's delay or the pause before a retry. */
  #pause: Timer | undefined
  #deadline: Timer | undefined
  /** To rate limit services. */
  #question: Disposable | undefined
  #live: Disposable | undefined
  /** Set after a protocol switch. */
  #raw: RawCounters | undefined
  #isOver = false
  /** For names of endpoints. */
  #hasWaited = false

  constructor(exchange: ServerExchange, downstream: Downstream, waypoint: WaypointContext) {
    this.#exchange = exchange
    this.#downstream = downstream
    this.#waypoint = waypoint
    this.#head = withRequestId(exchange.request, waypoint.newId)
    this.#record = openRecord(downstream.client, downstream.target.service, this.#head, waypoint.clock.monotonicMs())
    this.#span = beginRequest(waypoint.tracing, downstream.target, this.#head)
    this.#body = new RequestBody(
      exchange.body,
      waypoint.settings.replayBytes,
      (error) => this.#clientGone(error),
      (chunk) => this.#record.messages?.request.take(chunk),
    )
    this.#retries = new RetryState()
  }

  /** Something that should not happen has. */
  fail(cause: unknown): void {
    const error = waypointFailure('INTERNAL', { path: this.#head.path }, cause)
    this.#waypoint.log.error('a request could not be planned', { code: error.code, error: error.message, route: this.#record.route })
    this.#breakOff(error)
  }

  /** Plans. */
  run(): void {
    const { client, target } = this.#downstream
    const { config, buckets, clock, random } = this.#waypoint
    const gone = (error: MeshError): void => this.#clientGone(error)
    this.#exchange.onClosed = gone
    const refusal = serviceRefusalFor(this.#downstream, this.#head, config)
    if (refusal !== undefined) {
      this.#refuse(refusal)
      return
    }
    if (target.kind === 'workload') {
      this.#begin(plainPlan(this.#head))
      return
    }
    const entry = config.listenerFor(target.entry.listener.service, target.port) ?? target.entry
    const plan = planRequest(this.#head, { entry, client, buckets, nowMs: clock.monotonicMs(), random })
    this.#record.route = plan.route?.name
    if (plan.kind === 'refuse') {
      this.#refuse(plan.error, { headers: plan.headers })
      return
    }
    const limits = globalLimitsOf(entry.listener, plan.route)
    if (limits.length === 0) this.#carryOut(plan)
    else this.#askAbout(limits, plan)
  }

  /** Only then anything happens, also an answer of the rule's own. */
  #askAbout(limits: readonly GlobalRateLimit[], plan: Exclude<Plan, { kind: 'refuse' }>): void {
    const request = { head: this.#head, client: this.#downstream.client.id, route: plan.route.name }
    const question = this.#waypoint.globalLimits.ask(limits, request, (refusal) => {
      if (refusal === undefined) this.#carryOut(plan)
      else this.#refuse(refusal.error, refusal.retryAfterMs === undefined ? {} : { headers: [retryAfter(refusal.retryAfterMs)] })
    })
    if (this.#isOver) question[Symbol.dispose]()
    else this.#question = question
  }

  #carryOut(plan: Exclude<Plan, { kind: 'refuse' }>): void {
    try {
      if (plan.kind === 'proxy') this.#begin(plan)
      else {
        reply(this.#exchange, plan.response, this.#record)
        this.#finish()
      }
    } catch (error) {
      this.fail(error)
    }
  }

  /** Faults, then the first try. */
  #begin(plan: ProxyPlan): void {
    const { requestMs } = plan.route.rule.timeouts
    this.#record.route = plan.route.name
    if (requestMs !== undefined && requestMs > 0) {
      this.#deadline = this.#waypoint.clock.after(requestMs, () => this.#breakOff(waypointFailure('REQUEST_TIMEOUT', { ms: requestMs })))
    }
    const { fault } = plan
    if (fault === undefined || fault.delayMs === 0) {
      this.#afterDelay(plan, fault)
      return
    }
    this.#record.flags.add('DI')
    this.#pause = this.#waypoint.clock.after(fault.delayMs, () => this.#afterDelay(plan, fault))
  }

  #afterDelay(plan: ProxyPlan, fault: InjectedFault | undefined): void {
    const abort = fault?.abort
    if (abort !== undefined) {
      this.#refuse(waypointFailure('FAULT_ABORT'), { status: abort.status, grpcStatus: abort.grpcStatus })
      return
    }
    if (plan.backend === undefined && this.#downstream.target.kind === 'service') {
      this.#refuse(waypointFailure('INVALID_BACKEND'))
      return
    }
    mirrorRequest(plan.mirrors, plan.head, this.#body, this.#downstream.client, this.#waypoint, this.#span)
    this.#try(plan)
  }

  /** One try. @param before the failure that leads to this one */
  #try(plan: ProxyPlan, before?: MeshError): void {
    const cluster = this.#clusterOf(plan)
    if (cluster === undefined) {
      this.#refuse(before ?? waypointFailure('NO_HEALTHY_UPSTREAM'))
      return
    }
    this.#record.cluster = cluster.name
    this.#record.backend = cluster.service
    const { client } = this.#downstream
    this.#affinity ??= affinityOf(this.#head, plan.route.rule.sessionPersistence, cluster, client.ip, this.#waypoint.random)
    const { hash, session } = this.#affinity
    const choice = cluster.balancer.choose({ hash, exclude: this.#tried ?? NOBODY, session })
    if (choice.kind === 'none') {
      if (choice.reason === 'NO_ENDPOINT' && this.#waitsForNames(plan, before)) return
      const code = choice.reason === 'OVERFLOW' ? 'UPSTREAM_OVERFLOW' : 'NO_HEALTHY_UPSTREAM'
      this.#refuse(before ?? waypointFailure(code, { cluster: cluster.name }))
      return
    }
    const { endpoint, lease } = choice
    this.#record.endpoint = { to: endpoint.to, workload: endpoint.workload }
    const refusal = refusalFor(client, endpoint, this.#waypoint)
    if (refusal !== undefined) {
      lease.done({})
      this.#refuse(refusal)
      return
    }
    const span = beginTry(this.#span, 'router', cluster, endpoint, this.#record.tries++)
    const { rule } = plan.route
    const timeoutMs = rule.retry?.perTryMs ?? rule.timeouts.backendRequestMs
    const { clock } = this.#waypoint
    const head = tracedHead(plan.head, span)
    const options = { cluster, endpoint, lease, client, head, body: this.#body, timeoutMs, clock, span }
    this.#attempt = new Attempt(options, this.#handlersFor(plan, cluster))
    this.#attempt.start()
  }

  #handlersFor(plan: ProxyPlan, cluster: BackendCluster): AttemptHandlers {
    const onInform = (head: ResponseHead): void => this.#exchange.inform(head)
    const onResponse = (head: ResponseHead, body: BodyReader): void => this.#onResponse(plan, cluster, head, body)
    const onUpgrade = (head: ResponseHead, raw: RawPair): void => this.#onUpgrade(plan, head, raw)
    const onFailed = (failure: TryFailure): void => this.#onFailed(plan, cluster, failure)
    const onBroken = (error: MeshError): void => this.#breakOff(error)
    return { onInform, onResponse, onUpgrade, onFailed, onBroken }
  }

  #clusterOf(plan: ProxyPlan): BackendCluster | undefined {
    const { target } = this.#downstream
    const { clusters } = this.#waypoint
    if (target.kind === 'workload') return clusters.direct(target.workload, target.to, target.service)
    return plan.backend === undefined ? undefined : (clusters.dialled(target, plan.backend) ?? clusters.get(plan.backend))
  }

  /** Whether the endpoints have names that are being looked up: then the try is made again, once. */
  #waitsForNames(plan: ProxyPlan, before: MeshError | undefined): boolean {
    const { target } = this.#downstream
    if (this.#hasWaited || target.kind === 'workload' || plan.backend === undefined) return false
    const resolving = this.#waypoint.clusters.resolving(plan.backend)
    if (resolving === undefined) return false
    this.#hasWaited = true
    void resolving.then(() => {
      if (!this.#isOver) this.#try(plan, before)
    })
    return true
  }

  #onFailed(plan: ProxyPlan, cluster: BackendCluster, failure: TryFailure): void {
    const error = errorOf(failure)
    if (this.#retries.mayRetryFailure(plan, cluster, failure, this.#body)) this.#again(plan, failure, error)
    else this.#refuse(error)
  }

  /** Another try, elsewhere if there is another endpoint. */
  #again(plan: ProxyPlan, failure: TryFailure | undefined, error: MeshError): void {
    const attempt = this.#attempt
    this.#attempt = undefined
    const isStale = failure?.isReused === true && failure.kind !== 'connect' // the connection was at fault, not the endpoint
    if (attempt !== undefined && !isStale) {
      this.#tried ??= new Set()
      this.#tried.add(attempt.endpoint.uid)
    }
    const pauseMs = this.#retries.isFree ? 0 : this.#pauseMs(plan)
    if (pauseMs === 0) this.#try(plan, error)
    else this.#pause = this.#waypoint.clock.after(pauseMs, () => this.#try(plan, error))
  }

  #pauseMs(plan: ProxyPlan): number {
    const policy = plan.route.rule.retry
    return policy === undefined ? 0 : retryPauseMs(policy, this.#retries.done - 1, this.#waypoint.random)
  }

  #onResponse(plan: ProxyPlan, cluster: BackendCluster, head: ResponseHead, body: BodyReader): void {
    const grpcStatus = grpcStatusIn(head.headers)
    if (this.#retries.mayRetryResponse(plan, cluster, head.status, grpcStatus, this.#body)) {
      this.#attempt?.abandon({ status: grpcStatus === undefined ? head.status : httpStatusOf(grpcStatus) })
      this.#again(plan, undefined, waypointFailure('RETRIES_EXHAUSTED'))
      return
    }
    const record = this.#record
    if (this.#retries.isExhausted) record.flags.add('URX')
    this.#body.forget()
    record.status = head.status
    record.responseMs = this.#waypoint.clock.monotonicMs()
    this.#waypoint.recorder.answering?.(record)
    const writer = this.#exchange.respond(this.#edited(plan, head), body.length)
    this.#writer = writer
    // Trailers are looked at on their way: a gRPC call tells there how it went.
    const seen: BodyWriter = watchEnd(writer, (trailers) => {
      record.grpcStatus = grpcStatus ?? grpcStatusIn(trailers)
    })
    pump(
      body,
      seen,
      (error) => (error === undefined ? this.#responded(head.status) : this.#upstreamGone(error)),
      (chunk) => {
        record.bytesSent += chunk.length
        record.messages?.response.take(chunk)
      },
    )
  }

  #edited(plan: ProxyPlan, head: ResponseHead): ResponseHead {
    return responseFor(plan, head, this.#affinity, this.#attempt?.endpoint.uid)
  }

  #responded(status: number): void {
    const { grpcStatus } = this.#record
    const seen = isGrpc(this.#head) && grpcStatus !== undefined ? httpStatusOf(grpcStatus) : status
    this.#attempt?.done({ status: seen }, this.#body.isWhole)
    this.#finish()
  }

  /** The endpoint broke its response off: the client sees that it is not whole (pump has aborted it). */
  #upstreamGone(error: MeshError): void {
    this.#attempt?.done({ failure: 'reset' }, true)
    this.#fail(error, 'UC')
  }

  #onUpgrade(plan: ProxyPlan, head: ResponseHead, raw: RawPair): void {
    this.#deadline?.[Symbol.dispose]() // what was asked for has been answered; the conversation may last
    const record = this.#record
    record.status = head.status
    const client = this.#exchange.upgrade(this.#edited(plan, head))
    const counters = { fromClient: 0, toClient: 0 }
    this.#raw = counters
    this.#writer = client.writer
    this.#live = this.#waypoint.live.add({
      drain: () => undefined,
      close: () => this.#breakOff(waypointFailure('DRAINED')),
      recheck: () => this.#recheck(),
    })
    joinRaw(client, raw, counters, (error) => {
      this.#attempt?.done(error === undefined ? { status: head.status } : {}, true)
      if (error === undefined) this.#finish()
      else this.#fail(error, error.source === 'downstream' ? 'DC' : 'UC')
    })
  }

  /** A conversation goes on only while it would be allowed to begin. */
  #recheck(): void {
    const endpoint = this.#attempt?.endpoint
    const { client } = this.#downstream
    const isRefused =
      serviceRefusalFor(this.#downstream, this.#head, this.#waypoint.config) !== undefined ||
      (endpoint !== undefined && refusalFor(client, endpoint, this.#waypoint) !== undefined)
    if (!isRefused) return
    this.#breakOff(waypointFailure('POLICY_CHANGED'))
  }

  /** Ends with an answer if none has begun, else by breaking it off. */
  #breakOff(error: MeshError): void {
    if (this.#isOver) return
    const attempt = this.#attempt
    if (this.#writer === undefined) {
      attempt?.cancel(error)
      this.#refuse(error)
      return
    }
    this.#writer.abort(error)
    attempt?.cancel(error)
    this.#fail(error, error.row.flag ?? 'UC')
  }

  #clientGone(error: MeshError): void {
    if (this.#isOver) return
    this.#attempt?.cancel(error)
    if (this.#writer !== undefined) this.#writer.abort(error)
    else if (error.code !== 'CLIENT_GONE') this.#exchange.reset(error)
    this.#fail(error, 'DC')
  }

  #refuse(error: MeshError, details: ReplyDetails = {}): void {
    if (this.#isOver) return
    if (this.#retries.isExhausted) this.#record.flags.add('URX')
    replyError(this.#exchange, error, this.#record, details)
    this.#finish()
  }

  #fail(error: MeshError, flag: string): void {
    this.#record.error = error
    this.#record.flags.add(flag)
    this.#finish()
  }

  /** Once: lets go of everything and writes the record. */
  #finish(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#exchange.onClosed = undefined
    this.#pause?.[Symbol.dispose]()
    this.#deadline?.[Symbol.dispose]()
    this.#question?.[Symbol.dispose]()
    this.#live?.[Symbol.dispose]()
    this.#retries[Symbol.dispose]()
    const record = this.#record
    record.bytesReceived = this.#raw?.fromClient ?? this.#body.received
    record.bytesSent = this.#raw?.toClient ?? record.bytesSent
    this.#body.stop()
    record.endMs = this.#waypoint.clock.monotonicMs()
    this.#waypoint.recorder.ended(record)
    endRequest(this.#span, record)
  }
}
