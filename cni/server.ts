// The agent's HTTP doors: cni.sock for the CNI plugin (/cni) and the local runtime's kubelet (/cmdadd, /cmddel), and a
// port on 127.0.0.1 for metrics and readiness, perhaps one for everybody with the metrics alone.
import { chmodSync, lstatSync, unlinkSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Registry } from 'prom-client'
import { codeOf, MeshError, messageOf } from '../kit/error.ts'
import type { Log } from '../kit/log.ts'
import { cniFailure } from './errors.ts'
import type { PluginAnswer } from './plugin/calls.ts'
import { type PluginRequest, parsePluginRequest } from './request.ts'

/** What cni.sock does. `add` and `remove` may throw MeshErrors, whose status is the answer. */
export interface PluginHandlers {
  /** A call of the CNI plugin; never rejects. */
  call(headers: IncomingHttpHeaders, text: string): Promise<PluginAnswer>
  /** Resolves when the pod may start. */
  add(request: PluginRequest): Promise<string>
  /** Must not fail for an unknown pod. */
  remove(request: PluginRequest): void
  /** Each answer, for the metrics. */
  onAnswer(status: number): void
}

/** A server that listens. */
export interface Door {
  close(): Promise<void>
}

const MAX_BODY_BYTES = 64 * 1024
/** A plugin's stdin carries the results of all plugins before it. */
const MAX_CALL_BYTES = 1024 * 1024
const MAX_AT_ONCE = 256
const REQUEST_TIMEOUT_MS = 30_000
const SCRAPE_TIMEOUT_MS = 10_000
/** As a proxy's: scrapes are few. */
const MAX_SCRAPES = 64

/** Listens on a unix socket with mode 0600; replaces what a dead process left. */
export async function servePlugin(path: string, handlers: PluginHandlers, log: Log): Promise<Door> {
  let atOnce = 0
  const server = createServer((request, response) => {
    atOnce++
    response.once('close', () => atOnce--)
    const work = atOnce > MAX_AT_ONCE ? Promise.reject(cniFailure('BUSY')) : answer(request, handlers)
    work
      .catch((error: unknown): PluginAnswer => {
        const status = error instanceof MeshError ? (error.row.status ?? 500) : 500
        log.warn('cni request failed', { path: request.url, status, error: messageOf(error) })
        return { status, text: refusal(request.url === '/cni', error) }
      })
      .then((given) => finish(response, handlers, given))
  })
  server.requestTimeout = REQUEST_TIMEOUT_MS
  removeStale(path)
  await listening(server, () => server.listen(path))
  chmodSync(path, 0o600) // its directory is 0700
  return doorOf(server)
}

/** What the monitoring port shows. */
export interface MonitoringOptions {
  readonly port: number
  readonly registry: Registry
  /** Names of what start-up still waits for; empty = ready. */
  waitingFor(): readonly string[]
  /** More for people: stage and failure of each pod. */
  dump(): unknown
  readonly log: Log
}

/** `/metrics`, `/readyz` (200 or 503 with what is awaited), `/config_dump` on 127.0.0.1. */
export async function serveMonitoring(options: MonitoringOptions): Promise<Door & { readonly port: number }> {
  const server = createServer((request, response) => {
    show(request, response, options).catch((error: unknown) => {
      options.log.warn('monitoring request failed', { path: request.url, error: messageOf(error) })
      response.writeHead(500).end()
    })
  })
  server.requestTimeout = REQUEST_TIMEOUT_MS
  await listening(server, () => server.listen(options.port, '127.0.0.1'))
  const address = server.address()
  return { ...doorOf(server), port: typeof address === 'object' && address !== null ? address.port : 0 }
}

/** Where everybody may read the metrics. */
export interface MetricsOptions {
  /** Empty = every address. */
  readonly ip: string
  /** 0 = chosen by the kernel. */
  readonly port: number
  readonly registry: Registry
  readonly log: Log
}

