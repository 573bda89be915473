// A proxy's HTTP servers: admin (15000, loopback only), metrics (15020), readiness (15021). Paths and answers are
// ztunnel's (istio/ztunnel:src/admin.rs, src/metrics/server.rs, src/readiness/server.rs).
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { pipeline, Readable } from 'node:stream'
import { messageOf } from '../kit/error.ts'
import type { Log } from '../kit/log.ts'

/** What the servers show and do. */
export interface AdminActions {
  /** JSON of /config_dump. */
  configDump(): Promise<unknown>
  /** Prometheus text of all threads, in pieces that are made when they are asked for. */
  metrics(): Promise<Iterable<string>>
  /** What readiness waits for; empty = ready. */
  waitingFor(): readonly string[]
  logLevels(): string
  /** @throws RangeError naming the bad part */
  setLogLevels(text: string | undefined): void
  /** Begins the end of the process. */
  quit(): void
}

/** Where to listen; port 0 = chosen by the kernel. */
export interface AdminOptions {
  /** Name of the process, the title of the index. */
  readonly process: string
  readonly actions: AdminActions
  readonly log: Log
  readonly adminPort: number
  readonly statsPort: number
  readonly readyPort: number
  readonly isIpv6Enabled: boolean
  /** Where metrics and readiness listen; empty = every address. */
  readonly monitoringIp: string
}

type Handler = (request: http.IncomingMessage, url: URL) => Promise<Answer> | Answer
interface Answer {
  readonly status: number
  readonly type?: string
  readonly body?: string | Iterable<string>
}

const REQUEST_TIMEOUT_MS = 10_000
const MAX_CONNECTIONS = 64 // scrapes and probes are few
/** What a turn of the event loop makes of a long answer, at least; half a millisecond. */
const PIECE_CHARS = 64 * 1024

/** The three servers. */
export class AdminServers {
  readonly #servers: readonly http.Server[]

  private constructor(servers: readonly http.Server[]) {
    this.#servers = servers
  }

  /** Listens. @throws Error of net.Server (EADDRINUSE) */
  static async start(options: AdminOptions): Promise<AdminServers> {
    const any = options.monitoringIp || (options.isIpv6Enabled ? '::' : '0.0.0.0')
    const admin = await listen(adminHandler(options.actions, indexOf(options.process)), '127.0.0.1', options.adminPort, options.log)
    const stats = await listen(statsHandler(options.actions), any, options.statsPort, options.log)
    const ready = await listen(readyHandler(options.actions), any, options.readyPort, options.log)
    return new AdminServers([admin, stats, ready])
  }

  /** Ports of admin, metrics, readiness. */
  ports(): number[] {
    return this.#servers.map((server) => (server.address() as AddressInfo).port)
  }

  close(): void {
    for (const server of this.#servers) {
      server.close()
      server.closeAllConnections()
    }
  }
}

const TEXT = 'text/plain; charset=utf-8'
const indexOf = (process: string): string => `<!doctype html><title>${process}</title><ul>
<li><a href="config_dump">config_dump</a> what this proxy knows
<li>logging: POST ?level=LEVEL or ?level=area:LEVEL, ?reset
<li>quitquitquit: POST ends the process in order
</ul>
`

function adminHandler(actions: AdminActions, index: string): Handler {
  return async (request, url) => {
    switch (url.pathname) {
      case '/':
        return { status: 200, type: 'text/html; charset=utf-8', body: index }
      case '/config_dump':
        return { status: 200, type: 'application/json', body: JSON.stringify(await actions.configDump(), undefined, 2) }
      case '/logging':
        return request.method === 'POST' ? changeLevels(actions, url) : { status: 405 }
      case '/quitquitquit':
        if (request.method !== 'POST') return { status: 405 }
        actions.quit()
        return { status: 200, type: TEXT, body: 'shutdown now\n' }
      case '/metrics':
        return metrics(actions)
      default:
        return { status: 404 }
    }
  }
}

function statsHandler(actions: AdminActions): Handler {
  return (_request, url) => (url.pathname === '/metrics' || url.pathname === '/stats/prometheus' ? metrics(actions) : { status: 404 })
}

function readyHandler(actions: AdminActions): Handler {
  return (_request, url) => {
    if (url.pathname !== '/healthz/ready') return { status: 404 }
    const waiting = actions.waitingFor()
    if (waiting.length === 0) return { status: 200, type: TEXT, body: 'ready\n' }
    return { status: 500, type: TEXT, body: `not ready, pending: ${waiting.join(', ')}\n` }
  }
}

async function metrics(actions: AdminActions): Promise<Answer> {
  return { status: 200, type: 'text/plain; version=0.0.4; charset=utf-8', body: await actions.metrics() }
}

function changeLevels(actions: AdminActions, url: URL): Answer {
  const level = url.searchParams.get('level')
  try {
    if (url.searchParams.has('reset')) actions.setLogLevels(undefined)
    if (level !== null && level !== '') actions.setLogLevels(level.replaceAll(':', '='))
    return { status: 200, type: TEXT, body: `current log level is ${actions.logLevels()}\n` }
  } catch (error) {
    return { status: 400, type: TEXT, body: `${messageOf(error)}\n` }
  }
}

async function listen(handle: Handler, host: string, port: number, log: Log): Promise<http.Server> {
  const server = http.createServer({ requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS }, (request, response) => {
    const respond = async (): Promise<Answer> => {
      const url = URL.parse(request.url ?? '/', 'http://localhost')
      return url === null ? { status: 400 } : handle(request, url)
    }
    respond()
      .catch((error: unknown): Answer => {
        log.warn('an admin request failed', { path: request.url, error: messageOf(error) })
        return { status: 500, type: TEXT, body: `${messageOf(error)}\n` }
      })
      .then(({ status, type, body }) => {
        response.writeHead(status, type === undefined ? {} : { 'content-type': type })
        if (body === undefined || typeof body === 'string') response.end(body)
        else pipeline(Readable.from(paced(body)), response, (error) => log.debug('a scrape broke off', { error: messageOf(error) }))
      })
  })
  server.maxConnections = MAX_CONNECTIONS
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port }, resolve)
  })
  return server
}

/** Joins pieces up to PIECE_CHARS, one such per turn of the event loop: a long text must not hold the proxy's traffic up. */
async function* paced(pieces: Iterable<string>): AsyncGenerator<string, void, void> {
  let text = ''
  for (const piece of pieces) {
    text += piece
    if (text.length < PIECE_CHARS) continue
    yield text
    text = ''
    await new Promise<void>((resolve) => void setImmediate(resolve)) // the next turn
  }
  if (text !== '') yield text
}
