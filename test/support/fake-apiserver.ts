// A Kubernetes API server as far as informers see it: lists in pages, watches with bookmarks and a bounded history, discovery.
// It can be told to misbehave: drop watches, forget history, answer old lists, repeat or lose events, fail pages.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { MeshObject } from '../../model/object.ts'
import { CLUSTER_KINDS, KINDS, type KindRow } from '../../objects/kinds.ts'

type EventType = 'ADDED' | 'MODIFIED' | 'DELETED'

interface Entry {
  readonly version: number
  readonly plural: string
  readonly type: EventType
  readonly object: MeshObject
  readonly before: MeshObject | undefined
}

interface Watch {
  readonly plural: string
  readonly selector: string | undefined
  readonly response: ServerResponse
}

interface Snapshot {
  readonly version: number
  readonly items: readonly MeshObject[]
}

/** What a request is answered with instead. */
export interface Trouble {
  /** Part of `METHOD path?query`. */
  readonly match: string
  readonly status: number
  readonly body?: unknown
  /** How often; default 1. */
  readonly times?: number
}

/** The server; state is public where tests set it. */
export class FakeApiServer implements AsyncDisposable {
  /** Plurals whose CRD is missing. */
  readonly absent = new Set<string>()
  /** `METHOD path` of each request, oldest first. */
  readonly requests: string[] = []
  /** Content type and body of each request that had one. */
  readonly bodies: { readonly type: string; readonly body: unknown }[] = []
  /** Authorization headers that are accepted; undefined = all. */
  accepts: string | undefined
  /** Events are sent twice, and after a reconnect some that were sent before. */
  isRepeating = false
  /** Events are not sent to watches (and never again): what a broken server would do. */
  isLosing = false
  watchesOpened = 0
  readonly #server: Server
  readonly #objects = new Map<string, Map<string, MeshObject>>()
  readonly #watches = new Set<Watch>()
  readonly #snapshots = new Map<number, Snapshot>()
  #history: Entry[] = []
  #forgotten = 0
  #version = 1
  #uid = 0
  #troubles: { trouble: Trouble; left: number }[] = []
  #staleLists = 0

  private constructor() {
    this.#server = createServer((request, response) => void this.#serve(request, response))
    for (const row of [...KINDS, ...CLUSTER_KINDS]) this.#objects.set(row.plural, new Map())
  }

