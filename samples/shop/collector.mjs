// A collector of traces to look at: takes OTLP in JSON over HTTP on PORT (default 4318), keeps the last traces in memory and shows
// them as trees: GET /traces?last=3&path=/api (only those with a path that begins so) or ?id=TRACE, GET /spans?id=TRACE (JSON; of all
// traces without an id). Not for production: it forgets, and shows everything to everybody.
import http from 'node:http'

const PORT = Number(process.env.PORT ?? 4318)
const MOST_TRACES = 200
const MOST_SPANS = 500 // of one trace
const LONGEST_BODY_BYTES = 8 * 1024 * 1024
const SHOWN_TRACES = 5
const SERVER = 2
const CLIENT = 3
const ERROR = 2

/** Trace id -> its spans; the trace that was heard of first comes first. */
const traces = new Map()

const server = http.createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://collector')
  const send = (status, type, text) => response.writeHead(status, { 'content-type': type }).end(text)
  try {
    if (request.method === 'POST' && pathname === '/v1/traces') {
      if (!/^application\/json\b/.test(request.headers['content-type'] ?? '')) return send(415, 'text/plain', 'only JSON is understood\n')
      for (const span of spansIn(JSON.parse(await read(request)))) keep(span)
      return send(200, 'application/json', '{}')
    }
    if (pathname === '/readyz') return send(200, 'text/plain', 'ready\n')
    if (pathname === '/spans') return send(200, 'application/json', JSON.stringify(chosen(searchParams).flatMap(([, spans]) => spans)))
    if (pathname === '/traces') return send(200, 'text/plain; charset=utf-8', show(searchParams))
    send(404, 'text/plain', 'POST /v1/traces, GET /traces?last=N&path=PREFIX&id=TRACE, GET /spans?id=TRACE\n')
  } catch (error) {
    send(400, 'text/plain', `${error.message}\n`)
  }
})
server.listen(PORT, '::', () => console.log(`collector: listening on ${PORT}`))
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0))

function keep(span) {
  const known = traces.get(span.traceId)
  if (known !== undefined) {
    if (known.length < MOST_SPANS) known.push(span)
    return
  }
  if (traces.size >= MOST_TRACES) traces.delete(traces.keys().next().value)
  traces.set(span.traceId, [span])
}

/** The spans of an ExportTraceServiceRequest, their attributes as plain values and their times in ms. */
function spansIn({ resourceSpans = [] }) {
  return resourceSpans.flatMap(({ resource, scopeSpans = [] }) =>
    scopeSpans.flatMap(({ spans = [] }) =>
      spans.map((span) => ({
        traceId: String(span.traceId),
        spanId: String(span.spanId),
        parentSpanId: span.parentSpanId || undefined,
        name: String(span.name),
        kind: span.kind,
        startMs: Number(span.startTimeUnixNano) / 1e6,
        ms: Number(BigInt(span.endTimeUnixNano) - BigInt(span.startTimeUnixNano)) / 1e6,
        traceState: span.traceState,
        error: span.status?.code === ERROR ? (span.status.message ?? 'error') : undefined,
        attributes: valuesOf(span.attributes),
        service: valuesOf(resource?.attributes)['service.name'] ?? 'unknown',
      })),
    ),
  )
}

function valuesOf(attributes = []) {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]))
}

/** Of all traces, or the one that is wanted. */
function chosen(wanted) {
  const id = wanted.get('id')
  return [...traces].filter(([each]) => id === null || each === id)
}

function show(wanted) {
  const last = Math.max(1, Number(wanted.get('last') ?? SHOWN_TRACES) || SHOWN_TRACES)
  const path = wanted.get('path') ?? ''
  const hasPath = (span) => String(span.attributes['url.path'] ?? '').startsWith(path)
  const shown = chosen(wanted)
    .filter(([, spans]) => spans.some(hasPath))
    .slice(-last)
  return shown.length === 0 ? 'no traces yet\n' : shown.map(([id, spans]) => tree(id, spans)).join('\n')
}

/** One trace; a span whose parent is not here (it is a client's own, or still to come) stands at the left. */
function tree(id, spans) {
  const ids = new Set(spans.map((span) => span.spanId))
  const childrenOf = (parent) => spans.filter((span) => span.parentSpanId === parent).sort((a, b) => a.startMs - b.startMs)
  const lines = [`trace ${printable(id)}, ${spans.length} spans`]
  const seen = new Set()
  const add = (span, head, indent) => {
    if (seen.has(span)) return
    seen.add(span)
    lines.push(`${head}${lineOf(span)}`)
    const below = childrenOf(span.spanId)
    for (const child of below) {
      const isLast = child === below.at(-1)
      add(child, `${indent}${isLast ? '└─ ' : '├─ '}`, `${indent}${isLast ? '   ' : '│  '}`)
    }
  }
  for (const span of spans) if (!ids.has(span.parentSpanId)) add(span, '', '')
  return `${lines.join('\n')}\n`
}

/** A waypoint's request (who asked what of whom), its try (who answered), or anybody else's span. */
function lineOf({ kind, name, ms, error, attributes: all, service }) {
  const workload = (end) => `${all[`istio.${end}.workload`]}.${all[`istio.${end}.namespace`]}`
  const result = `${all['http.response.status_code'] ?? error ?? ''}  ${ms.toFixed(1)} ms`
  if (kind === SERVER && all['istio.downstream.workload'] !== undefined) {
    const asked = `${all['http.request.method']} ${all['server.address']}${all['url.path']}`
    return printable(`${workload('downstream')} asks ${asked}  ${result}  by ${service}`)
  }
  if (kind === CLIENT && all['istio.upstream.workload'] !== undefined) {
    const what = name.startsWith('mirror') ? 'copy' : `try ${Number(all['http.request.resend_count'] ?? 0) + 1}`
    return printable(`${what}: ${workload('upstream')} at ${all['server.address']}:${all['server.port']}  ${result}`)
  }
  return printable(`${name}  ${result}  by ${service}`)
}

/** Paths and names come from anybody: nothing of them may steer a terminal. */
function printable(text) {
  return text.replace(/[\p{Cc}\p{Cf}]/gu, '?')
}

async function read(stream) {
  const chunks = []
  let bytes = 0
  for await (const chunk of stream) {
    bytes += chunk.length
    if (bytes > LONGEST_BODY_BYTES) throw new Error('the body is too long')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}
