// Limits that a rate limit service keeps for all proxies: which descriptors a request has, the question to the service on the way
// that requests take too (balancer, HBONE as the waypoint, HTTP/2), and what its answer, or none, means. Called by exchange/flow.ts.
import { Counter } from 'prom-client'
import type { Registry } from 'prom-client'
import type { BodyReader, BodyWriter } from '../http/exchange.ts'
import { decodeRateLimitAnswer, encodeRateLimitCall, MAX_ANSWER_BYTES, SHOULD_RATE_LIMIT } from '../http/grpc-rate-limit.ts'
import type { Descriptor, RateLimitAnswer } from '../http/grpc-rate-limit.ts'
import type { Clock } from '../kit/clock.ts'
import type { MeshError } from '../kit/error.ts'
import type { HeaderField, RequestHead } from '../model/http.ts'
import { headerOf } from '../model/http.ts'
import type { SpiffeId } from '../model/identity.ts'
import type { DescriptorEntry, GlobalRateLimit } from '../model/route.ts'
import { httpStatusOf } from '../policy/http/grpc.ts'
import { headerValue } from '../policy/http/match.ts'
import { RATE_LIMIT_METRICS } from '../telemetry/names.ts'
import type { Outcome } from './balance/endpoint.ts'
import type { Clusters } from './clusters.ts'
import { waypointFailure } from './errors.ts'
import { Attempt } from './exchange/attempt.ts'
import type { TryFailure } from './exchange/attempt.ts'

/** A request, as descriptors see it. */
export interface LimitedRequest {
  readonly head: RequestHead
  readonly client: SpiffeId
  /** Name of its route; undefined = none. */
  readonly route: string | undefined
}

/** Why a request is turned away; `retryAfterMs` only when it is over a limit. */
export interface LimitRefusal {
  readonly error: MeshError
  readonly retryAfterMs: number | undefined
}

/** What questions need. */
export interface GlobalLimitsOptions {
  readonly clusters: Pick<Clusters, 'get'>
  readonly clock: Clock
  readonly metrics: Registry
}

/** For services that do not say when a limit begins anew. */
const DEFAULT_RETRY_MS = 1000
/** Another try only where the first one cannot have been counted, or its connection was stale. */
const MOST_TRIES = 2

/** Asks rate limit services. */
export class GlobalLimits {
  readonly #options: GlobalLimitsOptions
  readonly #answers: Counter<'policy' | 'outcome'>

  constructor(options: GlobalLimitsOptions) {
    this.#options = options
    this.#answers = new Counter({
      name: 'weft_global_rate_limits_total',
      help: RATE_LIMIT_METRICS.weft_global_rate_limits_total,
      labelNames: ['policy', 'outcome'],
      registers: [options.metrics],
    })
  }

  /**
   * Asks about the limits, one after the other, until one is passed.
   * @param decided called once, maybe at once: undefined = go on; else GLOBAL_RATE_LIMITED or RATE_LIMIT_FAILED
   * @returns disposed of, nothing is called any more
   */
  ask(limits: readonly GlobalRateLimit[], request: LimitedRequest, decided: (refusal: LimitRefusal | undefined) => void): Disposable {
    let question: Question | undefined
    const next = (at: number): void => {
      const limit = limits[at]
      if (limit === undefined) {
        decided(undefined)
        return
      }
      const descriptors = descriptorsOf(limit, request)
      if (descriptors.length === 0) {
        next(at + 1)
        return
      }
      question = new Question(this.#options, limit, descriptors, (answer) => {
        const refusal = this.#judge(limit, answer)
        if (refusal === undefined) next(at + 1)
        else decided(refusal)
      })
      question.start()
    }
    next(0)
    return { [Symbol.dispose]: () => question?.cancel() }
  }

  #judge(limit: GlobalRateLimit, answer: RateLimitAnswer | MeshError): LimitRefusal | undefined {
    const { policy, failsOpen } = limit
    if ('isAllowed' in answer) {
      this.#answers.inc({ policy, outcome: answer.isAllowed ? 'allowed' : 'limited' })
      if (answer.isAllowed) return undefined
      return { error: waypointFailure('GLOBAL_RATE_LIMITED', { policy }), retryAfterMs: answer.retryAfterMs ?? DEFAULT_RETRY_MS }
    }
    this.#answers.inc({ policy, outcome: failsOpen ? 'failed_open' : 'failed_closed' })
    return failsOpen ? undefined : { error: waypointFailure('RATE_LIMIT_FAILED', { policy }, answer), retryAfterMs: undefined }
  }
}

/** The descriptors that a request has: those with a header that it lacks are left out. */
export function descriptorsOf({ descriptors }: GlobalRateLimit, request: LimitedRequest): Descriptor[] {
  return descriptors.flatMap((entries) => {
    const filled = entries.flatMap((entry) => {
      const value = entryValue(entry, request)
      return value === undefined ? [] : [{ key: entry.key, value }]
    })
    return filled.length === entries.length && filled.length > 0 ? [filled] : []
  })
}

