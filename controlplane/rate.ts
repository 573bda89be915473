// Token buckets by name: a caller that floods is refused, its neighbours are not. Bounded: who asked longest ago is forgotten first.
import type { Clock } from '../kit/clock.ts'

const MOST_NAMES = 10_000

/** `burst`: requests at once; `perSecond`: in the long run. */
export interface RateOptions {
  readonly burst: number
  readonly perSecond: number
  readonly clock: Clock
}

/** One bucket per name. */
export class RateLimit {
  readonly #options: RateOptions
  readonly #buckets = new Map<string, { tokens: number; atMs: number }>()

  constructor(options: RateOptions) {
    this.#options = options
  }

  /** Takes one; false = too many. */
  take(name: string): boolean {
    const { burst, perSecond, clock } = this.#options
    const now = clock.monotonicMs()
    const bucket = this.#buckets.get(name) ?? { tokens: burst, atMs: now }
    const tokens = Math.min(burst, bucket.tokens + ((now - bucket.atMs) / 1000) * perSecond)
    const isFree = tokens >= 1
    bucket.tokens = isFree ? tokens - 1 : tokens
    bucket.atMs = now
    this.#buckets.delete(name) // moved to the end
    this.#buckets.set(name, bucket)
    const [oldest] = this.#buckets.keys()
    if (this.#buckets.size > MOST_NAMES && oldest !== undefined) this.#buckets.delete(oldest)
    return isFree
  }
}
