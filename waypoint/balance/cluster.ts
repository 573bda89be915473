// The endpoints of one service port as one waypoint thread sees them: who may be used, whose turn it is, who is shut out for
// a while, how much may be under way. Called once per try by waypoint/; nothing here does I/O.
import type { Clock } from '../../kit/clock.ts'
import type { BalancerPolicy, ConnectionLimits, TrafficPolicy } from '../../model/backend.ts'
import type { Locality } from '../../model/workload.ts'
import type { BalancedEndpoint, Choice, ChooseContext, Lease, Outcome } from './endpoint.ts'
import { LeastRequest } from './least-request.ts'
import { Quota } from './limits.ts'
import { neighbourhoods } from './locality.ts'
import { Member } from './member.ts'
import type { Picker } from './picker.ts'
import { Plan } from './plan.ts'
import { SlowStart } from './slow-start.ts'

/** What a cluster is made of. */
export interface ClusterOptions {
  readonly policy: TrafficPolicy
  /** Where this proxy runs. */
  readonly local: Locality
  readonly clock: Clock
  /** 0 ≤ x < 1 */
  readonly random: () => number
  /** An endpoint was ejected. Must not throw. */
  readonly onEject?: (uid: string) => void
}

/** Counts at one moment; `refused*` count up for ever. */
export interface ClusterStats {
  readonly endpoints: number
  readonly usable: number
  readonly ejected: number
  readonly isPanicking: boolean
  readonly activeRequests: number
  readonly pendingRequests: number
  readonly activeRetries: number
  readonly refusedRequests: number
  readonly refusedPending: number
  readonly refusedRetries: number
}

const NO_ENDPOINT: Choice = Object.freeze({ kind: 'none', reason: 'NO_ENDPOINT' })
const OVERFLOW: Choice = Object.freeze({ kind: 'none', reason: 'OVERFLOW' })

/** Chooses endpoints by one traffic policy. Limits and ejections are its own: other threads have theirs. */
export class Cluster implements Disposable {
  readonly #options: ClusterOptions
  readonly #slowStart: SlowStart
  readonly #requests: Quota
  readonly #pending: Quota
  readonly #retries: Quota
  #members = new Map<string, Member>()
  /** Members of the plan. */
  #usable: readonly Member[] = []
  /** Undefined = the endpoints have changed since it was made. */
  #plan: Plan | undefined

  constructor(options: ClusterOptions) {
    const { limits, warmupMs } = options.policy
    this.#options = options
    this.#slowStart = new SlowStart(warmupMs)
    this.#requests = new Quota(limits.maxRequests)
    this.#pending = new Quota(limits.maxPendingRequests)
    this.#retries = new Quota(limits.maxRetries)
  }

  /** What the engine's connection pool has to keep to. */
  get limits(): ConnectionLimits {
    return this.#options.policy.limits
  }

  /** See ClusterStats. */
  get stats(): ClusterStats {
    return {
      endpoints: this.#members.size,
      usable: this.#usable.length,
      ejected: 0,
      isPanicking: this.#current().isPanicking,
      activeRequests: this.#requests.used,
      pendingRequests: this.#pending.used,
      activeRetries: this.#retries.used,
      refusedRequests: this.#requests.refused,
      refusedPending: this.#pending.refused,
      refusedRetries: this.#retries.refused,
    }
  }

