// The istio_request* metrics of a waypoint. Who called whom becomes a handle that callers keep; each ended request adds to plain
// numbers of it. Written as text here and not by prom-client: 600 label sets are 40,000 lines, which must not hold requests up.
// Label values as istio/proxy:source/extensions/filters/http/istio_stats/istio_stats.cc gives them.
import { HTTP_BUCKETS, HTTP_LABELS, HTTP_METRICS, HTTP_PEER_LABELS } from './names.ts'
import type { HttpMetricName, HttpPeerLabel } from './names.ts'

/** Who called whom; absent or empty = `unknown` (`latest` for a source's revision). */
export type HttpPeerLabels = { readonly [L in Exclude<HttpPeerLabel, 'reporter'>]?: string | undefined }

/** How a request went. */
export interface HttpOutcome {
  readonly isGrpc: boolean
  /** 0 = no response was begun. */
  readonly status: number
  /** Only of gRPC calls; undefined = none came. */
  readonly grpcStatus: number | undefined
  /** Envoy's short names, joined by commas; '' = none. */
  readonly flags: string
  readonly durationMs: number
  readonly requestBytes: number
  readonly responseBytes: number
}

/**
 * Beyond this many sets of peers, and this many sets of all labels, everything counts as `unknown`. Lower than TCP's: with three
 * histograms a set is 67 lines, about 50 KiB of each scrape.
 */
export const MAX_HTTP_LABEL_SETS = 2000

/** The metrics of requests of one waypoint. */
export class HttpMetrics {
  readonly #peers = new Map<string, HttpPeers>()
  readonly #series: Series[] = []
  readonly #flushers: (() => void)[] = []
  readonly #store: SeriesStore = {
    add: (labels) => {
      if (this.#series.length >= MAX_HTTP_LABEL_SETS) return undefined
      const series = new Series(labels())
      this.#series.push(series)
      return series
    },
    overflow: () => this.#overflowed().series,
  }
  #overflow: { readonly peers: HttpPeers; readonly series: Series } | undefined

  /** The handle of two peers; the same labels give the same handle. Ask once per connection and backend, not per request. */
  peers(labels: HttpPeerLabels): HttpPeers {
    const values: Record<string, string> = {}
    for (const name of HTTP_PEER_LABELS) values[name] = name === 'reporter' ? 'waypoint' : labels[name] || EMPTY[name] || 'unknown'
    const key = Object.values(values).join('\u0000')
    let peers = this.#peers.get(key)
    if (peers !== undefined) return peers
    if (this.#peers.size >= MAX_HTTP_LABEL_SETS) return this.#overflowed().peers
    peers = new HttpPeers(values, this.#store)
    this.#peers.set(key, peers)
    return peers
  }

  /** Where everything beyond the limits is counted. */
  #overflowed(): { readonly peers: HttpPeers; readonly series: Series } {
    if (this.#overflow !== undefined) return this.#overflow
    const unknown = Object.fromEntries(HTTP_LABELS.map((name) => [name, name === 'reporter' ? 'waypoint' : 'unknown']))
    const series = new Series(unknown)
    this.#series.push(series)
    const labels = Object.fromEntries(HTTP_PEER_LABELS.map((name) => [name, unknown[name] ?? 'unknown']))
    this.#overflow = { peers: new HttpPeers(labels, { add: () => undefined, overflow: () => series }), series }
    return this.#overflow
  }

  /** Registers work to do before a scrape: bringing the messages of live calls up to date. */
  beforeScrape(flush: () => void): void {
    this.#flushers.push(flush)
  }

  /**
   * All metrics in Prometheus's text format 0.0.4. What is counted between two pieces may be in one metric and not yet in another.
   * @returns pieces of at most some 16 KiB, made when they are asked for; a family, not a piece, ends with an empty line
   */
  *text(): Generator<string, void, void> {
    yield headOf('istio_requests_total', 'counter')
    for (const series of this.#series) yield `istio_requests_total{${series.labelText}} ${series.duration.count}\n`
    yield* this.#histogram('istio_request_duration_milliseconds', (series) => series.duration)
    yield* this.#histogram('istio_request_bytes', (series) => series.requestBytes)
    yield* this.#histogram('istio_response_bytes', (series) => series.responseBytes)
    for (const flush of this.#flushers) flush()
    yield* this.#messages('istio_request_messages_total', (peers) => peers.requestMessages)
    yield* this.#messages('istio_response_messages_total', (peers) => peers.responseMessages)
  }

  *#histogram(name: HttpMetricName, read: (series: Series) => Distribution): Generator<string, void, void> {
    yield `\n${headOf(name, 'histogram')}`
    for (const series of this.#series) yield histogramText(name, series.labelText, read(series))
  }

  /** Of peers between which gRPC messages went. */
  *#messages(name: HttpMetricName, read: (peers: HttpPeers) => number): Generator<string, void, void> {
    yield `\n${headOf(name, 'counter')}`
    for (const peers of this.#peers.values()) if (peers.hasMessages) yield `${name}{${peers.labelText}} ${read(peers)}\n`
    const rest = this.#overflow?.peers
    if (rest?.hasMessages === true) yield `${name}{${rest.labelText}} ${read(rest)}\n`
  }
}

/** Who called whom: counts the gRPC messages between them, and the requests by how they went. */
export class HttpPeers {
  readonly labels: Readonly<Record<string, string>>
  /** Messages so far. */
  requestMessages = 0
  responseMessages = 0
  /** A gRPC call was made: its counters are published, also when they are 0. */
  hasMessages = false
  readonly #store: SeriesStore
  #labelText: string | undefined
  readonly #series = new Map<number | string, Series>()
  /** What the last request used: mostly the next one uses it too. */
  #lastKey: number | string = -1
  #last: Series | undefined

  constructor(labels: Readonly<Record<string, string>>, store: SeriesStore) {
    this.labels = labels
    this.#store = store
  }

  /** The labels as Prometheus reads them, without braces. */
  get labelText(): string {
    this.#labelText ??= labelText(this.labels)
    return this.#labelText
  }

  /** Counts messages of a gRPC call, which may go on. */
  addMessages(request: number, response: number): void {
    this.hasMessages = true
    this.requestMessages += request
    this.responseMessages += response
  }

  /** Counts a request that has ended. */
  record(outcome: HttpOutcome): void {
    const series = this.#seriesOf(outcome)
    series.duration.add(outcome.durationMs)
    series.requestBytes.add(outcome.requestBytes)
    series.responseBytes.add(outcome.responseBytes)
  }

  #seriesOf(outcome: HttpOutcome): Series {
    const key = keyOf(outcome)
    if (key === this.#lastKey && this.#last !== undefined) return this.#last
    let series = this.#series.get(key)
    if (series === undefined) {
      series = this.#store.add(() => ({ ...this.labels, ...labelsOf(outcome) }))
      if (series === undefined) return this.#store.overflow() // and not remembered: what servers answer must not fill the map
      this.#series.set(key, series)
    }
    this.#lastKey = key
    this.#last = series
    return series
  }
}

/** Where the series of all peers are. */
interface SeriesStore {
  /** @returns undefined = no more room */
  add(labels: () => Readonly<Record<string, string>>): Series | undefined
  overflow(): Series
}

/** The numbers of one set of all labels. */
class Series {
  readonly labels: Readonly<Record<string, string>>
  readonly duration = new Distribution()
  readonly requestBytes = new Distribution()
  readonly responseBytes = new Distribution()
  #labelText: string | undefined

  constructor(labels: Readonly<Record<string, string>>) {
    this.labels = labels
  }

  /** As of HttpPeers; kept, because each scrape needs it 67 times. */
  get labelText(): string {
    this.#labelText ??= labelText(this.labels)
    return this.#labelText
  }
}

/** Counts by HTTP_BUCKETS; the last one is of what is above all bounds. */
class Distribution {
  readonly buckets = new Float64Array(HTTP_BUCKETS.length + 1)
  count = 0
  sum = 0

  add(value: number): void {
    let at = 0
    while (at < HTTP_BUCKETS.length && value > (HTTP_BUCKETS[at] ?? 0)) at++
    this.buckets[at] = (this.buckets[at] ?? 0) + 1
    this.count++
    this.sum += value
  }
}

function headOf(name: HttpMetricName, type: 'counter' | 'histogram'): string {
  return `# HELP ${name} ${HTTP_METRICS[name]}\n# TYPE ${name} ${type}\n`
}

function labelText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}="${value.replaceAll(/[\\\n"]/g, (found) => ESCAPED[found] ?? '')}"`)
    .join(',')
}

