// What is open now: told to end when the process does, asked again when policies change. Called by app.ts, serve.ts and tcp.ts.

/** One connection that is served. */
export interface LiveConnection {
  /** Ends by itself as soon as its work is done. */
  drain(): void
  /** Ends now. */
  close(): void
  /** Policies have changed: ends what would not be allowed any more. */
  recheck(): void
}

/** All of them. */
export class LiveConnections {
  readonly #all = new Set<LiveConnection>()
  #isDraining = false

  get size(): number {
    return this.#all.size
  }

  /** Adds a connection until the result is disposed of; one that comes during a drain is told at once. */
  add(connection: LiveConnection): Disposable {
    this.#all.add(connection)
    if (this.#isDraining) connection.drain()
    return { [Symbol.dispose]: () => void this.#all.delete(connection) }
  }

  recheck(): void {
    for (const connection of [...this.#all]) connection.recheck()
  }

  drain(): void {
    this.#isDraining = true
    for (const connection of [...this.#all]) connection.drain()
  }

  close(): void {
    for (const connection of [...this.#all]) connection.close()
  }
}
