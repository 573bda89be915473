// Spans from begin to a collector: connected, with the client's trace, decided once, and never in a request's way.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import { Registry } from 'prom-client'
import { systemClock } from '../../../kit/clock.ts'
import { createLog } from '../../../kit/log.ts'
import type { HeaderField } from '../../../model/http.ts'
import { Tracing } from '../../../telemetry/trace.ts'
import type { TracingOptions } from '../../../telemetry/trace.ts'
import { withTraceContext } from '../../../telemetry/trace-context.ts'
import { MAX_WAITING_SPANS, otlpExporter } from '../../../telemetry/trace-export.ts'
import { spanText } from '../../../telemetry/trace-span.ts'
import { OtlpReceiver } from '../../support/otlp-receiver.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const SPAN = '00f067aa0ba902b7'
const NO_ANSWER = 'http://127.0.0.1:9' // discard: nobody listens

describe('Tracing', () => {
  const registry = (): Registry => new Registry()
  const log = createLog({ process: 'test', levels: 'error' }).scope('trace')

  async function tracingTo(endpoint: string, change: Partial<TracingOptions> = {}): Promise<Tracing> {
    return new Tracing({
      exporter: change.exporter ?? (await otlpExporter(endpoint, 'http', '')),
      ratio: 1,
      resource: { 'service.name': 'waypoint.shop' },
      registry: registry(),
      log,
      clock: systemClock,
      random: () => 0.5,
      randomBytes,
      ...change,
    })
  }

  it('delivers a request with two tries and what the second one caused, as one trace', async () => {
    await using receiver = await OtlpReceiver.start()
    const tracing = await tracingTo(receiver.endpoint)
    const request = tracing.begin('reviews.shop.svc.cluster.local:80/*', [])
    const first = request.child('first', { 'http.request.resend_count': 0 })
    first.end('reset')
    const second = request.child('second', {})
    const server = tracing.begin('server', withTraceContext([], second.context)) // what the endpoint's own proxy would make
    server.end()
    second.set({ 'http.response.status_code': 200 })
    second.end()
    request.end()
    await tracing.stop(5000)

    const byName = new Map(receiver.spans.map((span) => [span.name, span]))
    const root = byName.get('reviews.shop.svc.cluster.local:80/*')
    assert.equal(receiver.spans.length, 4)
    assert.equal(root?.parentSpanId, undefined)
    assert.deepEqual(
      ['first', 'second', 'server'].map((name) => byName.get(name)?.parentSpanId),
      [root?.spanId, root?.spanId, byName.get('second')?.spanId],
    )
    assert.deepEqual([...new Set(receiver.spans.map(({ traceId }) => traceId))], [root?.traceId])
    assert.deepEqual([root?.kind, byName.get('first')?.kind], [2, 3])
    assert.equal(byName.get('first')?.error, 'reset')
    assert.equal(byName.get('second')?.attributes['http.response.status_code'], 200)
    assert.equal(root?.resource['service.name'], 'waypoint.shop')
    assert.deepEqual([...new Set(receiver.paths)], ['/v1/traces'])
    for (const span of receiver.spans) {
      assert.ok(span.end >= span.start)
      assert.ok(Math.abs(Number(span.start / 1_000_000n) - Date.now()) < 60_000, 'times are wall times')
    }
  })

  it('continues the trace of the client, with its state', async () => {
    await using receiver = await OtlpReceiver.start()
    const tracing = await tracingTo(receiver.endpoint, { ratio: 0 })
    const span = tracing.begin('r', [
      ['traceparent', `00-${TRACE}-${SPAN}-01`],
      ['tracestate', 'vendor=x'],
    ])
    const attempt = span.child('t', {})
    const sent = withTraceContext([], attempt.context)
    attempt.end()
    span.end()
    await tracing.stop(5000)
    const [child, parent] = receiver.spans
    assert.deepEqual([parent?.traceId, parent?.parentSpanId, parent?.traceState], [TRACE, SPAN, 'vendor=x'])
    assert.deepEqual(sent, [
      ['traceparent', `00-${TRACE}-${child?.spanId}-01`],
      ['tracestate', 'vendor=x'],
    ])
  })

  const DECISIONS: readonly {
    readonly name: string
    readonly headers: readonly HeaderField[]
    readonly ratio: number
    readonly want: boolean
  }[] = [
    { name: 'a new trace below the ratio', headers: [], ratio: 0.51, want: true },
    { name: 'a new trace above the ratio', headers: [], ratio: 0.5, want: false },
    { name: 'a new trace when all are', headers: [], ratio: 1, want: true },
    { name: 'a trace that is recorded', headers: [['traceparent', `00-${TRACE}-${SPAN}-01`]], ratio: 0, want: true },
    { name: 'a trace that is not', headers: [['traceparent', `00-${TRACE}-${SPAN}-00`]], ratio: 1, want: false },
    { name: 'a new trace in place of a broken one', headers: [['traceparent', `00-${TRACE}-${SPAN}-1`]], ratio: 0, want: false },
  ]
  for (const { name, headers, ratio, want } of DECISIONS) {
    it(`${want ? 'records' : 'does not record'} ${name}, and says so to the endpoint`, async () => {
      const tracing = await tracingTo(NO_ANSWER, { ratio })
      const attempt = tracing.begin('r', headers).child('t', {})
      assert.equal(attempt.isRecorded, want)
      assert.match(withTraceContext([], attempt.context)[0]?.[1] ?? '', want ? /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/ : /-00$/)
      if (headers[0]?.[1].endsWith(want ? '-01' : '-00') === true) assert.equal(attempt.context.traceId, TRACE)
      await tracing.stop(100)
    })
  }

  it('loses spans and no time when nobody takes them, and counts them', async () => {
    const metrics = registry()
    const exporter = { export: () => undefined, shutdown: () => new Promise<void>(() => undefined) } // a collector that hangs
    const tracing = await tracingTo(NO_ANSWER, { exporter, registry: metrics })
    const many = MAX_WAITING_SPANS + 10_000
    const startMs = performance.now()
    for (let n = 0; n < many; n++) tracing.begin('r', []).end()
    const perSpanUs = ((performance.now() - startMs) * 1000) / many
    assert.ok(perSpanUs < 1000, `${perSpanUs} µs for each`)
    const text = await metrics.metrics()
    assert.match(text, new RegExp(`^weft_spans_waiting ${MAX_WAITING_SPANS}$`, 'm'))
    assert.match(text, /^weft_spans_dropped_total\{reason="queue_full"\} 10000$/m)
    const stopMs = performance.now()
    await tracing.stop(50)
    assert.ok(performance.now() - stopMs < 2000)
    tracing.begin('r', []).end()
    assert.match(await metrics.metrics(), /^weft_spans_dropped_total\{reason="shutdown"\} 1$/m)
  })

  it('counts what a dead collector did not take, and frees it', async () => {
    const metrics = registry()
    let exports = 0
    const exporter: TracingOptions['exporter'] = {
      export: (_spans, done) => {
        exports++
        done({ code: 1, error: new Error('connect ECONNREFUSED') })
      },
      shutdown: () => Promise.resolve(),
    }
    const tracing = await tracingTo(NO_ANSWER, { exporter, registry: metrics })
    for (let n = 0; n < 600; n++) tracing.begin('r', []).end()
    await tracing.stop(5000)
    assert.equal(exports, 2)
    const text = await metrics.metrics()
    assert.match(text, /^weft_spans_dropped_total\{reason="export_failed"\} 600$/m)
    assert.match(text, /^weft_spans_waiting 0$/m)
  })

  it('speaks gRPC', async () => {
    const bodies: Buffer[] = []
    const server = new Server()
    const method = {
      path: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
      requestStream: false,
      responseStream: false,
      requestDeserialize: (bytes: Buffer) => bytes,
      requestSerialize: (bytes: Buffer) => bytes,
      responseDeserialize: (bytes: Buffer) => bytes,
      responseSerialize: (bytes: Buffer) => bytes,
    }
    server.addService(
      { Export: method },
      {
        Export: (call: { request: Buffer }, done: (error: null, value: Buffer) => void) => {
          bodies.push(call.request)
          done(null, Buffer.alloc(0))
        },
      },
    )
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      )
    })
    const metrics = registry()
    const tracing = await tracingTo(NO_ANSWER, { exporter: await otlpExporter(`http://127.0.0.1:${port}`, 'grpc', ''), registry: metrics })
    const span = tracing.begin('over-grpc', [])
    span.end()
    await tracing.stop(5000)
    server.forceShutdown()
    const body = Buffer.concat(bodies)
    assert.ok(body.includes('over-grpc') && body.includes(Buffer.from(span.context.traceId, 'hex')))
    assert.match(await metrics.metrics(), /^weft_spans_exported_total 1$/m)
  })

  it('cuts long texts', () => assert.equal(spanText('ä'.repeat(10_000)).length, 256))
})