/** `/metrics` and nothing else, for whoever reaches the address. @throws Error of net.Server (EADDRINUSE, EADDRNOTAVAIL) */
export async function serveMetrics({ ip, port, registry, log }: MetricsOptions): Promise<Door & { readonly port: number }> {
  const server = createServer((request, response) => {
    const path = request.url?.split('?')[0]
    if (request.method !== 'GET') return void response.writeHead(405).end()
    if (path !== '/metrics' && path !== '/stats/prometheus') return void response.writeHead(404).end()
    writeMetrics(response, registry).catch((error: unknown) => {
      log.warn('metrics cannot be shown', { error: messageOf(error) })
      response.destroy()
    })
  })
  server.requestTimeout = SCRAPE_TIMEOUT_MS
  server.maxConnections = MAX_SCRAPES
  await listening(server, () => server.listen({ port, ...(ip === '' ? {} : { host: ip }) }))
  const address = server.address()
  return { ...doorOf(server), port: typeof address === 'object' && address !== null ? address.port : 0 }
}

async function writeMetrics(response: ServerResponse, registry: Registry): Promise<void> {
  const text = await registry.metrics()
  response.writeHead(200, { 'content-type': registry.contentType }).end(text)
}

async function show(request: IncomingMessage, response: ServerResponse, options: MonitoringOptions): Promise<void> {
  const path = request.url?.split('?')[0]
  if (request.method !== 'GET') response.writeHead(405).end()
  else if (path === '/metrics' || path === '/stats/prometheus') await writeMetrics(response, options.registry)
  else if (path === '/readyz' || path === '/healthz/ready') {
    const waiting = options.waitingFor()
    response.writeHead(waiting.length === 0 ? 200 : 503, JSON_TYPE).end(JSON.stringify({ waitingFor: waiting }))
  } else if (path === '/config_dump') response.writeHead(200, JSON_TYPE).end(JSON.stringify(options.dump(), undefined, 1))
  else response.writeHead(404).end()
}

const JSON_TYPE = { 'content-type': 'application/json' }

async function answer(request: IncomingMessage, handlers: PluginHandlers): Promise<PluginAnswer> {
  if (request.method === 'POST' && request.url === '/cni') return handlers.call(request.headers, await bodyOf(request, MAX_CALL_BYTES))
  const isAdd = request.url === '/cmdadd'
  if (request.method !== 'POST' || (!isAdd && request.url !== '/cmddel'))
    throw cniFailure('BAD_REQUEST', { reason: 'use POST /cmdadd or POST /cmddel' })
  const parsed = parsePluginRequest(await bodyOf(request, MAX_BODY_BYTES), isAdd)
  if (!parsed.ok) throw cniFailure('BAD_REQUEST', { reason: parsed.errors.join('; ') })
  if (isAdd) return { status: 200, text: JSON.stringify({ result: await handlers.add(parsed.value) }) }
  handlers.remove(parsed.value)
  return { status: 200, text: JSON.stringify({ result: 'removed' }) }
}

async function bodyOf(request: IncomingMessage, limitBytes: number): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > limitBytes) throw cniFailure('BAD_REQUEST', { reason: `more than ${limitBytes} bytes` })
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function finish(response: ServerResponse, handlers: PluginHandlers, { status, text }: PluginAnswer): void {
  handlers.onAnswer(status)
  const headers = { ...JSON_TYPE, connection: 'close', 'content-length': Buffer.byteLength(text) }
  response.writeHead(status, headers).end(text)
}

/** In the words of who asked: the plugin prints its answer as a CNI error (11 = try again later). */
function refusal(isPlugin: boolean, error: unknown): string {
  if (!isPlugin) return JSON.stringify({ error: messageOf(error), code: codeOf(error) })
  return `${JSON.stringify({ cniVersion: '1.1.0', code: 11, msg: `weft: ${messageOf(error)}`, details: codeOf(error) })}\n`
}

/** Only a socket is replaced: a wrong setting must not delete a file. */
function removeStale(path: string): void {
  try {
    if (lstatSync(path).isSocket()) unlinkSync(path)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
  }
}

function listening(server: Server, start: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.once('listening', () => {
      server.off('error', reject)
      resolve()
    })
    start()
  })
}

function doorOf(server: Server): Door {
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
