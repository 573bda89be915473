// The spans of a proxy: one per request, one per try and per mirror below it. Whether a trace is recorded is decided once, by
// whoever began it; what is not recorded costs two headers. Recorded spans go to the OpenTelemetry SDK, which takes 40 MiB: loaded
// only where spans are wanted.
import { ROOT_CONTEXT, SpanKind, SpanStatusCode, TraceFlags, createTraceState, trace } from '@opentelemetry/api'
import type { Attributes, HrTime, Span, Tracer } from '@opentelemetry/api'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { AlwaysOnSampler, BasicTracerProvider } from '@opentelemetry/sdk-trace-base'
import type { SpanExporter } from '@opentelemetry/sdk-trace-base'
import type { Registry } from 'prom-client'
import type { Clock } from '../kit/clock.ts'
import { pause } from '../kit/clock.ts'
import type { Log } from '../kit/log.ts'
import type { HeaderField } from '../model/http.ts'
import { childContext, newSpanId, newTraceId, traceContextIn } from './trace-context.ts'
import type { RandomBytes, TraceContext } from './trace-context.ts'
import { SpanQueue } from './trace-export.ts'
import { MAX_VALUE_CHARACTERS, spanText } from './trace-span.ts'
import type { RequestTracer, TraceSpan } from './trace-span.ts'

/** What a proxy's tracing is made with. */
export interface TracingOptions {
  readonly exporter: SpanExporter
  /** Share of the traces that begin here which is recorded, 0–1. */
  readonly ratio: number
  /** `service.name` and other attributes of the resource. */
  readonly resource: Readonly<Record<string, string>>
  readonly registry: Registry
  readonly log: Log
  readonly clock: Clock
  /** 0 ≤ x < 1 */
  readonly random: () => number
  readonly randomBytes: RandomBytes
}

const MAX_ATTRIBUTES = 64
const NS_PER_MS = 1e6

/** Makes spans. */
export class Tracing implements RequestTracer {
  readonly #options: TracingOptions
  readonly #provider: BasicTracerProvider
  readonly #queue: SpanQueue
  readonly #tracer: Tracer

  constructor(options: TracingOptions) {
    this.#options = options
    const { randomBytes } = options
    this.#queue = new SpanQueue(options.exporter, options.registry, options.log)
    this.#provider = new BasicTracerProvider({
      resource: resourceFromAttributes(options.resource),
      sampler: new AlwaysOnSampler(), // begin() has decided
      idGenerator: { generateTraceId: () => newTraceId(randomBytes), generateSpanId: () => newSpanId(randomBytes) },
      spanLimits: { attributeValueLengthLimit: MAX_VALUE_CHARACTERS, attributeCountLimit: MAX_ATTRIBUTES },
      spanProcessors: [this.#queue],
    })
    this.#tracer = this.#provider.getTracer('weft')
  }

  begin(name: string, headers: readonly HeaderField[]): TraceSpan {
    const { ratio, random, randomBytes, clock } = this.#options
    const parent = traceContextIn(headers)
    const isSampled = parent?.isSampled ?? random() < ratio
    if (!isSampled) return new PassedOn(childContext(parent, false, randomBytes))
    const times: Times = { clock, offsetMs: clock.nowMs() - clock.monotonicMs() }
    return new Recorded(this.#tracer, times, parent, name, SpanKind.SERVER)
  }

  async stop(deadlineMs: number): Promise<void> {
    const over = new AbortController()
    const delivered = this.#provider.shutdown().then(() => over.abort())
    await Promise.race([delivered, pause(this.#options.clock, deadlineMs, over.signal)])
    if (this.#queue.waiting > 0) this.#options.log.warn('spans were not delivered in time', { spans: this.#queue.waiting })
  }
}

/** A trace that is not recorded: the decision and the trace's name go on. */
class PassedOn implements TraceSpan {
  readonly context: TraceContext
  readonly isRecorded = false

  constructor(context: TraceContext) {
    this.context = context
  }

  child(): TraceSpan {
    return this
  }

  set(): void {
    // nobody will read it
  }

  end(): void {
    // there is nothing to deliver
  }
}

/** Wall time that goes on evenly, also when the clock is set. */
interface Times {
  readonly clock: Clock
  readonly offsetMs: number
}

class Recorded implements TraceSpan {
  readonly context: TraceContext
  readonly isRecorded = true
  readonly #tracer: Tracer
  readonly #times: Times
  readonly #span: Span

  constructor(tracer: Tracer, times: Times, parent: TraceContext | undefined, name: string, kind: SpanKind, attributes: Attributes = {}) {
    this.#tracer = tracer
    this.#times = times
    const context = parent === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, parentOf(parent, kind === SpanKind.SERVER))
    this.#span = tracer.startSpan(name, { kind, startTime: nowOf(times), attributes }, context)
    const { traceId, spanId } = this.#span.spanContext()
    this.context = { traceId, spanId, isSampled: true, state: parent?.state ?? '' }
  }

  child(name: string, attributes: Attributes): TraceSpan {
    return new Recorded(this.#tracer, this.#times, this.context, name, SpanKind.CLIENT, attributes)
  }

  set(attributes: Attributes): void {
    this.#span.setAttributes(attributes)
  }

  end(error?: string): void {
    if (error !== undefined) this.#span.setStatus({ code: SpanStatusCode.ERROR, message: error })
    this.#span.end(nowOf(this.#times))
  }
}

function parentOf({ traceId, spanId, state }: TraceContext, isRemote: boolean): Parameters<typeof trace.setSpanContext>[1] {
  const traceState = state === '' ? {} : { traceState: createTraceState(spanText(state)) }
  return { traceId: spanText(traceId), spanId: spanText(spanId), traceFlags: TraceFlags.SAMPLED, isRemote, ...traceState }
}

function nowOf({ clock, offsetMs }: Times): HrTime {
  const ms = clock.monotonicMs() + offsetMs
  const seconds = Math.floor(ms / 1000)
  return [seconds, Math.floor((ms - seconds * 1000) * NS_PER_MS)]
}