  /** Takes a new list of endpoints. Those that stay (same uid and address) keep their counts, ejection and warm-up. */
  update(endpoints: readonly BalancedEndpoint[]): void {
    const next = new Map<string, Member>()
    let isSame = true
    for (const endpoint of endpoints) {
      const known = this.#members.get(endpoint.uid)
      const member = known !== undefined && isSameAddress(known.endpoint, endpoint) ? known : new Member(endpoint)
      if (member !== known || !isSameInPlan(member.endpoint, endpoint)) isSame = false
      member.endpoint = endpoint
      next.set(endpoint.uid, member)
    }
    if (isSame && next.size === this.#members.size) return
    this.#members = next
    this.#admit()
  }

  /** Chooses an endpoint for one try. What is chosen counts as active until its lease is done. */
  choose(context: ChooseContext): Choice {
    const member = this.#memberFor(context)
    if (member === undefined) return NO_ENDPOINT
    if (!this.#requests.enter()) return OVERFLOW
    member.active += 1
    return new Held(member, this.#onDone)
  }

  /** Takes a place among the requests that wait for a connection; undefined = too many wait. */
  takePending(): Disposable | undefined {
    return this.#pending.take()
  }

  /** Takes a place among the retries under way; undefined = too many, do not try again. */
  takeRetry(): Disposable | undefined {
    return this.#retries.take()
  }

  [Symbol.dispose](): void {
    this.#members.clear()
  }

  readonly #onDone = (member: Member, outcome: Outcome): void => {
    this.#requests.leave()
    member.active -= 1
    void outcome
  }

  #memberFor({ hash, exclude, session }: ChooseContext): Member | undefined {
    const plan = this.#current()
    if (session !== undefined && !exclude.has(session)) {
      const wanted = this.#members.get(session)
      if (wanted?.isUsable === true && wanted.isOpen) return wanted
    }
    const nowMs = this.#slowStart.isOn ? this.#options.clock.monotonicMs() : 0
    return plan.pick(plan.isSplit ? this.#options.random() : 0, hash ?? 0, exclude, nowMs)
  }

  /** Decides who is usable: who is ready; when nobody is, who still serves while it shuts down. */
  #admit(): void {
    const before = new Set(this.#usable)
    const able = [...this.#members.values()].filter(({ endpoint }) => endpoint.isReady && endpoint.weight > 0)
    const ready = able.filter(({ endpoint }) => !endpoint.isTerminating)
    this.#usable = ready.length > 0 ? ready : able
    for (const member of before) member.isUsable = false
    const warmSinceMs = before.size === 0 ? Number.NEGATIVE_INFINITY : this.#options.clock.monotonicMs()
    for (const member of this.#usable) {
      member.isUsable = true
      if (before.has(member)) continue
      member.turn = Number.NaN
      member.warmSinceMs = warmSinceMs // alone it must carry everything anyway
    }
    this.#plan = undefined
  }

  #current(): Plan {
    this.#plan ??= this.#newPlan()
    return this.#plan
  }

  #newPlan(): Plan {
    const { policy, local, random } = this.#options
    const parts = neighbourhoods(this.#usable, policy.locality, local, policy.outlier !== undefined)
    return new Plan(parts, (members) => newPicker(policy.balancer, members, this.#slowStart, random), policy.outlier?.minHealthPercent ?? 0)
  }
}

/** A choice and its lease in one object: one allocation per try. */
class Held implements Lease {
  readonly kind = 'endpoint'
  readonly endpoint: BalancedEndpoint
  readonly #member: Member
  #onDone: ((member: Member, outcome: Outcome) => void) | undefined

  constructor(member: Member, onDone: (member: Member, outcome: Outcome) => void) {
    this.endpoint = member.endpoint
    this.#member = member
    this.#onDone = onDone
  }

  get lease(): Lease {
    return this
  }

  done(outcome: Outcome): void {
    const onDone = this.#onDone
    this.#onDone = undefined
    onDone?.(this.#member, outcome)
  }
}

function newPicker(_policy: BalancerPolicy, members: readonly Member[], slowStart: SlowStart, random: () => number): Picker {
  return new LeastRequest(members, slowStart, random)
}

function isSameAddress(a: BalancedEndpoint, b: BalancedEndpoint): boolean {
  return a.to.ip === b.to.ip && a.to.port === b.to.port
}

/** Whether two states of one endpoint lead to the same plan. */
function isSameInPlan(a: BalancedEndpoint, b: BalancedEndpoint): boolean {
  if (a.weight !== b.weight || a.isReady !== b.isReady || a.isTerminating !== b.isTerminating) return false
  const [one, other] = [a.workload.locality, b.workload.locality]
  return one.region === other.region && one.zone === other.zone && one.subzone === other.subzone
}
