// Whether a request is tried again: by the rule's policy, and beside it where nothing can go wrong by it (the connection could
// not be made, or an idle one turned out to be closed). Used by flow.ts.
import type { MeshError } from '../../kit/error.ts'
import type { TryOutcome } from '../../policy/http/retry.ts'
import { shouldRetry } from '../../policy/http/retry.ts'
import type { BackendCluster } from '../clusters.ts'
import { waypointFailure } from '../errors.ts'
import type { TryFailure } from './attempt.ts'
import type { ProxyPlan } from './plan.ts'
import type { RequestBody } from './replay.ts'

/** Tries beside the policy: an endpoint that just went away must not cost a request, a dead backend not a storm. */
const FREE_TRIES = 2
/** Safe to send twice, RFC 9110 section 9.2.1. */
const SAFE: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE'])

/** The retries of one request; disposed of with it. */
export class RetryState implements Disposable {
  /** Retries by the policy that were begun. */
  done = 0
  /** The last retry that was granted was beside the policy: no pause. */
  isFree = false
  /** The policy was asked, and its attempts are used up. */
  isExhausted = false
  #freeLeft = FREE_TRIES
  /** Place under the backend's limit of retries. */
  #place: Disposable | undefined

  /** @returns whether the failure leads to another try, which then counts as begun */
  mayRetryFailure(plan: ProxyPlan, cluster: BackendCluster, failure: TryFailure, body: Pick<RequestBody, 'isReplayable'>): boolean {
    if (failure.kind === 'overflow' || !body.isReplayable) return false
    if (this.#freeLeft > 0 && isHarmless(plan, cluster, failure)) {
      this.#freeLeft--
      this.isFree = true
      return true
    }
    const { kind, wasSent } = failure
    return this.#byPolicy(plan, cluster, { failure: kind, wasSent })
  }

  /** @returns whether the answer is dropped in favour of another try, which then counts as begun */
  mayRetryResponse(
    plan: ProxyPlan,
    cluster: BackendCluster,
    status: number,
    grpcStatus: number | undefined,
    body: Pick<RequestBody, 'isReplayable'>,
  ): boolean {
    if (plan.route.rule.retry === undefined || !body.isReplayable) return false
    return this.#byPolicy(plan, cluster, { status, wasSent: true, ...(grpcStatus === undefined ? {} : { grpcStatus }) })
  }

  [Symbol.dispose](): void {
    this.#place?.[Symbol.dispose]()
    this.#place = undefined
  }

  #byPolicy(plan: ProxyPlan, cluster: BackendCluster, outcome: TryOutcome): boolean {
    const policy = plan.route.rule.retry
    if (policy === undefined || policy.attempts === 0) return false
    if (!shouldRetry(policy, plan.head, outcome, this.done)) {
      this.isExhausted = this.done > 0 && shouldRetry(policy, plan.head, outcome, 0)
      return false
    }
    this.#place ??= cluster.balancer.takeRetry()
    if (this.#place === undefined) return false
    this.done++
    this.isFree = false
    return true
  }
}

/** Nothing was sent, and another endpoint may do; or a safe request met a connection that the peer had closed while it was idle. */
function isHarmless(plan: ProxyPlan, cluster: BackendCluster, { kind, wasSent, isReused }: TryFailure): boolean {
  if (kind === 'connect') return cluster.balancer.stats.usable > 1
  if (kind === 'timeout') return false
  if (!wasSent) return true
  return isReused && SAFE.has(plan.head.method)
}

/** What the client is told of a failed try. */
export function errorOf({ kind, error }: TryFailure): MeshError {
  if (kind === 'connect') return error.row.status === undefined ? waypointFailure('CONNECT_FAILED', {}, error) : error
  if (kind === 'reset' && error.row.flag !== 'UPE') return waypointFailure('UPSTREAM_RESET', {}, error)
  return error
}
