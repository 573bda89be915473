// Descriptors that connections use, counted over all data threads, so that the process keeps a reserve for admin, xDS and
// certificates: above the limit (80 % of RLIMIT_NOFILE) new work is refused instead of failing with EMFILE.

/** Counter shared by the threads. */
export class DescriptorBudget {
  readonly #used: Int32Array
  readonly #limit: number

  /** @param shared at least 4 bytes, the same in all threads */
  constructor(shared: SharedArrayBuffer, limit: number) {
    this.#used = new Int32Array(shared)
    this.#limit = limit
  }

  /** Takes `count` descriptors, or none. @returns whether they were taken */
  take(count: number): boolean {
    if (Atomics.add(this.#used, 0, count) + count <= this.#limit) return true
    Atomics.sub(this.#used, 0, count)
    return false
  }

  give(count: number): void {
    Atomics.sub(this.#used, 0, count)
  }

  get used(): number {
    return Atomics.load(this.#used, 0)
  }
}
