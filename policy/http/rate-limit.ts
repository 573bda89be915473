// Local rate limits: token buckets of one proxy, one for each combination of key values that comes along.
import { createHash } from 'node:crypto'
import type { RequestHead, ResponseHead } from '../../model/http.ts'
import type { LocalRateLimit } from '../../model/route.ts'
import { GRPC_STATUS, grpcError, isGrpc } from './grpc.ts'
import { headerValue } from './match.ts'

/** Whether a request is within a limit; else when the next would be. */
export type RateLimitVerdict = { readonly isAllowed: true } | { readonly isAllowed: false; readonly retryAfterMs: number }

interface Bucket {
  tokens: number
  /** When `tokens` was right. */
  atMs: number
  readonly perMs: number
  readonly burst: number
}

const ALLOWED: RateLimitVerdict = Object.freeze({ isAllowed: true })
/** Longer values are kept as their SHA-256: memory stays bounded, and nobody can make two values share a bucket. */
const MAX_VALUE_CHARACTERS = 64
/** Buckets looked at for eviction: on each request while there is room, and when there is none. */
const SWEEP = 2
const FULL_SWEEP = 64
/** Answer for limits that never allow anything. */
const NEVER_MS = 3_600_000

/**
 * The buckets of one proxy. At most `maxBuckets`: full ones, which say nothing, are dropped first; while all are in use, new
 * key values of one limit share one bucket, so that a flood of values neither takes memory nor wins anybody fresh tokens.
 * (These shared buckets come on top, one for each limit.)
 */
export class TokenBuckets {
  readonly #maxBuckets: number
  readonly #buckets = new Map<string, Bucket>()
  readonly #shared = new Map<string, Bucket>()
  readonly #prefixes = new WeakMap<LocalRateLimit, string>()
  #sweeper = this.#buckets.entries()

  constructor(maxBuckets: number) {
    this.#maxBuckets = maxBuckets
  }

  /** Buckets in use, for metrics. */
  get size(): number {
    return this.#buckets.size
  }

  /**
   * Takes a token. A limit that came anew with the same numbers goes on with its buckets.
   * @param identity the caller's, undefined = unknown: those share a bucket
   * @param nowMs monotonic
   */
  take(limit: LocalRateLimit, head: RequestHead, identity: string | undefined, nowMs: number): RateLimitVerdict {
    this.#sweep(SWEEP, nowMs)
    const bucket = this.#bucketOf(limit, head, identity, nowMs)
    refill(bucket, nowMs)
    if (bucket.tokens >= 1) {
      bucket.tokens--
      return ALLOWED
    }
    const waitMs = Math.ceil((1 - bucket.tokens) / bucket.perMs)
    return { isAllowed: false, retryAfterMs: bucket.burst >= 1 && waitMs < NEVER_MS ? waitMs : NEVER_MS }
  }

  #bucketOf(limit: LocalRateLimit, head: RequestHead, identity: string | undefined, nowMs: number): Bucket {
    const prefix = this.#prefixOf(limit)
    let key = prefix
    for (const part of limit.keys) key += keyText(part.kind === 'identity' ? identity : headerValue(head.headers, part.name.toLowerCase()))
    const known = this.#buckets.get(key)
    if (known !== undefined) return known
    if (this.#buckets.size >= this.#maxBuckets) this.#sweep(FULL_SWEEP, nowMs)
    const [map, place] = this.#buckets.size >= this.#maxBuckets ? [this.#shared, prefix] : [this.#buckets, key]
    let bucket = map.get(place)
    if (bucket === undefined) {
      bucket = { tokens: limit.burst, atMs: nowMs, perMs: limit.perMs > 0 ? limit.requests / limit.perMs : 0, burst: limit.burst }
      map.set(place, bucket)
    }
    return bucket
  }

  #prefixOf(limit: LocalRateLimit): string {
    let prefix = this.#prefixes.get(limit)
    if (prefix === undefined) {
      const keys = limit.keys.map((key) => (key.kind === 'identity' ? '@' : key.name.toLowerCase()))
      prefix = [limit.policy, limit.requests, limit.perMs, limit.burst, ...keys].join('\n')
      this.#prefixes.set(limit, prefix)
    }
    return prefix
  }

  /** Drops full buckets among the next few; the walk goes on where it stopped. */
  #sweep(count: number, nowMs: number): void {
    for (let i = 0; i < count; i++) {
      const next = this.#sweeper.next()
      if (next.done === true) {
        this.#sweeper = this.#buckets.entries()
        this.#sweepShared(nowMs)
        if (this.#buckets.size === 0) return
        continue
      }
      const [key, bucket] = next.value
      refill(bucket, nowMs)
      if (bucket.tokens >= bucket.burst) this.#buckets.delete(key)
    }
  }

  #sweepShared(nowMs: number): void {
    for (const [key, bucket] of this.#shared) {
      refill(bucket, nowMs)
      if (bucket.tokens >= bucket.burst) this.#shared.delete(key)
    }
  }
}

/** The answer to a request over a limit, without a body: 429 with Retry-After in whole seconds; gRPC RESOURCE_EXHAUSTED. */
export function rateLimited(head: RequestHead, retryAfterMs: number): ResponseHead {
  const seconds = String(Math.max(1, Math.ceil(retryAfterMs / 1000)))
  const base = isGrpc(head) ? grpcError(GRPC_STATUS.RESOURCE_EXHAUSTED, 'rate limited') : { status: 429, headers: [] }
  return { status: base.status, headers: [...base.headers, ['retry-after', seconds]] }
}

/** A clock that goes back refills nothing. */
function refill(bucket: Bucket, nowMs: number): void {
  const passed = nowMs - bucket.atMs
  if (!(passed > 0)) return
  bucket.tokens = Math.min(bucket.burst, bucket.tokens + passed * bucket.perMs)
  bucket.atMs = nowMs
}

/** Absent and empty are two values; no header holds a line feed. */
function keyText(value: string | undefined): string {
  if (value === undefined) return '\n-'
  return value.length <= MAX_VALUE_CHARACTERS ? `\n=${value}` : `\n#${createHash('sha256').update(value, 'utf8').digest('base64')}`
}
