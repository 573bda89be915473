// HTTP on port 15014: /metrics and /ready for everybody, /debug/… for this host only.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { messageOf } from '../kit/error.ts'
import type { Log } from '../kit/log.ts'
import type { Readiness } from '../kit/ready.ts'
import type { ControlplaneMetrics } from './metrics.ts'

/** What the pages show; each debug page is computed when it is asked for. */
export interface PageOptions {
  readonly metrics: ControlplaneMetrics
  readonly readiness: Readiness
  readonly debug: Readonly<Record<string, () => unknown>>
  readonly log: Log
}

/** An HTTP server that does not listen yet. */
export function makeHttpServer(options: PageOptions): Server {
  const server = createServer({ maxHeaderSize: 8192, requestTimeout: 5000, headersTimeout: 5000 }, (request, response) => {
    answer(request, response, options).catch((error: unknown) => {
      options.log.warn('a page failed', { path: request.url, error: messageOf(error) })
      response.destroy()
    })
  })
  server.maxConnections = 256
  return server
}

async function answer(request: IncomingMessage, response: ServerResponse, options: PageOptions): Promise<void> {
  const { metrics, readiness, debug } = options
  const path = (request.url ?? '').split('?')[0] ?? ''
  request.resume()
  if (request.method !== 'GET' && request.method !== 'HEAD') return send(response, 405, 'text/plain', 'only GET\n')
  if (path === '/metrics' || path === '/stats/prometheus') {
    return send(response, 200, metrics.registry.contentType, await metrics.registry.metrics())
  }
  if (path === '/ready') {
    const waiting = readiness.waitingFor()
    return send(
      response,
      waiting.length === 0 ? 200 : 503,
      'text/plain',
      waiting.length === 0 ? 'ready\n' : `waiting for ${waiting.join(', ')}\n`,
    )
  }
  const page = path.startsWith('/debug/') ? path.slice('/debug/'.length) : ''
  if (page !== '' && isOwnHost(request) && Object.hasOwn(debug, page)) {
    return send(response, 200, 'application/json', `${JSON.stringify(debug[page]?.(), null, 2)}\n`)
  }
  return send(
    response,
    404,
    'text/plain',
    `pages: /metrics /ready${
      isOwnHost(request)
        ? Object.keys(debug)
            .map((name) => ` /debug/${name}`)
            .join('')
        : ''
    }\n`,
  )
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { 'content-type': type, 'x-content-type-options': 'nosniff' })
  response.end(body)
}

/** Whether the connection comes from this network namespace over loopback, and is not another site's script (DNS rebinding). */
function isOwnHost(request: IncomingMessage): boolean {
  const address = request.socket.remoteAddress ?? ''
  const isLoopback = address === '::1' || /^(::ffff:)?127\./.test(address)
  return isLoopback && /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/.test(request.headers.host ?? '')
}
