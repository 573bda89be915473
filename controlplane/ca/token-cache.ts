// Token reviews, remembered for a minute at most and never past the token's own end, so that a node that starts a hundred pods asks
// the API server once. Keyed by a hash: no token is kept. What a token's pod may do is not remembered: it is checked each time.
import { createHash } from 'node:crypto'
import type { Clock } from '../../kit/clock.ts'
import type { TokenReviewStatus } from '../../model/object.ts'
import { controlplaneFailure } from '../errors.ts'

/** Longest time for which a good token is believed without asking again. */
export const GOOD_MS = 60_000
/** For how long a bad one is refused without asking: a caller that repeats it costs one review per second. */
export const BAD_MS = 1000
/** Reviews that run at once; a flood of made-up tokens must not become a flood at the API server. */
export const REVIEWS_AT_ONCE = 64
/** Reviews that wait for their turn: all proxies of a big mesh come back at once when a replica has ended. */
export const REVIEWS_WAITING = 2000
const MOST_ENTRIES = 20_000
const LONGEST_TOKEN_CHARS = 16 * 1024

interface Entry {
  readonly status: TokenReviewStatus
  /** Unix ms; a jump of the clock makes it older, never younger than `untilMonotonicMs` allows. */
  readonly untilMs: number
  readonly untilMonotonicMs: number
}

/** What the cache works with. */
export interface TokenCacheOptions {
  reviewToken(token: string, audience: string): Promise<TokenReviewStatus>
  readonly clock: Clock
  /** Called with each answer: where it came from. */
  onReview?(from: 'cache' | 'api' | 'failed' | 'busy'): void
}

/** Remembers reviews. Failures to ask are not remembered. */
export class TokenCache {
  readonly #options: TokenCacheOptions
  readonly #entries = new Map<string, Entry>() // oldest first
  readonly #running = new Map<string, Promise<TokenReviewStatus>>() // those that wait included
  readonly #waiting: (() => void)[] = []
  #asked = 0

  constructor(options: TokenCacheOptions) {
    this.#options = options
  }

  /** Number of remembered reviews. */
  get size(): number {
    return this.#entries.size
  }

  /** Whose token this is. @throws BUSY when too many reviews run, and what `reviewToken` throws */
  async review(token: string, audience: string): Promise<TokenReviewStatus> {
    if (token.length > LONGEST_TOKEN_CHARS) return { authenticated: false, error: 'the token is too long' }
    const key = createHash('sha256').update(audience).update('\0').update(token).digest('base64')
    const known = this.#get(key)
    if (known !== undefined) {
      this.#options.onReview?.('cache')
      return known
    }
    const running = this.#running.get(key)
    if (running !== undefined) return running
    if (this.#running.size >= REVIEWS_AT_ONCE + REVIEWS_WAITING) {
      this.#options.onReview?.('busy')
      throw controlplaneFailure('BUSY', { reviews: this.#running.size })
    }
    const review = this.#ask(key, token, audience)
    this.#running.set(key, review)
    try {
      return await review
    } finally {
      this.#running.delete(key)
    }
  }

  async #ask(key: string, token: string, audience: string): Promise<TokenReviewStatus> {
    if (this.#asked >= REVIEWS_AT_ONCE) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    else this.#asked++
    try {
      return await this.#askNow(key, token, audience)
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#asked--
      else next() // takes over this one's turn
    }
  }

  async #askNow(key: string, token: string, audience: string): Promise<TokenReviewStatus> {
    const { reviewToken, clock, onReview } = this.#options
    const [nowMs, monotonicMs] = [clock.nowMs(), clock.monotonicMs()] // before the question: its answer is about then
    let status: TokenReviewStatus
    try {
      status = await reviewToken(token, audience)
    } catch (error) {
      onReview?.('failed')
      throw error
    }
    onReview?.('api')
    const lifeMs = status.authenticated ? Math.min(GOOD_MS, (expiryMs(token) ?? nowMs) - nowMs) : BAD_MS
    if (lifeMs > 0) this.#put(key, { status, untilMs: nowMs + lifeMs, untilMonotonicMs: monotonicMs + lifeMs })
    return status
  }

  #get(key: string): TokenReviewStatus | undefined {
    const { clock } = this.#options
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    if (clock.nowMs() < entry.untilMs && clock.monotonicMs() < entry.untilMonotonicMs) return entry.status
    this.#entries.delete(key)
    return undefined
  }

  #put(key: string, entry: Entry): void {
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    const [oldest] = this.#entries.keys()
    if (this.#entries.size > MOST_ENTRIES && oldest !== undefined) this.#entries.delete(oldest)
  }
}

/** `exp` of a token whose signature the API server has checked, Unix ms; undefined = none can be read, it is not remembered. */
export function expiryMs(token: string): number | undefined {
  const payload = token.split('.')[1]
  if (payload === undefined) return undefined
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'))
    const exp = typeof claims === 'object' && claims !== null && 'exp' in claims ? claims.exp : undefined
    return typeof exp === 'number' && Number.isFinite(exp) ? exp * 1000 : undefined
  } catch {
    return undefined // not a JWT: asked again each time
  }
}