  static async listen(port = 0): Promise<FakeApiServer> {
    const fake = new FakeApiServer()
    await fake.open(port)
    return fake
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get version(): number {
    return this.#version
  }

  open(port: number): Promise<void> {
    return new Promise((resolve, reject) => this.#server.once('error', reject).listen(port, '127.0.0.1', resolve))
  }

  /** Stops listening and cuts every connection; `open` again with the same port. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeAllConnections()
    await closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#server.listening) await this.close()
  }

  /** Objects of a kind by key. */
  state(plural: string): ReadonlyMap<string, MeshObject> {
    return this.#table(plural)
  }

  /** Makes or changes an object; kind and plural from its row. */
  put(plural: string, object: { metadata: { name: string; namespace?: string; labels?: Record<string, string> } } & object): MeshObject {
    const table = this.#table(plural)
    const row = rowOf(plural)
    const key = keyOf(object.metadata)
    const old = table.get(key)
    const resourceVersion = String(++this.#version)
    const uid = old?.metadata.uid ?? `uid-${++this.#uid}`
    const managedFields = [{ manager: 'somebody', operation: 'Update' }]
    const metadata = { ...object.metadata, uid, resourceVersion, managedFields }
    const stored = { ...object, apiVersion: row.apiVersions[0] ?? '', kind: row.kind, metadata } as MeshObject
    table.set(key, stored)
    this.#record(plural, old === undefined ? 'ADDED' : 'MODIFIED', stored, old)
    return stored
  }

  remove(plural: string, key: string): void {
    const table = this.#table(plural)
    const old = table.get(key)
    if (old === undefined) return
    table.delete(key)
    this.#record(plural, 'DELETED', { ...old, metadata: { ...old.metadata, resourceVersion: String(++this.#version) } }, old)
  }

  dropWatches(): void {
    for (const { response } of this.#watches) response.destroy()
    this.#watches.clear()
  }

  /** Ends watches as the server does by itself. */
  endWatches(): void {
    for (const { response } of this.#watches) response.end()
    this.#watches.clear()
  }

  /** Forgets the history and the pages of lists under way: who resumes from before gets 410. @param version default: everything until now */
  compact(version = this.#version): void {
    this.#forgotten = Math.max(this.#forgotten, version)
    this.#history = this.#history.filter((entry) => entry.version > this.#forgotten)
    this.#snapshots.clear()
  }

  /** Tells watches that their version is too old, inside the stream. */
  expireWatches(): void {
    this.compact()
    for (const { response } of this.#watches)
      response.end(`${JSON.stringify({ type: 'ERROR', object: statusOf(410, 'Expired', 'too old') })}\n`)
    this.#watches.clear()
  }

  bookmark(): void {
    for (const { response, plural } of this.#watches) {
      const object = { kind: rowOf(plural).kind, metadata: { resourceVersion: String(this.#version) } }
      response.write(`${JSON.stringify({ type: 'BOOKMARK', object })}\n`)
    }
  }

  trouble(trouble: Trouble): void {
    this.#troubles.push({ trouble, left: trouble.times ?? 1 })
  }

  /** The next lists show an earlier moment, with its version. */
  answerOldLists(count: number): void {
    this.#staleLists = count
  }

  heal(): void {
    this.#troubles = []
    this.#staleLists = 0
    this.isRepeating = false
  }

  get watchCount(): number {
    return this.#watches.size
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<unknown> {
    const line = `${request.method} ${request.url}`
    this.requests.push(line)
    const chunks: Buffer[] = []
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
    if (chunks.length > 0)
      this.bodies.push({ type: request.headers['content-type'] ?? '', body: JSON.parse(Buffer.concat(chunks).toString('utf8')) })
    const found = this.#troubles.find(({ trouble }) => line.includes(trouble.match))
    if (found !== undefined) {
      if (--found.left <= 0) this.#troubles = this.#troubles.filter((one) => one !== found)
      return send(response, found.trouble.status, found.trouble.body ?? statusOf(found.trouble.status, '', 'told to fail'))
    }
    if (this.accepts !== undefined && request.headers.authorization !== this.accepts)
      return send(response, 401, statusOf(401, 'Unauthorized', 'Unauthorized'))
    return this.#answer(new URL(request.url ?? '/', 'http://fake'), response)
  }

  #answer(url: URL, response: ServerResponse): ServerResponse {
    const found = /^\/(?:api|apis\/([^/]+))\/([^/]+)(?:\/namespaces\/[^/]+(?=\/))?(?:\/([^/]+))?(?:\/([^/]+))?$/.exec(url.pathname)
    const groupVersion = found?.[1] === undefined ? (found?.[2] ?? '') : `${found[1]}/${found[2]}`
    const served = [...KINDS, ...CLUSTER_KINDS].filter((row) => row.apiVersions.includes(groupVersion) && !this.absent.has(row.plural))
    const [, , , plural, name] = found ?? []
    const row = served.find((one) => one.plural === plural)
    if (plural === undefined && served.length > 0) return send(response, 200, discoveryOf(groupVersion, served))
    if (row === undefined) return send(response, 404, statusOf(404, 'NotFound', 'the server could not find the requested resource'))
    if (name !== undefined) {
      const object = this.#table(row.plural).get(
        url.pathname.includes('/namespaces/') ? `${url.pathname.split('/namespaces/')[1]?.split('/')[0]}/${name}` : name,
      )
      return object === undefined ? send(response, 404, statusOf(404, 'NotFound', `${name} not found`)) : send(response, 200, object)
    }
    return url.searchParams.get('watch') === '1'
      ? this.#watch(row, url.searchParams, response)
      : this.#list(row, url.searchParams, response)
  }

  #list(row: KindRow, query: URLSearchParams, response: ServerResponse): ServerResponse {
    const token = query.get('continue')
    const [version, start] = token === null ? [this.#snapshot(row.plural), 0] : token.split(':').map(Number)
    const snapshot = this.#snapshots.get(version ?? 0)
    if (snapshot === undefined) return send(response, 410, statusOf(410, 'Expired', 'the provided continue parameter is too old'))
    const selector = query.get('labelSelector') ?? undefined
    const matching = snapshot.items.filter((object) => matches(object, selector))
    const limit = Number(query.get('limit') ?? matching.length)
    const end = (start ?? 0) + limit
    const metadata = { resourceVersion: String(snapshot.version), ...(end < matching.length ? { continue: `${version}:${end}` } : {}) }
    const items = matching.slice(start, end).map(({ apiVersion: _, kind: __, ...item }) => item)
    return send(response, 200, { kind: `${row.kind}List`, apiVersion: row.apiVersions[0], metadata, items })
  }

  #snapshot(plural: string): number {
    const key = this.#snapshots.size + 1_000_000 * this.requests.length
    const old = this.#staleLists > 0 ? this.#before(plural) : undefined
    if (old !== undefined) this.#staleLists--
    this.#snapshots.set(key, old ?? { version: this.#version, items: [...this.#table(plural).values()] })
    return key
  }

  /** The kind as it was before its last three changes. */
  #before(plural: string): Snapshot | undefined {
    const last = this.#history.filter((entry) => entry.plural === plural).slice(-3)
    const first = last[0]
    if (first === undefined) return undefined
    const table = new Map(this.#table(plural))
    for (const { object, before } of last.toReversed()) {
      if (before === undefined) table.delete(keyOf(object.metadata))
      else table.set(keyOf(object.metadata), before)
    }
    return { version: first.version - 1, items: [...table.values()] }
  }

  #watch(row: KindRow, query: URLSearchParams, response: ServerResponse): ServerResponse {
    this.watchesOpened++
    const since = Number(query.get('resourceVersion'))
    if (since < this.#forgotten) return send(response, 410, statusOf(410, 'Expired', `too old resource version: ${since}`))
    response.writeHead(200, { 'content-type': 'application/json' })
    response.flushHeaders()
    const selector = query.get('labelSelector') ?? undefined
    const from = this.isRepeating ? since - 3 : since
    for (const entry of this.#history)
      if (entry.plural === row.plural && entry.version > from && matches(entry.object, selector)) this.#send(response, entry)
    const watch = { plural: row.plural, selector, response }
    this.#watches.add(watch)
    return response.on('close', () => this.#watches.delete(watch))
  }

  #record(plural: string, type: EventType, object: MeshObject, before: MeshObject | undefined): void {
    const entry = { version: this.#version, plural, type, object, before }
    if (this.isLosing) return
    this.#history.push(entry)
    for (const watch of this.#watches) {
      if (watch.plural !== plural || !matches(object, watch.selector)) continue
      this.#send(watch.response, entry)
      if (this.isRepeating) this.#send(watch.response, entry)
    }
  }

  #send(response: ServerResponse, { type, object }: Entry): void {
    response.write(`${JSON.stringify({ type, object })}\n`)
  }

  #table(plural: string): Map<string, MeshObject> {
    const table = this.#objects.get(plural)
    if (table === undefined) throw new Error(`the fake knows no ${plural}`)
    return table
  }
}

/** A `Status` as the API server sends it. */
export function statusOf(code: number, reason: string, message: string): object {
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason, code }
}

function rowOf(plural: string): KindRow {
  const row = [...KINDS, ...CLUSTER_KINDS].find((one) => one.plural === plural)
  if (row === undefined) throw new Error(`no kind ${plural}`)
  return row
}

function keyOf({ namespace, name }: { readonly namespace?: string; readonly name: string }): string {
  return namespace === undefined ? name : `${namespace}/${name}`
}

function matches({ metadata }: MeshObject, selector: string | undefined): boolean {
  const [key = '', value] = (selector ?? '').split('=')
  return selector === undefined || metadata.labels?.[key] === value
}

function discoveryOf(groupVersion: string, rows: readonly KindRow[]): object {
  const resources = rows.flatMap(({ plural, kind, isNamespaced }) => [
    { name: plural, kind, namespaced: isNamespaced, verbs: ['list', 'watch'] },
    { name: `${plural}/status`, kind, namespaced: isNamespaced, verbs: ['patch'] },
  ])
  return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion, resources }
}

function send(response: ServerResponse, status: number, body: unknown): ServerResponse {
  const payload = typeof body === 'string' ? body : JSON.stringify(body)
  return response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) }).end(payload)
}
