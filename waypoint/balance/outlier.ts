// Outlier detection: an endpoint that fails several times in a row is left out for a while, longer each time, but never more
// endpoints than allowed. Envoy's consecutive detectors, as DestinationRule names them.
import type { Clock, Timer } from '../../kit/clock.ts'
import type { OutlierDetection } from '../../model/backend.ts'
import type { Outcome } from './endpoint.ts'
import type { Member } from './member.ts'

const LONGEST_EJECTION_MS = 300_000 // Envoy's default; a longer base is kept

/** What the detector needs from the cluster. */
export interface OutlierOptions {
  readonly policy: OutlierDetection
  readonly clock: Clock
  /** Number of endpoints of which a share may be ejected. */
  readonly hosts: () => number
  readonly onEject: (member: Member) => void
  /** Some members were ejected or have come back. */
  readonly onChange: () => void
}

/** Watches the outcomes of one cluster. Its timer runs only while somebody is ejected or was lately. */
export class OutlierDetector implements Disposable {
  readonly #options: OutlierOptions
  readonly #startMs: number
  readonly #intervalMs: number
  /** Members that are ejected or whose number of ejections has not yet fallen to 0. */
  readonly #watched = new Set<Member>()
  #ejected = 0
  #timer: Timer | undefined
  #isClosed = false

  constructor(options: OutlierOptions) {
    this.#options = options
    this.#startMs = options.clock.monotonicMs()
    this.#intervalMs = Math.max(1, options.policy.intervalMs)
  }

  /** Members that are ejected now. */
  get ejected(): number {
    return this.#ejected
  }

  /** Takes the outcome of one try. Failures to connect, resets and timeouts count as gateway errors, and these as 5xx. */
  report(member: Member, outcome: Outcome): void {
    if (member.isEjected || this.#isClosed) return // answers to requests from before the ejection
    const { status, failure } = outcome
    if (status === undefined && failure === undefined) return
    const isGatewayError = failure !== undefined || status === 502 || status === 503 || status === 504
    const is5xx = isGatewayError || (status !== undefined && status >= 500)
    member.errors5xx = is5xx ? member.errors5xx + 1 : 0
    member.errorsGateway = isGatewayError ? member.errorsGateway + 1 : 0
    const { consecutive5xx, consecutiveGatewayErrors } = this.#options.policy
    if (isReached(member.errors5xx, consecutive5xx) || isReached(member.errorsGateway, consecutiveGatewayErrors)) this.#eject(member)
  }

  /** The member is no endpoint any more. */
  forget(member: Member): void {
    this.#watched.delete(member)
    if (member.isEjected) this.#ejected -= 1
    member.isEjected = false
  }

  [Symbol.dispose](): void {
    this.#isClosed = true
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
  }

  #eject(member: Member): void {
    member.errors5xx = 0
    member.errorsGateway = 0
    const { policy, clock, hosts, onEject, onChange } = this.#options
    if (this.#ejected > 0 && (this.#ejected + 1) * 100 > policy.maxEjectionPercent * hosts()) return
    member.isEjected = true
    member.ejectedAtMs = clock.monotonicMs()
    member.ejections += 1
    this.#ejected += 1
    this.#watched.add(member)
    this.#wait()
    onChange()
    onEject(member)
  }

  /** Ticks lie on multiples of the interval since the start, as if the timer had always been running. */
  #wait(): void {
    if (this.#timer !== undefined || this.#watched.size === 0 || this.#isClosed) return
    const { clock } = this.#options
    const sinceTickMs = (clock.monotonicMs() - this.#startMs) % this.#intervalMs
    this.#timer = clock.after(this.#intervalMs - sinceTickMs, () => {
      this.#timer = undefined
      this.#tick()
      this.#wait()
    })
    this.#timer.unref()
  }

  #tick(): void {
    const nowMs = this.#options.clock.monotonicMs()
    let hasChanged = false
    for (const member of this.#watched) {
      if (!member.isEjected) {
        member.ejections -= 1
        if (member.ejections <= 0) this.#watched.delete(member)
      } else if (nowMs - member.ejectedAtMs >= this.#ejectionMs(member)) {
        member.isEjected = false
        this.#ejected -= 1
        hasChanged = true
      }
    }
    if (hasChanged) this.#options.onChange()
  }

  #ejectionMs({ ejections }: Member): number {
    const { baseEjectionMs } = this.#options.policy
    return Math.min(baseEjectionMs * ejections, Math.max(baseEjectionMs, LONGEST_EJECTION_MS))
  }
}

/** 0 = this detector is off, as in Istio. */
function isReached(errors: number, threshold: number | undefined): boolean {
  return threshold !== undefined && threshold > 0 && errors >= threshold
}
