// Bounds how many large responses are being written at once; who wants to send another waits in line. When none of them gets
// finished, the oldest stops counting: its client does not read, and holds up nobody.
import type { Clock, Timer } from '../kit/clock.ts'

/** Time without progress after which the first in line is let in. */
const STALLED_MS = 500

/** A line of waiting senders. */
export class PushLine {
  readonly #clock: Clock
  readonly #limit: number
  readonly #waiting = new Set<() => void>() // in the order in which they came
  readonly #underWay = new Set<symbol>() // oldest first
  #isServing = false
  #stall: Timer | undefined // runs while somebody waits

  constructor(clock: Clock, limit: number) {
    this.#clock = clock
    this.#limit = limit
  }

  get hasRoom(): boolean {
    return this.#underWay.size < this.#limit
  }

  /** Calls `resume` once, when there is room; asking again with the same function changes nothing. */
  wait(resume: () => void): void {
    this.#waiting.add(resume)
    if (this.#stall === undefined) this.#watch()
  }

  forget(resume: () => void): void {
    this.#waiting.delete(resume)
  }

  /** Counts a response. @returns what to call when it has been written or given up; more than once is fine */
  enter(): () => void {
    const push = Symbol('push')
    this.#underWay.add(push)
    return () => {
      if (!this.#underWay.delete(push)) return
      this.#watch()
      this.#serve()
    }
  }

  /** (Re)starts the time without progress. */
  #watch(): void {
    this.#stall?.[Symbol.dispose]()
    this.#stall = undefined
    if (this.#waiting.size === 0) return
    this.#stall = this.#clock.after(STALLED_MS, () => {
      const [oldest] = this.#underWay
      if (oldest !== undefined) this.#underWay.delete(oldest)
      this.#watch()
      this.#serve()
    })
    this.#stall.unref()
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
