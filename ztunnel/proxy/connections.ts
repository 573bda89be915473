// The live connections of one pod on one data thread: limit, list for admin, and ending those that a policy change, the
// pod's removal or a drain forbids. Follows istio/ztunnel:src/proxy/connection_manager.rs.
import type { MeshError } from '../../kit/error.ts'
import { formatEndpoint } from '../../model/address.ts'
import type { Endpoint } from '../../model/address.ts'
import type { SpiffeId } from '../../model/identity.ts'
import type { PolicyConnection } from '../../model/policy.ts'
import type { ConnectionDump } from '../channel.ts'

/** One connection that is being proxied. */
export interface LiveConnection {
  readonly direction: 'inbound' | 'outbound'
  readonly source: Endpoint
  /** What was dialled (outbound) or asked for (inbound). */
  readonly original: Endpoint
  /** Where this proxy connects to. */
  readonly actual: Endpoint
  readonly protocol: 'HBONE' | 'TCP'
  readonly peer: SpiffeId | undefined
  /** What policy decided on; inbound only. */
  readonly policy: PolicyConnection | undefined
  /** Ends the connection with a reset; the error goes to its access line. Called at most once. */
  close(error: MeshError): void
}

/** Table of a pod's live connections. */
export class ConnectionTable {
  readonly #limit: number
  readonly #live = new Set<LiveConnection>()
  #waiting: (() => void)[] = []

  constructor(limit: number) {
    this.#limit = limit
  }

  get size(): number {
    return this.#live.size
  }

  /** Whether one more would pass the limit. */
  isFull(): boolean {
    return this.#live.size >= this.#limit
  }

  /** Adds a connection until the result is disposed of (twice does nothing). */
  add(connection: LiveConnection): Disposable {
    this.#live.add(connection)
    const remove = (): void => {
      if (!this.#live.delete(connection) || this.#live.size > 0) return
      for (const tell of this.#waiting.splice(0)) tell()
    }
    return { [Symbol.dispose]: remove }
  }

  /**
   * Asks again about every inbound connection and closes those that are forbidden now.
   * @returns how many were closed
   */
  recheck(isAllowed: (connection: PolicyConnection) => boolean, error: (connection: LiveConnection) => MeshError): number {
    return this.#close((connection) => connection.policy !== undefined && !isAllowed(connection.policy), error)
  }

  /** Closes all. @returns how many */
  closeAll(error: () => MeshError): number {
    return this.#close(() => true, error)
  }

  /** Resolves when no connection is live. */
  whenEmpty(): Promise<void> {
    return this.#live.size === 0 ? Promise.resolve() : new Promise((resolve) => this.#waiting.push(resolve))
  }

  dump(): { inbound: ConnectionDump[]; outbound: ConnectionDump[] } {
    const out: { inbound: ConnectionDump[]; outbound: ConnectionDump[] } = { inbound: [], outbound: [] }
    for (const connection of this.#live) {
      out[connection.direction].push({
        src: formatEndpoint(connection.source),
        originalDst: formatEndpoint(connection.original),
        actualDst: formatEndpoint(connection.actual),
        protocol: connection.protocol,
        ...(connection.peer === undefined ? {} : { identity: connection.peer }),
      })
    }
    return out
  }

  #close(test: (connection: LiveConnection) => boolean, error: (connection: LiveConnection) => MeshError): number {
    const chosen = [...this.#live].filter(test) // a copy: closing removes
    for (const connection of chosen) connection.close(error(connection))
    return chosen.length
  }
}
