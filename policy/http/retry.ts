// Whether and when a request is tried again. Conditions are named and meant as Envoy's `retry_on`
// (source/common/router/retry_state_impl.cc); what may be repeated follows RFC 9110 9.2.2, which forbids a proxy to repeat a
// request that is not idempotent.
import type { RequestHead } from '../../model/http.ts'
import type { RetryCondition, RetryPolicy } from '../../model/route.ts'
import { GRPC_STATUS } from './grpc.ts'

/** How one try ended: with an answer, or with a failure. */
export interface TryOutcome {
  readonly status?: number
  readonly grpcStatus?: number
  readonly failure?: 'connect' | 'refused' | 'reset' | 'timeout'
  /** Whether a byte of the request may have reached the backend. */
  readonly wasSent: boolean
}

const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS', 'TRACE'])
/** Ceiling of the pauses, in multiples of the least one. */
const MAX_PAUSE_FACTOR = 10
/** The budget's window: ten seconds in steps of one, as linkerd2-proxy's (tower::retry::budget). */
const STEPS = 10
const STEP_MS = 1000

/**
 * Whether another try is allowed, possible and worth it. A request that is not idempotent is never tried again once a byte
 * of it may have reached a backend, whatever the policy names; all gRPC calls are POST.
 * @param retriesDone tries beyond the first that were made already
 */
export function shouldRetry(policy: RetryPolicy, head: RequestHead, outcome: TryOutcome, retriesDone: number): boolean {
  if (retriesDone >= policy.attempts) return false
  if (outcome.wasSent && !IDEMPOTENT.has(head.method)) return false
  if (policy.codes.includes(statusOf(outcome))) return true
  for (const condition of policy.conditions) if (holds(condition, outcome)) return true
  return false
}

/**
 * Pause before the next try, ms: drawn between the policy's least pause and a ceiling that doubles with each retry, from
 * twice to ten times the least.
 */
export function retryPauseMs(policy: RetryPolicy, retriesDone: number, random: () => number): number {
  const least = policy.backoffMs
  const ceiling = least * Math.min(MAX_PAUSE_FACTOR, 2 ** Math.min(retriesDone + 1, 10))
  return least + random() * (ceiling - least)
}

/**
 * Bounds retries to a share of the requests of one backend or route in one proxy, so that a backend in trouble is not buried
 * under repetitions. Fixed size; time is monotonic ms.
 */
export class RetryBudget {
  readonly #percent: number
  readonly #reserve: number
  readonly #requests = new Float64Array(STEPS)
  readonly #retries = new Float64Array(STEPS)
  /** Sums over the window. */
  #requestCount = 0
  #retryCount = 0
  /** The step that is counted in now; all steps of the window up to it are valid. */
  #step = Number.NaN

  /**
   * @param percent retries allowed per 100 requests of the last ten seconds
   * @param minPerSecond allowed in any case, on average over the window
   */
  constructor(percent: number, minPerSecond: number) {
    this.#percent = percent
    this.#reserve = (minPerSecond * STEPS * STEP_MS) / 1000
  }

  /** Counts a request (not its retries). */
  request(nowMs: number): void {
    const slot = this.#advance(nowMs)
    this.#requests[slot] = (this.#requests[slot] ?? 0) + 1
    this.#requestCount++
  }

  /** @returns whether one more retry is within the budget; if so, it is counted */
  take(nowMs: number): boolean {
    const slot = this.#advance(nowMs)
    if (this.#retryCount + 1 > (this.#requestCount * this.#percent) / 100 + this.#reserve) return false
    this.#retries[slot] = (this.#retries[slot] ?? 0) + 1
    this.#retryCount++
    return true
  }

  /** Drops what has left the window. A clock that goes back counts into the newest step. */
  #advance(nowMs: number): number {
    const now = Math.floor(nowMs / STEP_MS)
    if (Number.isNaN(this.#step)) this.#step = now
    const passed = Math.min(STEPS, now - this.#step)
    for (let i = 1; i <= passed; i++) {
      const slot = (this.#step + i) % STEPS
      this.#requestCount -= this.#requests[slot] ?? 0
      this.#retryCount -= this.#retries[slot] ?? 0
      this.#requests[slot] = 0
      this.#retries[slot] = 0
    }
    // After a jump over the whole window all slots are empty, whichever of them the loop began with.
    if (now > this.#step) this.#step = now
    return this.#step % STEPS
  }
}

/** The status that the client would get. */
function statusOf({ status, failure }: TryOutcome): number {
  if (failure === undefined) return status ?? 0
  return failure === 'timeout' ? 504 : 503
}

function holds(condition: RetryCondition, { status, grpcStatus, failure, wasSent }: TryOutcome): boolean {
  const isFailed = failure !== undefined
  const code = isFailed ? 0 : (status ?? 0)
  switch (condition) {
    case 'connect-failure':
      return failure === 'connect'
    case 'refused-stream':
      return failure === 'refused'
    case 'reset':
      return isFailed
    case 'reset-before-request':
      return isFailed && !wasSent
    case 'gateway-error':
      return isFailed || (code >= 502 && code <= 504)
    case '5xx':
      return isFailed || (code >= 500 && code <= 599)
    case 'retriable-4xx':
      return code === 409
    case 'cancelled':
      return grpcStatus === GRPC_STATUS.CANCELLED
    case 'deadline-exceeded':
      return grpcStatus === GRPC_STATUS.DEADLINE_EXCEEDED
    case 'resource-exhausted':
      return grpcStatus === GRPC_STATUS.RESOURCE_EXHAUSTED
    case 'unavailable':
      return grpcStatus === GRPC_STATUS.UNAVAILABLE
    case 'internal':
      return grpcStatus === GRPC_STATUS.INTERNAL
    default:
      return condition satisfies never
  }
}