function entryValue(entry: DescriptorEntry, { head, client, route }: LimitedRequest): string | undefined {
  switch (entry.kind) {
    case 'identity':
      return client
    case 'route':
      return route ?? ''
    case 'header':
      return headerValue(head.headers, entry.name)
    case 'text':
      return entry.value
    default:
      return entry satisfies never
  }
}

/** One question to one service. */
class Question {
  readonly #options: GlobalLimitsOptions
  readonly #limit: GlobalRateLimit
  readonly #body: Buffer
  readonly #answered: (answer: RateLimitAnswer | MeshError) => void
  readonly #endMs: number
  readonly #tried = new Set<string>()
  #attempt: Attempt | undefined
  #tries = 0
  #isOver = false

  constructor(
    options: GlobalLimitsOptions,
    limit: GlobalRateLimit,
    descriptors: readonly Descriptor[],
    answered: (answer: RateLimitAnswer | MeshError) => void,
  ) {
    this.#options = options
    this.#limit = limit
    this.#body = encodeRateLimitCall(limit.domain, descriptors)
    this.#answered = answered
    this.#endMs = options.clock.monotonicMs() + limit.timeoutMs
  }

  start(): void {
    const { clusters, clock } = this.#options
    const cluster = clusters.get(this.#limit.service)
    const choice = cluster?.balancer.choose({ hash: undefined, exclude: this.#tried, session: undefined })
    if (cluster === undefined || choice?.kind !== 'endpoint') {
      this.#end(waypointFailure('NO_HEALTHY_UPSTREAM', { service: this.#limit.service.service }))
      return
    }
    const { endpoint, lease } = choice
    this.#tried.add(endpoint.uid)
    this.#tries++
    const timeoutMs = Math.max(1, this.#endMs - clock.monotonicMs())
    const send = (writer: BodyWriter): void => {
      writer.write(this.#body)
      writer.end()
    }
    const body = { length: this.#body.length, sendTo: send, detach: () => undefined }
    const head = headFor(cluster.host ?? this.#limit.service.service, timeoutMs)
    this.#attempt = new Attempt(
      { cluster, endpoint, lease, client: undefined, head, body, timeoutMs, clock, span: undefined },
      {
        onInform: () => undefined,
        onResponse: ({ status, headers }, reader) => this.#read(status, headers, reader),
        onUpgrade: () => this.#broken({ status: 500 }, 'it switched protocols'),
        onFailed: (failure) => this.#failed(failure),
        onBroken: (error) => this.#end(error),
      },
    )
    this.#attempt.start()
  }

  cancel(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#attempt?.cancel(waypointFailure('CLIENT_GONE'))
  }

  #read(status: number, headers: readonly HeaderField[], reader: BodyReader): void {
    const chunks: Buffer[] = []
    let bytes = 0
    reader.start({
      onData: (chunk) => {
        bytes += chunk.length
        if (bytes > MAX_ANSWER_BYTES) this.#broken({ status: 500 }, 'its answer is too long')
        else chunks.push(Buffer.from(chunk))
      },
      onEnd: (trailers) => {
        const grpc = headerOf(trailers, 'grpc-status') ?? headerOf(headers, 'grpc-status')
        if (status !== 200 || grpc !== '0') {
          const code = /^\d{1,2}$/.test(grpc ?? '') ? httpStatusOf(Number(grpc)) : 500
          this.#broken({ status: status === 200 ? code : status }, `status ${status}, grpc-status ${grpc ?? 'absent'}`)
          return
        }
        const answer = decodeRateLimitAnswer(Buffer.concat(chunks))
        if (!answer.ok) {
          this.#broken({ status: 500 }, answer.errors.join('; '))
          return
        }
        this.#attempt?.done({ status }, true)
        this.#end(answer.value)
      },
      onError: (error) => {
        this.#attempt?.done({ failure: 'reset' }, true)
        this.#end(error)
      },
    })
  }

  #failed({ kind, isReused, error }: TryFailure): void {
    const isFree = kind === 'connect' || kind === 'refused' || (kind === 'reset' && isReused)
    if (isFree && !this.#isOver && this.#tries < MOST_TRIES && this.#options.clock.monotonicMs() < this.#endMs) {
      if (isReused) this.#tried.clear() // the connection was at fault
      this.start()
    } else this.#end(error)
  }

  /** What it says is no answer. */
  #broken(outcome: Outcome, reason: string): void {
    this.#attempt?.abandon(outcome)
    this.#end(waypointFailure('RATE_LIMIT_FAILED', { reason }))
  }

  #end(answer: RateLimitAnswer | MeshError): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#answered(answer)
  }
}

function headFor(authority: string, timeoutMs: number): RequestHead {
  const headers: HeaderField[] = [
    ['content-type', 'application/grpc'],
    ['te', 'trailers'],
    ['grpc-timeout', `${Math.ceil(timeoutMs)}m`],
  ]
  return {
    version: 'HTTP/2',
    method: 'POST',
    scheme: 'http',
    authority,
    path: SHOULD_RATE_LIMIT,
    query: undefined,
    headers,
    upgrade: undefined,
  }
}
