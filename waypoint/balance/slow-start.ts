// Slow start: an endpoint that joins a service that is already served gets a share that grows linearly to its full weight.
import type { Member } from './member.ts'

const LEAST_SHARE = 0.1 // Istio's default; from 0 a new endpoint would never get its first request
const STEPS = 50 // weights are taken as constant for 2 % of the warm-up

/** Share of the full weight after `elapsedMs` of a warm-up of `warmupMs`: 0.1…1. */
export function warmShare(elapsedMs: number, warmupMs: number): number {
  if (elapsedMs >= warmupMs) return 1
  return Math.max(LEAST_SHARE, elapsedMs / warmupMs)
}

/** Weights of members at a time. */
export class SlowStart {
  readonly #warmupMs: number

  /** @param warmupMs undefined = full weight at once */
  constructor(warmupMs: number | undefined) {
    this.#warmupMs = Math.max(0, warmupMs ?? 0)
  }

  /** Whether time matters at all; without a warm-up callers may pass any time. */
  get isOn(): boolean {
    return this.#warmupMs > 0
  }

  /** The member's weight at `nowMs` (monotonic), > 0. */
  weightOf(member: Member, nowMs: number): number {
    const { weight } = member.endpoint
    return this.isOn ? weight * warmShare(nowMs - member.warmSinceMs, this.#warmupMs) : weight
  }

  /** Until when weights read at `nowMs` are good enough; Infinity = for ever, nobody is warming up. */
  holdUntilMs(members: readonly Member[], nowMs: number): number {
    if (!this.isOn || !members.some((member) => nowMs - member.warmSinceMs < this.#warmupMs)) return Number.POSITIVE_INFINITY
    return nowMs + this.#warmupMs / STEPS
  }
}
