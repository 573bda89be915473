// What one HTTP/2 connection may cost beyond its messages: unproductive frames (a leaky bucket that messages drain) and premature
// resets by either side (CVE-2023-44487 rapid reset, CVE-2025-8671 MadeYouReset, the control-frame floods of 2019).
import type { Clock } from '../kit/clock.ts'
import {
  FORGIVEN_BYTES,
  FORGIVEN_PER_MESSAGE_FRAME,
  IDLE_FRAME_BURST,
  IDLE_FRAMES_PER_SECOND,
  MOST_OWED_UPDATES,
  RESET_MIN_STREAMS,
  RESET_WINDOW_MS,
} from './h2-limits.ts'

/** Counters of one connection; a method that returns true says: close it. */
export class H2Abuse {
  readonly #clock: Clock
  /** Unproductive frames not yet forgiven, as of #levelAt. */
  #level = 0
  #levelAt = 0
  /** WINDOW_UPDATEs that may still come for what was sent. */
  #owed = 0
  #windowAt = 0
  /** Streams opened, and reset early, in this and in the last window. */
  #opened = 0
  #reset = 0
  #openedBefore = 0
  #resetBefore = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** A frame that moves nothing forward. */
  idleFrame(): boolean {
    const now = this.#clock.monotonicMs()
    this.#level = Math.max(0, this.#level - ((now - this.#levelAt) / 1000) * IDLE_FRAMES_PER_SECOND) + 1
    this.#levelAt = now
    return this.#level > IDLE_FRAME_BURST
  }

  /** A WINDOW_UPDATE; one that returns credit for what we have sent is no abuse, in whatever burst it comes. */
  windowUpdate(): boolean {
    if (this.#owed < 1) return this.idleFrame()
    this.#owed--
    return false
  }

  /** So many bytes were sent: the peer may return their credit. */
  sent(bytes: number): void {
    this.#owed = Math.min(MOST_OWED_UPDATES, this.#owed + FORGIVEN_PER_MESSAGE_FRAME + bytes / FORGIVEN_BYTES)
  }

  /** A frame of a message came: a head, or DATA with bytes. */
  messageFrame(bytes: number): void {
    if (this.#level > 0) this.#level = Math.max(0, this.#level - FORGIVEN_PER_MESSAGE_FRAME - bytes / FORGIVEN_BYTES)
  }

  /** @returns the time, to be given to `streamReset`. */
  streamOpened(): number {
    const now = this.#rotate()
    this.#opened++
    return now
  }

  /** A stream was reset, by either side. Judged over this and the last window. */
  streamReset(openedAt: number): boolean {
    const now = this.#rotate()
    if (now - openedAt > RESET_WINDOW_MS) return false
    this.#reset++
    const opened = this.#opened + this.#openedBefore
    return opened >= RESET_MIN_STREAMS && (this.#reset + this.#resetBefore) * 2 > opened
  }

  #rotate(): number {
    const now = this.#clock.monotonicMs()
    const age = now - this.#windowAt
    if (age < RESET_WINDOW_MS) return now
    this.#openedBefore = age < 2 * RESET_WINDOW_MS ? this.#opened : 0
    this.#resetBefore = age < 2 * RESET_WINDOW_MS ? this.#reset : 0
    this.#opened = 0
    this.#reset = 0
    this.#windowAt = now
    return now
  }
}
