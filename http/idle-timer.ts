// Closes a connection that is not used. One timer for the life of the connection, so that a request costs none.
import type { Clock, Timer } from '../kit/clock.ts'

/** Watches one connection from its construction; dispose it when the connection is gone. */
export class IdleTimer implements Disposable {
  readonly #clock: Clock
  readonly #timeoutMs: number
  readonly #expired: () => void
  #timer: Timer
  /** Monotonic; undefined = in use. */
  #idleSince: number | undefined

  /** @param expired called once, after `timeoutMs` without use */
  constructor(clock: Clock, timeoutMs: number, expired: () => void) {
    this.#clock = clock
    this.#timeoutMs = timeoutMs
    this.#expired = expired
    this.#idleSince = clock.monotonicMs()
    this.#timer = clock.after(timeoutMs, this.#check)
  }

  /** The connection is used. */
  busy(): void {
    this.#idleSince = undefined
  }

  /** It no longer is. */
  idle(): void {
    this.#idleSince = this.#clock.monotonicMs()
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]()
  }

  readonly #check = (): void => {
    const idleMs = this.#idleSince === undefined ? 0 : this.#clock.monotonicMs() - this.#idleSince
    if (idleMs >= this.#timeoutMs) this.#expired()
    else this.#timer = this.#clock.after(this.#timeoutMs - idleMs, this.#check)
  }
}
