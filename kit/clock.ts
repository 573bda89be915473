// Time as an injected value, so that renewal, back-off and expiry can be tested without waiting.
// Product code takes a Clock; only this file may call Date.now and setTimeout in the low layers.

/** A pending timer. Disposing it twice, or after it fired, does nothing. */
export interface Timer extends Disposable {
  /** Lets the process end although the timer is pending. */
  unref(): void
}

/** Source of time. `nowMs` is wall time (Unix, ms); `monotonicMs` never goes back and has no defined zero. */
export interface Clock {
  nowMs(): number
  monotonicMs(): number
  /** Calls `run` once after `delayMs` (clamped to 0…2^31-1). */
  after(delayMs: number, run: () => void): Timer
}

const LONGEST_DELAY_MS = 0x7fffffff // setTimeout fires at once above this

/** The machine's clock. */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after: (delayMs, run) => new SystemTimer(setTimeout(run, Math.min(Math.max(delayMs, 0), LONGEST_DELAY_MS))),
}

class SystemTimer implements Timer {
  readonly #timer: NodeJS.Timeout

  constructor(timer: NodeJS.Timeout) {
    this.#timer = timer
  }

  unref(): void {
    this.#timer.unref()
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer)
  }
}

/**
 * Waits, or ends early when `signal` aborts (without throwing: callers check the signal).
 * @param delayMs milliseconds
 */
export function pause(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) return resolve()
    const done = (): void => {
      timer[Symbol.dispose]()
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = clock.after(delayMs, done)
    signal?.addEventListener('abort', done, { once: true })
  })
}
