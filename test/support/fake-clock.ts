// A clock that moves only when a test says so; timers that are due run in order of time.
import type { Clock, Timer } from '../../kit/clock.ts'

interface Due {
  readonly atMs: number
  readonly run: () => void
}

/** Starts at `startMs` (Unix ms, default 1,000,000). */
export class FakeClock implements Clock {
  #nowMs: number
  readonly #due = new Set<Due>()

  constructor(startMs = 1_000_000) {
    this.#nowMs = startMs
  }

  nowMs(): number {
    return this.#nowMs
  }

  monotonicMs(): number {
    return this.#nowMs
  }

  after(delayMs: number, run: () => void): Timer {
    const due = { atMs: this.#nowMs + Math.max(0, delayMs), run }
    this.#due.add(due)
    return { unref: () => undefined, [Symbol.dispose]: () => void this.#due.delete(due) }
  }

  /** Number of pending timers. */
  get pending(): number {
    return this.#due.size
  }

  /** Moves time on; after each timer the microtasks run, so that what it began can set new ones. */
  async advance(byMs: number): Promise<void> {
    const endMs = this.#nowMs + byMs
    await settle()
    for (let next = this.#next(endMs); next !== undefined; next = this.#next(endMs)) {
      this.#due.delete(next)
      this.#nowMs = Math.max(this.#nowMs, next.atMs)
      next.run()
      await settle()
    }
    this.#nowMs = endMs
  }

  #next(endMs: number): Due | undefined {
    return [...this.#due].filter((due) => due.atMs <= endMs).sort((a, b) => a.atMs - b.atMs)[0]
  }
}

/** Lets everything that is ready run. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
