// One copy of equal values: pods of a Deployment have the same labels and owner, endpoints the same conditions. Bounded.

const MAX_VALUES = 50_000

/** Remembers values by their text; a full memory is forgotten, which costs copies and nothing else. */
export class SharedValues {
  readonly #known = new Map<string, unknown>()

  /** @returns an equal string that is held already, if any */
  text(value: string): string {
    return this.#get(value, value) as string
  }

  /** @returns an equal value that is held already, if any. It must never be changed. */
  value<T extends object>(value: T): T {
    return this.#get(JSON.stringify(value), value) as T
  }

  #get(key: string, value: unknown): unknown {
    const known = this.#known.get(key)
    if (known !== undefined && typeof known === typeof value) return known
    if (this.#known.size >= MAX_VALUES) this.#known.clear()
    this.#known.set(key, value)
    return value
  }
}
