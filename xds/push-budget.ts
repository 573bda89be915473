// Bounds the memory of large pushes: responses that are encoded but not yet written to their sockets. Who wants to send a large one
// waits in line; a client that does not read stops counting after a while, so that it holds up nobody.
import type { Clock } from '../kit/clock.ts'

/** Bytes under way at which further large pushes wait; one push may pass it. */
export const PUSH_BUDGET_BYTES = 32 * 1024 * 1024
/** Time after which a push that is still not written is no longer counted: its client does not read. */
const STALLED_MS = 500

/** A line of waiting senders. */
export class PushBudget {
  readonly #clock: Clock
  readonly #limitBytes: number
  readonly #waiting = new Set<() => void>() // in the order in which they came
  #underWayBytes = 0
  #isServing = false

  constructor(clock: Clock, limitBytes: number) {
    this.#clock = clock
    this.#limitBytes = limitBytes
  }

  get hasRoom(): boolean {
    return this.#underWayBytes < this.#limitBytes
  }

  /** Calls `resume` once, when there is room; asking again with the same function changes nothing. */
  wait(resume: () => void): void {
    this.#waiting.add(resume)
  }

  forget(resume: () => void): void {
    this.#waiting.delete(resume)
  }

  /** Counts a push. @returns what to call when it has been written or given up; more than once is fine */
  take(bytes: number): () => void {
    let isCounted = true
    this.#underWayBytes += bytes
    const release = (): void => {
      if (!isCounted) return
      isCounted = false
      timer[Symbol.dispose]()
      this.#underWayBytes -= bytes
      this.#serve()
    }
    const timer = this.#clock.after(STALLED_MS, release)
    timer.unref()
    return release
  }

  /** In a loop and not nested: a resumed sender may finish at once. */
  #serve(): void {
    if (this.#isServing) return
    this.#isServing = true
    for (const resume of this.#waiting) {
      if (!this.hasRoom) break
      this.#waiting.delete(resume)
      resume()
    }
    this.#isServing = false
  }
}
