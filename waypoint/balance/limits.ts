// Circuit breaking: a bounded number of things that may be under way at once, for a whole cluster.

/** Counts what is under way and refuses what would be too much. */
export class Quota {
  readonly #limit: number
  #used = 0
  #refused = 0

  /** @param limit undefined = none */
  constructor(limit: number | undefined) {
    this.#limit = limit ?? Number.POSITIVE_INFINITY
  }

  /** Places taken now. */
  get used(): number {
    return this.#used
  }

  /** How often there was no place. */
  get refused(): number {
    return this.#refused
  }

  /** Takes a place without a handle; `leave` gives it back, exactly once. @returns false = the limit is reached (counted) */
  enter(): boolean {
    if (this.#used >= this.#limit) {
      this.#refused += 1
      return false
    }
    this.#used += 1
    return true
  }

  /** Gives back one place. */
  leave(): void {
    this.#used -= 1
  }

  /** Takes a place until the handle is disposed (twice does nothing); undefined = the limit is reached (counted). */
  take(): Disposable | undefined {
    if (!this.enter()) return undefined
    let isHeld = true
    return {
      [Symbol.dispose]: () => {
        if (!isHeld) return
        isHeld = false
        this.leave()
      },
    }
  }
}