/** Buckets, each with all below it, then sum and count. */
function histogramText(name: HttpMetricName, labels: string, { buckets, sum, count }: Distribution): string {
  let below = 0
  let text = ''
  for (const [at, le] of HTTP_BUCKETS.entries()) {
    below += buckets[at] ?? 0
    text += `${name}_bucket{le="${le}",${labels}} ${below}\n`
  }
  return `${text}${name}_bucket{le="+Inf",${labels}} ${count}\n${name}_sum{${labels}} ${sum}\n${name}_count{${labels}} ${count}\n`
}

/** Equal for outcomes with equal labels; a number for requests without flags, which are nearly all. */
function keyOf({ isGrpc, status, grpcStatus, flags }: HttpOutcome): number | string {
  const number = ((isKnownStatus(status) ? status : UNKNOWN) * 32 + grpcKeyOf(isGrpc ? grpcStatus : undefined)) * 2 + (isGrpc ? 1 : 0)
  return flags === '' ? number : `${number} ${flags}`
}

function labelsOf({ isGrpc, status, grpcStatus, flags }: HttpOutcome): Record<string, string> {
  return {
    request_protocol: isGrpc ? 'grpc' : 'http',
    response_code: isKnownStatus(status) ? String(status) : 'unknown',
    grpc_response_status: grpcLabelOf(isGrpc ? grpcStatus : undefined),
    response_flags: flags || '-',
    connection_security_policy: 'mutual_tls', // nobody speaks to a waypoint without it
  }
}

/** A server may answer with any number: what no standard knows is one label value. */
function isKnownStatus(status: number): boolean {
  return status === 0 || (status >= 100 && status <= 599)
}

function grpcKeyOf(grpcStatus: number | undefined): number {
  if (grpcStatus === undefined) return MOST_GRPC_STATUS + 2
  return grpcStatus <= MOST_GRPC_STATUS ? grpcStatus : MOST_GRPC_STATUS + 1
}

function grpcLabelOf(grpcStatus: number | undefined): string {
  if (grpcStatus === undefined) return ''
  return grpcStatus <= MOST_GRPC_STATUS ? String(grpcStatus) : 'unknown'
}

/** UNAUTHENTICATED, the last one that gRPC defines. */
const MOST_GRPC_STATUS = 16
/** Stands for all statuses that are none. */
const UNKNOWN = 1000

/** Labels whose absent value is not `unknown`. */
const EMPTY: { readonly [L in HttpPeerLabel]?: string } = { source_canonical_revision: 'latest' }

/** What must be written in another way between quotes. */
const ESCAPED: Readonly<Record<string, string>> = { '\\': '\\\\', '\n': '\\n', '"': '\\"' }
