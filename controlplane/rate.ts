// Token buckets by name: a caller that floods is refused, its neighbours are not. Bounded: who asked longest ago is forgotten first.
import type { Clock } from '../kit/clock.ts'

const MOST_NAMES = 10_000
/** A flood is told of this often, not with every request. */
const TELL_EVERY_MS = 10_000

/** `burst`: requests at once; `perSecond`: in the long run. */
export interface RateOptions {
  readonly burst: number
  readonly perSecond: number
  readonly clock: Clock
}

interface Bucket {
  tokens: number
  atMs: number
  /** Refusals that have not been told of. */
  refused: number
  /** Undefined = never told of. */
  toldMs: number | undefined
}

/** One bucket per name. */
export class RateLimit {
  readonly #options: RateOptions
  readonly #buckets = new Map<string, Bucket>()

  constructor(options: RateOptions) {
    this.#options = options
  }

  /** Takes one; false = too many. */
  take(name: string): boolean {
    const { burst, perSecond, clock } = this.#options
    const now = clock.monotonicMs()
    const bucket = this.#buckets.get(name) ?? { tokens: burst, atMs: now, refused: 0, toldMs: undefined }
    const tokens = Math.min(burst, bucket.tokens + ((now - bucket.atMs) / 1000) * perSecond)
    const isFree = tokens >= 1
    bucket.tokens = isFree ? tokens - 1 : tokens
    bucket.atMs = now
    if (!isFree) bucket.refused++
    this.#buckets.delete(name) // moved to the end
    this.#buckets.set(name, bucket)
    const [oldest] = this.#buckets.keys()
    if (this.#buckets.size > MOST_NAMES && oldest !== undefined) this.#buckets.delete(oldest)
    return isFree
  }

  /** How many were refused since it was told last; undefined = too soon to tell again. */
  toTell(name: string): number | undefined {
    const bucket = this.#buckets.get(name)
    const now = this.#options.clock.monotonicMs()
    if (bucket === undefined || bucket.refused === 0) return undefined
    if (bucket.toldMs !== undefined && now - bucket.toldMs < TELL_EVERY_MS) return undefined
    const { refused } = bucket
    bucket.refused = 0
    bucket.toldMs = now
    return refused
  }
}
