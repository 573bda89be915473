// The registry of a thread, and the istio_tcp_* metrics on it. Labels become a handle once per connection; a handle is
// plain numbers, so that nothing is looked up or joined per chunk, and prom-client sees them only when it is scraped.
import { Counter, Gauge, Registry } from 'prom-client'
import { METRICS, TCP_LABELS } from './names.ts'
import type { MetricName, TcpLabel } from './names.ts'

/** Values of one connection's labels; absent or empty = `unknown` (`-` for response_flags, `tcp` for request_protocol). */
export type TcpLabels = { readonly reporter: 'source' | 'destination' | 'waypoint' } & {
  readonly [L in Exclude<TcpLabel, 'reporter'>]?: string | undefined
}

/** Running totals of one label set. `received` = toward the server (request), `sent` = toward the client (response). */
export interface TcpHandle {
  opened: number
  closed: number
  received: number
  sent: number
  failed: number
}

/** Beyond this many label sets (labels of inbound traffic may come from a peer's baggage) everything counts as `unknown`. */
export const MAX_LABEL_SETS = 20_000

/** The TCP metrics of one thread. */
export class TcpMetrics {
  readonly registry: Registry
  /** Called before each scrape, so that owners of live connections can bring their handles up to date. */
  readonly #flushers = new Set<() => void>()
  readonly #sets = new Map<string, { readonly labels: Record<string, string>; readonly handle: TcpHandle }>()
  readonly #socketsOpen: Partial<Record<TcpLabels['reporter'], number>>

  /** @param reporters whose sockets are counted */
  constructor(registry: Registry = new Registry(), reporters: readonly TcpLabels['reporter'][] = ['source', 'destination']) {
    this.registry = registry
    this.#socketsOpen = Object.fromEntries(reporters.map((reporter) => [reporter, 0]))
    this.#counter('istio_tcp_connections_opened_total', (handle) => handle.opened)
    this.#counter('istio_tcp_connections_closed_total', (handle) => handle.closed)
    this.#counter('istio_tcp_received_bytes_total', (handle) => handle.received)
    this.#counter('istio_tcp_sent_bytes_total', (handle) => handle.sent)
    this.#counter('istio_tcp_connections_failed_total', (handle) => handle.failed)
    const open = this.#socketsOpen
    makeGauge(registry, 'istio_tcp_sockets_open', ['reporter'], (gauge) => {
      for (const [reporter, count] of Object.entries(open)) gauge.set({ reporter }, count)
    })
  }

  /** The handle of a label set; the same labels give the same handle. */
  handle(labels: TcpLabels): TcpHandle {
    const values = TCP_LABELS.map((name) => labels[name] || EMPTY[name] || 'unknown')
    const key = values.join('\u0000')
    const known = this.#sets.get(key)
    if (known !== undefined) return known.handle
    if (this.#sets.size >= MAX_LABEL_SETS && Object.keys(labels).length > 1) return this.handle({ reporter: labels.reporter })
    const handle: TcpHandle = { opened: 0, closed: 0, received: 0, sent: 0, failed: 0 }
    this.#sets.set(key, { labels: Object.fromEntries(TCP_LABELS.map((name, i) => [name, values[i] ?? 'unknown'])), handle })
    return handle
  }

  /** Counts one accepted socket (of a waypoint: one tunnel whose bytes it copies) until socketClosed. */
  socketOpened(reporter: TcpLabels['reporter']): void {
    this.#socketsOpen[reporter] = (this.#socketsOpen[reporter] ?? 0) + 1
  }

  socketClosed(reporter: TcpLabels['reporter']): void {
    this.#socketsOpen[reporter] = (this.#socketsOpen[reporter] ?? 0) - 1
  }

  /** Registers work to do before a scrape. */
  beforeScrape(flush: () => void): Disposable {
    this.#flushers.add(flush)
    return { [Symbol.dispose]: () => void this.#flushers.delete(flush) }
  }

  #counter(name: MetricName, read: (handle: TcpHandle) => number): void {
    const metrics = this
    const counter: Counter<string> = new Counter({
      name,
      help: METRICS[name],
      labelNames: [...TCP_LABELS],
      registers: [this.registry],
      collect() {
        for (const flush of metrics.#flushers) flush()
        counter.reset()
        for (const { labels, handle } of metrics.#sets.values()) counter.inc(labels, read(handle))
      },
    })
  }
}

/** A counter that is on the list of names. */
export function makeCounter(registry: Registry, name: MetricName, labels: readonly string[] = []): Counter<string> {
  return new Counter({ name, help: METRICS[name], labelNames: [...labels], registers: [registry] })
}

/** A gauge that is on the list of names; `collect` sets it at each scrape. */
export function makeGauge(
  registry: Registry,
  name: MetricName,
  labels: readonly string[],
  collect: (gauge: Gauge<string>) => void,
): Gauge<string> {
  const gauge: Gauge<string> = new Gauge({
    name,
    help: METRICS[name],
    labelNames: [...labels],
    registers: [registry],
    collect: () => collect(gauge),
  })
  return gauge
}

/** Labels whose absent value is not `unknown`. */
const EMPTY: { readonly [L in TcpLabel]?: string } = { request_protocol: 'tcp', response_flags: '-' }
