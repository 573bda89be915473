// The object API: HTTP/JSON over a unix socket with mode 0600 (paths and shapes in objects/client.ts). Root on the host
// is the only caller, yet sizes, counts and slow readers are bounded. Started by `up`.
import { chmodSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { codeOf, MeshError, messageOf } from '../../kit/error.ts'
import type { Log } from '../../kit/log.ts'
import { objectFailure } from '../../objects/errors.ts'
import { kindByPlural } from '../../objects/kinds.ts'
import type { TokenRequest } from '../../objects/api.ts'
import type { ObjectStore } from '../store.ts'
import type { TokenIssuer } from '../tokens.ts'
import { serveWatch } from './watch.ts'

/** A path beyond objects: `answer` returns the JSON to send, or takes over the response and returns undefined. */
export type ExtraRoute = (request: {
  readonly path: readonly string[]
  readonly query: URLSearchParams
  readonly body: unknown
  readonly response: ServerResponse
}) => Promise<unknown>

/** `extra`: first path segment with its method (`GET status`, `GET logs`, `POST release`). */
export interface ApiOptions {
  readonly socketPath: string
  readonly store: ObjectStore
  readonly tokens: TokenIssuer
  readonly log: Log
  readonly extra: Readonly<Record<string, ExtraRoute>>
}

const MAX_BODY_BYTES = 4 * 1024 * 1024
const MAX_CONNECTIONS = 512

/** A running API server; dispose closes it and removes the socket. */
export class ApiServer implements AsyncDisposable {
  readonly #options: ApiOptions
  readonly #server: Server

  private constructor(options: ApiOptions) {
    this.#options = options
    this.#server = createServer((request, response) => void this.#serve(request, response))
    this.#server.maxConnections = MAX_CONNECTIONS
  }

  /** Listens; a socket file left by a crash is replaced (the caller has made sure that no other mesh of the name lives). */
  static async listen(options: ApiOptions): Promise<ApiServer> {
    const api = new ApiServer(options)
    rmSync(options.socketPath, { force: true })
    const before = process.umask(0o177)
    try {
      await new Promise<void>((resolve, reject) => api.#server.once('error', reject).listen(options.socketPath, resolve))
    } finally {
      process.umask(before)
    }
    chmodSync(options.socketPath, 0o600)
    return api
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeAllConnections()
    await closed
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const result = await this.#answer(request, response)
      if (result !== undefined && !response.headersSent) send(response, 200, result)
    } catch (error) {
      const isOurs = error instanceof MeshError
      if (!isOurs) this.#options.log.error('object API failed', { path: request.url, error: messageOf(error) })
      if (response.headersSent) response.destroy()
      else
        send(response, isOurs ? (error.row.status ?? 500) : 500, {
          code: isOurs ? codeOf(error) : 'API_FAILED',
          message: sentenceOf(error),
        })
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<unknown> {
    const url = new URL(request.url ?? '/', 'http://api')
    const path = url.pathname
      .split('/')
      .filter((part) => part !== '')
      .map(decodePart)
    const method = request.method ?? 'GET'
    const body = method === 'POST' || method === 'PATCH' ? await readJson(request) : undefined
    const { store, tokens, extra } = this.#options
    const route = `${method} ${path[0] ?? ''}`
    switch (route) {
      case 'GET objects':
        return path.length === 2 ? this.#list(path, url.searchParams) : store.get(...target(path))
      case 'DELETE objects': {
        store.delete(...target(path), graceOf(url.searchParams), url.searchParams.get('uid') ?? undefined)
        return {}
      }
      case 'PATCH objects':
        return store.patch(...target(path), body, path[4] === 'status' ? 'status' : undefined)
      case 'POST apply':
        return store.apply(body, { isNew: url.searchParams.get('create') === 'true' })
      case 'GET watch':
        return serveWatch(store, url.searchParams, response)
      case 'POST tokenreviews':
        return reviewToken(tokens, body)
      case 'POST tokenrequests':
        return tokens.issue(tokenRequest(body))
    }
    const handler = extra[route]
    if (handler === undefined) throw objectFailure('BAD_REQUEST', { what: `${method} ${url.pathname} is no path of this API` })
    return handler({ path, query: url.searchParams, body, response })
  }

  #list(path: readonly string[], query: URLSearchParams): unknown {
    const { store } = this.#options
    const items = store.list(path[1] ?? '', query.get('namespace') ?? undefined)
    return { resourceVersion: store.version, items }
  }
}

function target(path: readonly string[]): [kind: string, namespace: string | undefined, name: string] {
  const [, kind = '', namespace = '', name = ''] = path
  const row = kindByPlural(kind)
  if (row === undefined) throw objectFailure('UNKNOWN_KIND', { kind })
  if (name === '' || path.length > 5 || (path.length === 5 && path[4] !== 'status') || row.isNamespaced === (namespace === '-'))
    throw objectFailure('BAD_REQUEST', { what: `/objects/${kind}/NAMESPACE/NAME is needed; '-' as NAMESPACE for kinds without one` })
  return [kind, row.isNamespaced ? namespace : undefined, name]
}

function graceOf(query: URLSearchParams): number | undefined {
  const text = query.get('gracePeriodSeconds')
  if (text === null) return undefined
  if (!/^\d{1,6}$/.test(text)) throw objectFailure('BAD_REQUEST', { what: 'gracePeriodSeconds is a whole number' })
  return Number(text)
}

async function reviewToken(tokens: TokenIssuer, body: unknown): Promise<unknown> {
  const { token, audiences } = (body ?? {}) as { token?: unknown; audiences?: unknown }
  if (typeof token !== 'string' || !isTextList(audiences)) throw objectFailure('BAD_REQUEST', { what: 'token and audiences are needed' })
  return tokens.review(token, audiences)
}

function tokenRequest(body: unknown): TokenRequest {
  const request = (body ?? {}) as Record<keyof TokenRequest, unknown>
  const pod = request.pod as { name?: unknown; uid?: unknown } | undefined
  const isGood =
    typeof request.namespace === 'string' &&
    typeof request.serviceAccount === 'string' &&
    isTextList(request.audiences) &&
    (request.expirationSeconds === undefined || typeof request.expirationSeconds === 'number') &&
    (pod === undefined || (typeof pod.name === 'string' && typeof pod.uid === 'string'))
  if (!isGood) throw objectFailure('BAD_REQUEST', { what: 'namespace, serviceAccount and audiences are needed' })
  return body as TokenRequest
}

function isTextList(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string')
}

function decodePart(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch (cause) {
    throw objectFailure('BAD_REQUEST', { what: 'the path is not valid percent-encoding' }, cause)
  }
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > MAX_BODY_BYTES) throw objectFailure('TOO_LARGE')
    chunks.push(chunk)
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'))
  } catch (error) {
    throw objectFailure('BAD_REQUEST', { what: `the body is not JSON: ${messageOf(error)}` })
  }
}

function send(response: ServerResponse, status: number, value: unknown): void {
  const payload = Buffer.from(JSON.stringify(value))
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': payload.length }).end(payload)
}

/** What the caller is told; the client adds message and hint of the code. */
function sentenceOf(error: unknown): string {
  return error instanceof MeshError && typeof error.detail.what === 'string' ? error.detail.what : messageOf(error)
}
