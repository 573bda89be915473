// One request to the API server: credentials, limits, and its refusals as the errors of the object API. HTTP/1.1 on kept
// connections; credentials that are refused are read again once, and a connection that died while idle is replaced once.
import { type IncomingMessage, request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { codeOf, messageOf } from '../../kit/error.ts'
import { objectFailure } from '../errors.ts'
import type { KubeConnection } from './connection.ts'
import { failureOf } from './refusal.ts'

/** What is asked. `verb`, `resource` and `namespace` are named when the right is missing. */
export interface KubeRequest {
  readonly verb: string
  /** `pods`, `pods/status`, `gateways.gateway.networking.k8s.io`. */
  readonly resource: string
  /** Absent = the whole cluster. */
  readonly namespace?: string | undefined
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  /** With query. */
  readonly path: string
  readonly body?: object
  /** Default `application/json`. */
  readonly contentType?: string
  readonly signal?: AbortSignal | undefined
  /** Longest silence in milliseconds; 0 = for ever. */
  readonly idleMs?: number
}

const MAX_ANSWER_BYTES = 256 * 1024 * 1024
const MAX_REFUSAL_BYTES = 1024 * 1024
const REQUEST_IDLE_MS = 30_000

/** Sends requests over one connection. Throws as `ObjectApi` says. */
export class KubeHttp {
  readonly #connection: KubeConnection

  constructor(connection: KubeConnection) {
    this.#connection = connection
  }

  /** The parsed JSON of a 2xx answer. */
  async call(request: KubeRequest): Promise<unknown> {
    const bytes = await collect(await this.open(request), MAX_ANSWER_BYTES)
    try {
      return bytes.length === 0 ? undefined : JSON.parse(bytes.toString('utf8'))
    } catch (error) {
      throw objectFailure('API_FAILED', { reason: messageOf(error) })
    }
  }

  /** Resolves with an answer of status 2xx; its body is unread. */
  async open(request: KubeRequest): Promise<IncomingMessage> {
    const first = await this.#sendOver(request, false)
    const answer = first.statusCode === 401 ? await this.#again(request, first) : first
    const status = answer.statusCode ?? 500
    if (status >= 200 && status < 300) return answer
    throw failureOf(request, status, await collect(answer, MAX_REFUSAL_BYTES))
  }

  #again(request: KubeRequest, refused: IncomingMessage): Promise<IncomingMessage> {
    refused.resume()
    return this.#sendOver(request, true)
  }

  async #sendOver(request: KubeRequest, isRefused: boolean): Promise<IncomingMessage> {
    try {
      return await this.#send(request, isRefused)
    } catch (error) {
      // Only what may be done twice: a list, a watch, an apply or a patch of the same content.
      if (!(error instanceof StaleConnection) || (request.method !== 'GET' && request.method !== 'PATCH')) throw unreachable(error)
    }
    try {
      return await this.#send(request, isRefused)
    } catch (error) {
      throw unreachable(error)
    }
  }

  async #send(request: KubeRequest, isRefused: boolean): Promise<IncomingMessage> {
    const { server, agent, headers } = await this.#connection.credentials(isRefused)
    const { method, body, contentType = 'application/json', signal, idleMs = REQUEST_IDLE_MS } = request
    const payload = body === undefined ? undefined : Buffer.from(JSON.stringify(body))
    const about = payload === undefined ? {} : { 'content-type': contentType, 'content-length': payload.length }
    return new Promise((resolve, reject) => {
      const send = server.startsWith('http:') ? httpRequest : httpsRequest
      const outgoing = send(`${server}${request.path}`, {
        method,
        agent,
        ...(signal === undefined ? {} : { signal }),
        headers: { accept: 'application/json', 'user-agent': 'weft', ...headers, ...about },
      })
      outgoing.setTimeout(idleMs, () => outgoing.destroy(objectFailure('API_UNREACHABLE', { server, silentMs: idleMs })))
      outgoing.on('response', resolve)
      outgoing.on('error', (cause) => {
        const isStale = outgoing.reusedSocket && ['ECONNRESET', 'EPIPE'].includes(codeOf(cause))
        reject(isStale ? new StaleConnection(server, cause) : withServer(server, cause))
      })
      outgoing.end(payload)
    })
  }
}

/** A kept connection turned out to be dead before an answer came. */
class StaleConnection extends Error {
  readonly server: string
  override readonly cause: unknown

  constructor(server: string, cause: unknown) {
    super('the kept connection was closed')
    this.server = server
    this.cause = cause
  }
}

function unreachable(error: unknown): unknown {
  return error instanceof StaleConnection ? withServer(error.server, error.cause) : error
}

function withServer(server: string, cause: unknown): unknown {
  return codeOf(cause) === 'API_UNREACHABLE' ? cause : objectFailure('API_UNREACHABLE', { server }, cause)
}

/** The whole body. @throws API_FAILED when it is longer than `limit`, API_UNREACHABLE when it breaks off */
async function collect(answer: IncomingMessage, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      length += chunk.length
      if (length > limit) throw objectFailure('API_FAILED', { reason: 'the answer is too long' })
      chunks.push(chunk)
    }
  } catch (error) {
    throw codeOf(error) === 'API_FAILED' ? error : objectFailure('API_UNREACHABLE', { reason: 'the answer broke off' }, error)
  }
  return Buffer.concat(chunks)
}
