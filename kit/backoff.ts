// Exponential back-off with jitter; used by every reconnecting client and by the supervisor.
// Follows linkerd2-proxy's exp-backoff (min, max, jitter; reset after success).

/** Bounds in milliseconds; `jitter` 0.2 spreads each delay by ±20 %. */
export interface BackoffOptions {
  readonly minMs: number
  readonly maxMs: number
  readonly jitter?: number
  /** Uniform random number in [0, 1); default Math.random. */
  readonly random?: () => number
}

/** Gives the delay before each next try; `reset` after success. Not shared between tasks. */
export class Backoff {
  readonly #options: BackoffOptions
  #tries = 0

  constructor(options: BackoffOptions) {
    this.#options = options
  }

  /** Milliseconds to wait before the next try: min, 2·min, 4·min … max, each with jitter. */
  nextMs(): number {
    const { minMs, maxMs, jitter = 0.2, random = Math.random } = this.#options
    const plain = Math.min(maxMs, minMs * 2 ** Math.min(this.#tries, 30))
    this.#tries++
    return plain * (1 + jitter * (2 * random() - 1))
  }

  /** The next delay starts from the minimum again. */
  reset(): void {
    this.#tries = 0
  }
}
