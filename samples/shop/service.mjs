// What the shop's services share: a JSON server with health endpoints, one log line per request and a clean end,
// and calls to the next service.
import http from 'node:http'

const CALL_TIMEOUT_MS = 5000
const LONGEST_BODY_BYTES = 64 * 1024
const SHUTDOWN_MS = 10_000
/** Headers that a service passes on, so that one order can be followed through all logs (and be made to fail at the till). */
const PASSED_ON = ['x-request-id', 'traceparent', 'tracestate', 'x-fail-every']

/** An answer that is not 200; throw it from a handler. */
export class Refusal extends Error {
  constructor(status, message) {
    super(message)
    this.status = status
  }
}

/** One line on standard output. */
export function log(message, fields = {}) {
  console.log(JSON.stringify({ time: new Date().toISOString(), service: process.env.SERVICE_NAME ?? 'shop', message, ...fields }))
}

/**
 * Serves `routes` on PORT (default 8080), and /healthz and /readyz beside them.
 * @param routes `'GET /products/:id'` -> `({ params, query, body, headers }) => value`; a string is sent as HTML, the rest as JSON
 */
export function serve(routes) {
  const table = Object.entries(routes).map(([route, handle]) => ({ ...compile(route), handle }))
  let isEnding = false
  const server = http.createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://shop')
    if (pathname === '/healthz') return response.end('ok\n')
    if (pathname === '/readyz') return response.writeHead(isEnding ? 503 : 200).end(isEnding ? 'ending\n' : 'ready\n')
    if (isEnding) response.setHeader('connection', 'close')
    answer(table, request, response)
  })
  server.keepAliveTimeout = 30_000
  const port = Number(process.env.PORT ?? 8080)
  server.listen(port, () => log('listening', { port }))
  for (const signal of ['SIGTERM', 'SIGINT']) {
    process.on(signal, () => {
      isEnding = true
      log('ending', { signal })
      server.close(() => process.exit(0))
      server.closeIdleConnections()
      setTimeout(() => process.exit(0), SHUTDOWN_MS).unref()
    })
  }
}

/**
 * Calls another service and gives its JSON answer.
 * @param request the request that this call serves; its tracing headers are passed on
 * @throws {Refusal} the other's status for 4xx, else 502 (it failed or cannot be reached) or 504 (it was too slow)
 */
export function call(method, url, { body, request } = {}) {
  const headers = { accept: 'application/json' }
  for (const name of PASSED_ON) if (request?.headers[name] !== undefined) headers[name] = request.headers[name]
  const payload = body === undefined ? undefined : JSON.stringify(body)
  if (payload !== undefined) Object.assign(headers, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) })
  return new Promise((resolve, reject) => {
    const fail = (status, reason) => reject(new Refusal(status, `${method} ${url}: ${reason}`))
    const outgoing = http.request(url, { method, headers, agent, timeout: CALL_TIMEOUT_MS }, async (response) => {
      try {
        const text = await read(response)
        if (response.statusCode < 300) resolve(text === '' ? undefined : JSON.parse(text))
        else fail(response.statusCode < 500 ? response.statusCode : 502, `${response.statusCode} ${reasonIn(text)}`)
      } catch (error) {
        fail(502, error.message)
      }
    })
    outgoing.on('timeout', () => outgoing.destroy(Object.assign(new Error('no answer in time'), { code: 'ETIMEDOUT' })))
    outgoing.on('error', (error) => fail(error.code === 'ETIMEDOUT' ? 504 : 502, error.message || error.code))
    outgoing.end(payload)
  })
}

/** A connection per call, so that a Service spreads the calls; KEEP_ALIVE=true keeps them open. */
const agent = new http.Agent({ keepAlive: process.env.KEEP_ALIVE === 'true', timeout: CALL_TIMEOUT_MS })

async function answer(table, request, response) {
  const begunMs = performance.now()
  const { pathname, searchParams } = new URL(request.url, 'http://shop')
  request.headers['x-request-id'] ??= crypto.randomUUID()
  let status = 200
  let error
  try {
    const found = table.find((row) => row.method === request.method && row.pattern.test(pathname))
    if (found === undefined) throw new Refusal(404, `no such page: ${request.method} ${pathname}`)
    const value = await found.handle({
      params: found.pattern.exec(pathname).groups ?? {},
      query: searchParams,
      headers: request.headers,
      body: parse(await read(request)),
    })
    send(response, 200, value)
  } catch (thrown) {
    status = thrown instanceof Refusal ? thrown.status : 500
    error = thrown.message
    send(response, status, { error })
  }
  const peer = request.socket.remoteAddress?.replace('::ffff:', '')
  const ms = Math.round((performance.now() - begunMs) * 10) / 10
  log('request', { method: request.method, path: pathname, status, ms, peer, id: request.headers['x-request-id'], ...(error && { error }) })
}

function send(response, status, value) {
  const isPage = typeof value === 'string'
  const text = isPage ? value : `${JSON.stringify(value ?? {})}\n`
  response.writeHead(status, {
    'content-type': isPage ? 'text/html; charset=utf-8' : 'application/json',
    'content-length': Buffer.byteLength(text),
  })
  response.end(text)
}

/** The reason in another service's answer, or its first words when it is no answer of ours. */
function reasonIn(text) {
  try {
    return JSON.parse(text).error
  } catch {
    return text.trim().slice(0, 200)
  }
}

function parse(text) {
  if (text === '') return undefined
  try {
    return JSON.parse(text)
  } catch {
    throw new Refusal(400, 'the body is not JSON')
  }
}

async function read(stream) {
  const chunks = []
  let bytes = 0
  for await (const chunk of stream) {
    bytes += chunk.length
    if (bytes > LONGEST_BODY_BYTES) throw new Refusal(413, 'the body is too long')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

function compile(route) {
  const [method, path] = route.split(' ')
  return { method, pattern: new RegExp(`^${path.replace(/:(\w+)/g, '(?<$1>[^/]+)')}$`) }
}
