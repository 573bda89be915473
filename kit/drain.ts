// Shutdown in one path: the trigger is pulled once, watchers see it, and blockers hold the process until they are done
// or the deadline passes. Follows istio/ztunnel:src/drain.rs.

/** How work in progress ends: finish what is open until the deadline, or end it now. */
export type DrainMode = 'graceful' | 'forced'

/** What a component sees of a drain. */
export interface DrainWatcher {
  /** Aborted when the drain begins: stop taking new work. */
  readonly started: AbortSignal
  /** Aborted when the deadline has passed: end what is still open. */
  readonly forced: AbortSignal
  /** Work that holds the process until it is disposed of. */
  block(name: string): Disposable
}

/** Owner of a drain: pull it once with `drain`. */
export class DrainTrigger implements DrainWatcher {
  readonly #started = new AbortController()
  readonly #forced = new AbortController()
  readonly #blockers = new Map<symbol, string>()
  #idle: (() => void) | undefined

  get started(): AbortSignal {
    return this.#started.signal
  }

  get forced(): AbortSignal {
    return this.#forced.signal
  }

  block(name: string): Disposable {
    const key = Symbol(name)
    this.#blockers.set(key, name)
    return {
      [Symbol.dispose]: () => {
        this.#blockers.delete(key)
        if (this.#blockers.size === 0) this.#idle?.()
      },
    }
  }

  /**
   * Begins the drain and waits until every blocker is gone, or until `deadline` resolves and forced work has ended.
   * @param deadline resolves when grace is over
   * @returns names of the blockers that had to be forced (empty: all ended by themselves)
   */
  async drain(deadline: Promise<void>): Promise<string[]> {
    this.#started.abort()
    const idle = new Promise<void>((resolve) => {
      this.#idle = resolve
      if (this.#blockers.size === 0) resolve()
    })
    await Promise.race([idle, deadline])
    const left = [...this.#blockers.values()]
    this.#forced.abort()
    return left
  }
}
