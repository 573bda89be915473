// Readiness by named tasks: the process is ready when nothing is awaited any more, and can say what it waits for.
// Follows istio/ztunnel:src/readiness.rs.

/** Tracks what start-up still waits for. */
export class Readiness {
  readonly #waiting = new Set<string>()
  readonly #listeners = new Set<() => void>()

  /** Registers a task; dispose of the result when it is done. Names are unique while they wait. */
  await(name: string): Disposable {
    this.#waiting.add(name)
    return {
      [Symbol.dispose]: () => {
        if (this.#waiting.delete(name) && this.#waiting.size === 0) for (const tell of this.#listeners) tell()
      },
    }
  }

  /** Names of the tasks that are still awaited, sorted. Empty = ready. */
  waitingFor(): string[] {
    return [...this.#waiting].sort()
  }

  isReady(): boolean {
    return this.#waiting.size === 0
  }

  /** Calls `tell` each time the last awaited task is done. */
  onReady(tell: () => void): Disposable {
    this.#listeners.add(tell)
    return { [Symbol.dispose]: () => void this.#listeners.delete(tell) }
  }
}
