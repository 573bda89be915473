// What one HTTP/2 connection may cost the server beyond its requests: premature resets by either side (CVE-2023-44487 rapid
// reset, CVE-2025-8671 MadeYouReset) and control frames (the floods of 2019). nghttp2 bounds the frames that it sees itself.
import type { Clock } from '../kit/clock.ts'
import { IDLE_FRAME_BURST, IDLE_FRAMES_PER_SECOND, MAX_RESETS_PER_WINDOW, RESET_WINDOW_MS } from './h2-limits.ts'

/** Counters of one connection; a method that returns true says: close it. */
export class H2Abuse {
  readonly #clock: Clock
  /** Control frames not yet forgiven, as of #levelAt. */
  #level = 0
  #levelAt = 0
  #windowAt = 0
  /** Premature resets since #windowAt. */
  #resets = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** A PING or SETTINGS frame. */
  controlFrame(): boolean {
    const now = this.#clock.monotonicMs()
    this.#level = Math.max(0, this.#level - ((now - this.#levelAt) / 1000) * IDLE_FRAMES_PER_SECOND) + 1
    this.#levelAt = now
    return this.#level > IDLE_FRAME_BURST
  }

  /** @returns the time, to be given to `streamReset`. */
  streamOpened(): number {
    return this.#clock.monotonicMs()
  }

  /** A stream ended by a reset, whoever sent it. */
  streamReset(openedAt: number): boolean {
    const now = this.#clock.monotonicMs()
    if (now - openedAt > RESET_WINDOW_MS) return false
    if (now - this.#windowAt > RESET_WINDOW_MS) {
      this.#windowAt = now
      this.#resets = 0
    }
    this.#resets++
    return this.#resets > MAX_RESETS_PER_WINDOW
  }
}
