// Client of the object API on api.sock (HTTP/JSON over a unix socket): list, get, apply, delete, patch, watch, token reviews, logs.
// Used by the control plane, the cni agents, the kubelets, cluster-dns and the CLI.
import { Agent, type IncomingMessage, request as httpRequest } from 'node:http'
import { messageOf } from '../kit/error.ts'
import type { MeshObject, TokenReviewStatus } from '../model/object.ts'
import type {
  DeleteOptions,
  InformOptions,
  Informer,
  LogOptions,
  ObjectApi,
  ObjectList,
  ObjectStatus,
  StatusOptions,
  TokenRequest,
} from './api.ts'
import { isObjectErrorCode, objectFailure } from './errors.ts'
import { kindOf } from './kinds.ts'
import { informer } from './informer.ts'

/** One line of a watch; `BOOKMARK` says that everything up to now was sent and carries no object. */
export type WatchLine =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: MeshObject }
  | { readonly type: 'BOOKMARK'; readonly resourceVersion: string }

const MAX_ANSWER_BYTES = 256 * 1024 * 1024
const MAX_LINE_BYTES = 8 * 1024 * 1024
const REQUEST_TIMEOUT_MS = 15_000

/** The object API of the local runtime. */
export class ObjectClient implements ObjectApi {
  readonly #socketPath: string
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 32 })

  constructor(options: { readonly socketPath: string }) {
    this.#socketPath = options.socketPath
  }

  ready(): Promise<void> {
    return Promise.resolve()
  }

  list(kind: string, namespace?: string): Promise<ObjectList> {
    const query = namespace === undefined ? '' : `?namespace=${encodeURIComponent(namespace)}`
    return this.#call('GET', `/objects/${encodeURIComponent(kind)}${query}`) as Promise<ObjectList>
  }

  get(kind: string, namespace: string | undefined, name: string): Promise<MeshObject> {
    return this.#call('GET', objectPath(kind, namespace, name)) as Promise<MeshObject>
  }

  apply(object: object): Promise<MeshObject> {
    return this.#call('POST', '/apply', object) as Promise<MeshObject>
  }

  create(object: object): Promise<MeshObject> {
    return this.#call('POST', '/apply?create=true', object) as Promise<MeshObject>
  }

  async delete(kind: string, namespace: string | undefined, name: string, options: DeleteOptions = {}): Promise<void> {
    const query = new URLSearchParams()
    if (options.gracePeriodSeconds !== undefined) query.set('gracePeriodSeconds', String(options.gracePeriodSeconds))
    if (options.uid !== undefined) query.set('uid', options.uid)
    await this.#call('DELETE', `${objectPath(kind, namespace, name)}?${query}`)
  }

  patch(
    kind: string,
    namespace: string | undefined,
    name: string,
    mergePatch: object,
    options: { subresource?: 'status' } = {},
  ): Promise<MeshObject> {
    const path = objectPath(kind, namespace, name) + (options.subresource === undefined ? '' : `/${options.subresource}`)
    return this.#call('PATCH', path, mergePatch) as Promise<MeshObject>
  }

  applyStatus({ apiVersion, kind, metadata, status }: ObjectStatus, _options: StatusOptions): Promise<MeshObject> {
    const { name, namespace, resourceVersion } = metadata
    const plural = kindOf(apiVersion, kind)?.plural
    if (plural === undefined) return Promise.reject(objectFailure('UNKNOWN_KIND', { apiVersion, kind }))
    const lock = resourceVersion === undefined ? {} : { metadata: { resourceVersion } }
    return this.patch(plural, namespace, name, { ...lock, status }, { subresource: 'status' })
  }

  reviewToken(token: string, audience: string): Promise<TokenReviewStatus> {
    return this.#call('POST', '/tokenreviews', { token, audiences: [audience] }) as Promise<TokenReviewStatus>
  }

  requestToken(request: TokenRequest): Promise<{ token: string; expirationTimestamp: string }> {
    return this.#call('POST', '/tokenrequests', request) as Promise<{ token: string; expirationTimestamp: string }>
  }

  /** A GET of another path of the API, e.g. `/status`. */
  read(path: string): Promise<unknown> {
    return this.#call('GET', path)
  }

  /** A POST to another path of the API, e.g. `/release`. */
  send(path: string, body: object): Promise<unknown> {
    return this.#call('POST', path, body)
  }

  async *logs(namespace: string, pod: string, options: LogOptions = {}): AsyncGenerator<Buffer> {
    const query = new URLSearchParams()
    if (options.container !== undefined) query.set('container', options.container)
    if (options.tail !== undefined) query.set('tail', String(options.tail))
    if (options.follow === true) query.set('follow', 'true')
    const path = `/logs/${encodeURIComponent(namespace)}/${encodeURIComponent(pod)}?${query}`
    yield* await this.#open('GET', path, undefined, options.signal)
  }

  /**
   * Follows kinds from a version on. Ends when the connection ends or `signal` aborts.
   * @throws VERSION_TOO_OLD: list again
   */
  async *watch(kinds: readonly string[], since: string, signal?: AbortSignal): AsyncGenerator<WatchLine> {
    const answer = await this.#open('GET', `/watch?kinds=${kinds.join(',')}&since=${encodeURIComponent(since)}`, undefined, signal)
    let rest: Buffer = Buffer.alloc(0)
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
      let start = 0
      for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10, start)) {
        yield JSON.parse(rest.toString('utf8', start, end)) as WatchLine
        start = end + 1
      }
      rest = rest.subarray(start)
      if (rest.length > MAX_LINE_BYTES) throw objectFailure('API_FAILED', { reason: 'a line of the watch is too long' })
    }
  }

  inform(options: InformOptions): Informer {
    return informer({ ...options, client: this })
  }

  /** Closes idle connections. */
  [Symbol.dispose](): void {
    this.#agent.destroy()
  }

  async #call(method: string, path: string, body?: object): Promise<unknown> {
    const answer = await this.#open(method, path, body)
    const bytes = await collect(answer)
    if (bytes.length === 0) return undefined
    return parseJson(bytes)
  }

  /** Resolves with an answer of status 2xx; its body is unread. */
  async #open(method: string, path: string, body?: object, signal?: AbortSignal): Promise<IncomingMessage> {
    const answer = await this.#request(method, path, body, signal)
    const status = answer.statusCode ?? 500
    if (status < 300) return answer
    const bytes = await collect(answer)
    let fault: { code?: unknown; message?: unknown }
    try {
      fault = parseJson(bytes) as { code?: unknown; message?: unknown }
    } catch {
      fault = { message: bytes.toString('utf8', 0, 500) } // not our server's words: shown as they are
    }
    const code = typeof fault.code === 'string' && isObjectErrorCode(fault.code) ? fault.code : 'API_FAILED'
    throw objectFailure(code, typeof fault.message === 'string' ? { what: fault.message } : { status })
  }

  #request(method: string, path: string, body?: object, signal?: AbortSignal): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const payload = body === undefined ? undefined : Buffer.from(JSON.stringify(body))
      const outgoing = httpRequest({
        socketPath: this.#socketPath,
        method,
        path,
        agent: this.#agent,
        ...(signal === undefined ? {} : { signal }),
        headers: payload === undefined ? {} : { 'content-type': 'application/json', 'content-length': payload.length },
      })
      outgoing.setTimeout(REQUEST_TIMEOUT_MS, () => outgoing.destroy(objectFailure('API_UNREACHABLE', { path: this.#socketPath })))
      outgoing.on('response', (answer) => {
        outgoing.setTimeout(0)
        resolve(answer)
      })
      outgoing.on('error', (cause) => reject(objectFailure('API_UNREACHABLE', { path: this.#socketPath }, cause)))
      outgoing.end(payload)
    })
  }
}

function objectPath(kind: string, namespace: string | undefined, name: string): string {
  return `/objects/${encodeURIComponent(kind)}/${encodeURIComponent(namespace ?? '-')}/${encodeURIComponent(name)}`
}

async function collect(answer: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > MAX_ANSWER_BYTES) throw objectFailure('API_FAILED', { reason: 'the answer is too long' })
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch (cause) {
    throw objectFailure('API_FAILED', { reason: messageOf(cause) })
  }
}
