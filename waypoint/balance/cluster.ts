// The endpoints of one service port as one waypoint thread sees them: who may be used, whose turn it is, who is shut out for
// a while, how much may be under way. Called once per try by waypoint/; nothing here does I/O.
import type { Clock } from '../../kit/clock.ts'
import type { IpAddress } from '../../model/address.ts'
import type { ConnectionLimits, HashKey, OutlierDetection, TrafficPolicy } from '../../model/backend.ts'
import type { RequestHead } from '../../model/http.ts'
import type { Locality } from '../../model/workload.ts'
import type { BalancedEndpoint, Choice, ChooseContext, Lease, Outcome } from './endpoint.ts'
import { newHashCookie, hashOfRequest } from './hash-key.ts'
import type { NewHashCookie } from './hash-key.ts'
import { mix } from './hash.ts'
import { Quota } from './limits.ts'
import { neighbourhoods } from './locality.ts'
import { Member } from './member.ts'
import { newPicker } from './new-picker.ts'
import { OutlierDetector } from './outlier.ts'
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
const WORD = 2 ** 32
const PART_SALT = 0x27d4eb2f // a key's group and its place in the group are independent
const OVERFLOW: Choice = Object.freeze({ kind: 'none', reason: 'OVERFLOW' })

/** Chooses endpoints by one traffic policy. Limits and ejections are its own: other threads have theirs. */
export class Cluster implements Disposable {
  readonly #options: ClusterOptions
  readonly #slowStart: SlowStart
  readonly #requests: Quota
  readonly #pending: Quota
  readonly #retries: Quota
  readonly #outlier: OutlierDetector | undefined
  /** What requests are hashed by; undefined = the policy does not hash. */
  readonly #keys: readonly HashKey[] | undefined
  #members = new Map<string, Member>()
  /** Members of the plan. */
  #usable: readonly Member[] = []
  /** Undefined = the endpoints have changed since it was made. */
  #plan: Plan | undefined

  constructor(options: ClusterOptions) {
    const { balancer, limits, outlier, warmupMs } = options.policy
    this.#options = options
    this.#slowStart = new SlowStart(warmupMs)
    this.#requests = new Quota(limits.maxRequests)
    this.#pending = new Quota(limits.maxPendingRequests)
    this.#retries = new Quota(limits.maxRetries)
    this.#keys = 'keys' in balancer ? balancer.keys : undefined
    this.#outlier = outlier === undefined ? undefined : this.#newDetector(outlier)
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
      ejected: this.#outlier?.ejected ?? 0,
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
    for (const [uid, member] of this.#members) if (next.get(uid) !== member) this.#outlier?.forget(member)
    this.#members = next
    this.#admit()
  }

  /** @returns the hash that `choose` wants; undefined when the policy does not hash, or the request has none of the keys */
  hashOf(head: RequestHead, sourceIp: IpAddress): number | undefined {
    return this.#keys === undefined ? undefined : hashOfRequest(this.#keys, head, sourceIp)
  }

  /** For a request without a hash: the cookie that the policy wants the response to set, with the hash to choose by now. */
  newCookie(isHttps: boolean): NewHashCookie | undefined {
    return this.#keys === undefined ? undefined : newHashCookie(this.#keys, this.#options.random, isHttps)
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

  /** Stops its timer. Leases may still end; nobody is ejected any more. */
  [Symbol.dispose](): void {
    this.#outlier?.[Symbol.dispose]()
  }

  readonly #onDone = (member: Member, outcome: Outcome): void => {
    this.#requests.leave()
    member.active -= 1
    this.#outlier?.report(member, outcome)
  }

  #memberFor({ hash, exclude, session }: ChooseContext): Member | undefined {
    const plan = this.#current()
    if (session !== undefined && !exclude.has(session)) {
      const wanted = this.#members.get(session)
      if (wanted?.isUsable === true && wanted.isOpen) return wanted
    }
    const { clock, random } = this.#options
    const nowMs = this.#slowStart.isOn ? clock.monotonicMs() : 0
    if (this.#keys === undefined) return plan.pick(plan.isSplit ? random() : 0, 0, exclude, nowMs)
    const place = hash ?? Math.floor(random() * WORD)
    return plan.pick(mix(place ^ PART_SALT) / WORD, place, exclude, nowMs)
  }

  /** Decides who is usable: who is ready; when nobody is, who still serves while it shuts down. */
  #admit(): void {
    const before = new Set(this.#usable)
    const able = [...this.#members.values()].filter(({ endpoint }) => endpoint.isReady && endpoint.weight > 0)
    const ready = able.filter(({ endpoint }) => !endpoint.isTerminating)
    this.#usable = ready.length > 0 ? ready : able
    for (const member of before) {
      member.isUsable = false
      member.isOpen = false // the next plan may leave it out
    }
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

  #newDetector(policy: OutlierDetection): OutlierDetector {
    return new OutlierDetector({
      policy,
      clock: this.#options.clock,
      hosts: () => this.#usable.length,
      onEject: (member) => this.#options.onEject?.(member.uid),
      onChange: () => this.#plan?.weigh(),
    })
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

function isSameAddress(a: BalancedEndpoint, b: BalancedEndpoint): boolean {
  return a.to.ip === b.to.ip && a.to.port === b.to.port
}

/** Whether two states of one endpoint lead to the same plan. */
function isSameInPlan(a: BalancedEndpoint, b: BalancedEndpoint): boolean {
  if (a.weight !== b.weight || a.isReady !== b.isReady || a.isTerminating !== b.isTerminating) return false
  const [one, other] = [a.workload.locality, b.workload.locality]
  return one.region === other.region && one.zone === other.zone && one.subzone === other.subzone
}
