// PING every 10 s; a peer that sends nothing at all for 20 s after one is dead. Any received byte is a sign of life, so
// that a PONG behind megabytes on a slow link does not end a connection that works.
import type { Clock, Timer } from '../kit/clock.ts'

/** The keepalive of one connection; holds one timer that does not keep the process alive. */
export class Keepalive implements Disposable {
  readonly #clock: Clock
  readonly #intervalMs: number
  readonly #timeoutMs: number
  readonly #sendPing: () => void
  readonly #onDead: () => void
  #timer: Timer
  /** Set by every received chunk, cleared by a PING. */
  #isHeard = true
  #pingAt = 0

  constructor(o: { clock: Clock; intervalMs: number; timeoutMs: number; sendPing: () => void; onDead: () => void }) {
    this.#clock = o.clock
    this.#intervalMs = o.intervalMs
    this.#timeoutMs = o.timeoutMs
    this.#sendPing = o.sendPing
    this.#onDead = o.onDead
    this.#timer = this.#arm(o.intervalMs)
  }

  /** A byte arrived. */
  heard(): void {
    this.#isHeard = true
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]()
  }

  #arm(delayMs: number): Timer {
    const timer = this.#clock.after(delayMs, () => this.#tick())
    timer.unref()
    return timer
  }

  #tick(): void {
    const now = this.#clock.monotonicMs()
    if (this.#isHeard) {
      this.#isHeard = false
      this.#pingAt = now
      this.#timer = this.#arm(this.#intervalMs)
      this.#sendPing()
      return
    }
    const left = this.#pingAt + this.#timeoutMs - now
    if (left <= 0) {
      this.#onDead()
      return
    }
    this.#timer = this.#arm(Math.min(this.#intervalMs, left))
  }
}
