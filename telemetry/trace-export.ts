// Spans on their way to an OpenTelemetry collector: OTLP over HTTP or gRPC, in batches, from a queue of limited size that never
// makes a request wait. What does not fit or cannot be delivered is counted and lost. Used by trace.ts.
import { BatchSpanProcessor } from '@opentelemetry/sdk-trace-base'
import type { ReadableSpan, SpanExporter, SpanProcessor } from '@opentelemetry/sdk-trace-base'
import { Counter, Gauge } from 'prom-client'
import type { Registry } from 'prom-client'
import { messageOf } from '../kit/error.ts'
import type { Log } from '../kit/log.ts'
import { TRACE_METRICS } from './names.ts'

/** OTLP in protobuf over gRPC (port 4317), or in JSON over HTTP (port 4318). */
export type OtlpProtocol = 'grpc' | 'http'

/** Ended spans in memory, those being sent included; some 2 KiB each. */
export const MAX_WAITING_SPANS = 4096
const BATCH_SPANS = 512
const BATCH_DELAY_MS = 1000
/** One batch, its retries included. */
const EXPORT_TIMEOUT_MS = 5000
const EXPORT_SUCCESS = 0

type ExportResult = Parameters<Parameters<SpanExporter['export']>[1]>[0]
type DropReason = 'queue_full' | 'export_failed' | 'shutdown'

/**
 * Makes the exporter of a protocol; the package is loaded only when it is used.
 * @param endpoint `http://host:port` or https; over HTTP `/v1/traces` is added when there is no path
 * @param ca certificates in PEM, the only ones that vouch for an https endpoint; '' = those that Node trusts
 */
export async function otlpExporter(endpoint: string, protocol: OtlpProtocol, ca: string): Promise<SpanExporter> {
  const isPrivate = ca !== '' && new URL(endpoint).protocol === 'https:'
  if (protocol === 'grpc') {
    const { OTLPTraceExporter } = await import('@opentelemetry/exporter-trace-otlp-grpc')
    const { credentials } = await import('@grpc/grpc-js')
    const own = isPrivate ? { credentials: credentials.createSsl(Buffer.from(ca)) } : {}
    return new OTLPTraceExporter({ url: endpoint, timeoutMillis: EXPORT_TIMEOUT_MS, ...own })
  }
  const { OTLPTraceExporter } = await import('@opentelemetry/exporter-trace-otlp-http')
  const url = new URL(endpoint)
  if (url.pathname === '/') url.pathname = '/v1/traces'
  const own = isPrivate ? { httpAgentOptions: { ca, keepAlive: true } } : {}
  return new OTLPTraceExporter({ url: url.href, timeoutMillis: EXPORT_TIMEOUT_MS, ...own })
}

/** The queue in front of an exporter. */
export class SpanQueue implements SpanProcessor {
  readonly #exporter: SpanExporter
  readonly #batches: BatchSpanProcessor
  readonly #log: Log
  readonly #dropped: Record<DropReason, number> = { queue_full: 0, export_failed: 0, shutdown: 0 }
  #waiting = 0
  #exported = 0
  /** The last batch was not taken: said once, and again when one is. */
  #isFailing = false
  #isStopped = false

  constructor(exporter: SpanExporter, registry: Registry, log: Log) {
    this.#exporter = exporter
    this.#log = log
    this.#batches = new BatchSpanProcessor(
      { export: (spans, done) => this.#export(spans, done), shutdown: () => exporter.shutdown() },
      {
        maxQueueSize: MAX_WAITING_SPANS,
        maxExportBatchSize: BATCH_SPANS,
        scheduledDelayMillis: BATCH_DELAY_MS,
        exportTimeoutMillis: EXPORT_TIMEOUT_MS + BATCH_DELAY_MS,
      },
    )
    this.#publish(registry)
  }

  /** Spans that have ended and are not delivered. */
  get waiting(): number {
    return this.#waiting
  }

  onStart(): void {
    // nothing is kept of a span before it has ended
  }

  onEnd(span: ReadableSpan): void {
    if (this.#isStopped) this.#dropped.shutdown++
    else if (this.#waiting >= MAX_WAITING_SPANS) this.#dropped.queue_full++
    else {
      this.#waiting++
      this.#batches.onEnd(span)
    }
  }

  forceFlush(): Promise<void> {
    return this.#batches.forceFlush()
  }

  /** Delivers what waits. Never fails: what could not be delivered is counted. */
  async shutdown(): Promise<void> {
    if (this.#isStopped) return
    this.#isStopped = true
    try {
      await this.#batches.shutdown()
    } catch (error) {
      this.#log.debug('the last spans were not taken', { error: messageOf(error) })
    }
  }

  #export(spans: ReadableSpan[], done: (result: ExportResult) => void): void {
    this.#exporter.export(spans, (result) => {
      this.#waiting -= spans.length
      if (result.code === EXPORT_SUCCESS) this.#exported += spans.length
      else this.#dropped.export_failed += spans.length
      this.#tell(result)
      done(result)
    })
  }

  #tell({ code, error }: ExportResult): void {
    const isFailing = code !== EXPORT_SUCCESS
    if (isFailing === this.#isFailing) return
    this.#isFailing = isFailing
    if (isFailing) this.#log.warn('spans are lost: the collector does not take them', { error: messageOf(error) })
    else this.#log.info('the collector takes spans again')
  }

  #publish(registry: Registry): void {
    const queue = this
    const make = (name: keyof typeof TRACE_METRICS): { name: string; help: string; registers: Registry[] } => {
      return { name, help: TRACE_METRICS[name], registers: [registry] }
    }
    const exported: Counter = new Counter({
      ...make('weft_spans_exported_total'),
      collect() {
        exported.reset()
        exported.inc(queue.#exported)
      },
    })
    const dropped: Counter<'reason'> = new Counter({
      ...make('weft_spans_dropped_total'),
      labelNames: ['reason'],
      collect() {
        dropped.reset()
        for (const [reason, count] of Object.entries(queue.#dropped)) dropped.inc({ reason }, count)
      },
    })
    const waiting: Gauge = new Gauge({
      ...make('weft_spans_waiting'),
      collect: () => waiting.set(queue.#waiting),
    })
  }
}
