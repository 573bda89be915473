// Gives memory back when a storm of connections is over: what was freed between things that still live is not returned by
// the C library itself. Runs on the admin thread, looks at the number of open descriptors only.
import type { Clock, Timer } from '../kit/clock.ts'

const LOOK_MS = 10_000
const STORM = 256 // fewer connections than this do not leave enough behind
const LOOKS_AFTER = 10 // the garbage collector frees the last of it when it likes

/** Calls `trim` at each of some looks after the number of open descriptors has fallen below half of its peak. */
export class MemoryTrimmer implements Disposable {
  readonly #clock: Clock
  readonly #open: () => number
  readonly #trim: () => void
  #peak = 0
  /** Looks that still trim. */
  #left = 0
  #timer: Timer

  constructor(options: { readonly clock: Clock; readonly open: () => number; readonly trim: () => void }) {
    this.#clock = options.clock
    this.#open = options.open
    this.#trim = options.trim
    this.#timer = this.#later()
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]()
  }

  #later(): Timer {
    const timer = this.#clock.after(LOOK_MS, () => {
      this.#look()
      this.#timer = this.#later()
    })
    timer.unref()
    return timer
  }

  #look(): void {
    const open = this.#open()
    if (this.#peak >= STORM && open * 2 < this.#peak) {
      this.#left = LOOKS_AFTER
      this.#peak = open
    } else this.#peak = Math.max(this.#peak, open)
    if (this.#left === 0) return
    this.#left--
    this.#trim()
  }
}
