// The proxies of bench/scale.ts: many cheap delta xDS clients in one process. Reports when all hold what they asked for, and when
// each hears of a change.
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, NETWORKS_TYPE } from '../xds/kinds.ts'
import { SkimClient, type SkimmedResponse } from './scale-h2.ts'
import { expectedOf, keysOf, type Scale, tokenOf } from './scale-world.ts'

/** What to simulate. */
export interface ClientsOptions {
  readonly scale: Scale
  readonly port: number
  readonly mode: 'on-demand' | 'wildcard'
  readonly clients: number
}

/** What the parent hears. Times are ns of CLOCK_MONOTONIC. */
export type ClientsReport =
  | {
      readonly is: 'synced'
      readonly firstNs: string
      readonly lastNs: string
      readonly bytes: number
      readonly resources: number
      readonly retries: number
      readonly reasons: Readonly<Record<string, number>>
    }
  | { readonly is: 'heard'; readonly node: number; readonly atNs: string; readonly upserts: number }
  | { readonly is: 'lost'; readonly node: number; readonly reason: string }

const RETRY_MS = 200

class Fleet {
  readonly #options: ClientsOptions
  readonly #held: number[]
  #missing: number
  #isSynced = false
  #bytes = 0
  #resources = 0
  #retries = 0
  readonly #reasons: Record<string, number> = {}
  readonly #begin = process.hrtime.bigint()

  constructor(options: ClientsOptions) {
    this.#options = options
    this.#held = Array.from({ length: options.clients }, () => 0)
    this.#missing = options.clients
  }

  start(): void {
    for (let node = 0; node < this.#options.clients; node++) this.#connect(node)
  }

  #connect(node: number): void {
    const { port, scale, mode } = this.#options
    const everything = { subscribe: [], unsubscribe: [] }
    const own = mode === 'wildcard' ? everything : { subscribe: ['*', ...keysOf(node, scale)], unsubscribe: ['*'] }
    new SkimClient({
      port,
      serverName: 'controlplane.test',
      token: tokenOf(node),
      nodeId: `ztunnel~127.0.0.1~ztunnel-${node}.weft-system~weft-system.svc.cluster.local`,
      kinds: [
        { typeUrl: AUTHORIZATION_TYPE, ...everything },
        { typeUrl: NETWORKS_TYPE, ...everything },
        { typeUrl: ADDRESS_TYPE, ...own },
      ],
      onResponse: (response) => this.#heard(node, response),
      onEnd: (reason) => this.#lost(node, reason),
    })
  }

  #heard(node: number, { typeUrl, upserts, bytes }: SkimmedResponse): void {
    if (!this.#isSynced) {
      this.#bytes += bytes
      this.#resources += upserts
    }
    if (typeUrl !== ADDRESS_TYPE) return
    const before = this.#held[node] ?? 0
    const wanted = this.#wanted(node)
    if (before >= wanted) {
      report({ is: 'heard', node, atNs: String(process.hrtime.bigint()), upserts })
      return
    }
    this.#held[node] = before + upserts
    if (before + upserts >= wanted && --this.#missing === 0) this.#synced()
  }

  #wanted(node: number): number {
    const { scale, mode } = this.#options
    return mode === 'wildcard' ? scale.pods + scale.services + scale.nodes : expectedOf(node, scale)
  }

  #synced(): void {
    this.#isSynced = true
    const lastNs = String(process.hrtime.bigint())
    const { bytes, resources, retries } = { bytes: this.#bytes, resources: this.#resources, retries: this.#retries }
    report({ is: 'synced', firstNs: String(this.#begin), lastNs, bytes, resources, retries, reasons: this.#reasons })
  }

  #lost(node: number, reason: string): void {
    if (this.#isSynced) {
      report({ is: 'lost', node, reason })
      return
    }
    this.#retries++
    this.#reasons[reason] = (this.#reasons[reason] ?? 0) + 1
    this.#held[node] = 0
    setTimeout(() => this.#connect(node), RETRY_MS)
  }
}

function report(message: ClientsReport): void {
  process.send?.(message)
}

if (import.meta.main) {
  new Fleet(JSON.parse(process.argv[2] ?? '{}') as ClientsOptions).start()
  process.on('disconnect', () => process.exit(0))
}
