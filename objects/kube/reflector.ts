// Keeps one kind current: list, watch from there, resume after a loss, list again when the history is gone. Follows client-go's
// reflector; beyond it, a list that leads back in time or is suddenly empty is asked for again before it is believed, and a
// kind that is not installed (its CRD is missing) is looked for until it is there.
import { Backoff, type BackoffOptions } from '../../kit/backoff.ts'
import { type Clock, pause } from '../../kit/clock.ts'
import { codeOf } from '../../kit/error.ts'
import type { MeshObject, ObjectEvent } from '../../model/object.ts'
import { objectFailure } from '../errors.ts'
import type { KindRow } from '../kinds.ts'
import type { Discovery } from './discovery.ts'
import type { KubeHttp } from './http.ts'
import { jsonLines } from './lines.ts'
import { ObjectTable } from './object-table.ts'
import { listAll, type WholeList } from './pages.ts'
import { failureOfStatus } from './refusal.ts'
import { pathOf, type Resource, rightNameOf } from './resource.ts'
import { isQuiet } from './trim.ts'

/** `keep` trims an object (undefined = it is none). Callbacks must not throw. */
export interface ReflectorOptions {
  readonly row: KindRow
  readonly http: KubeHttp
  readonly discovery: Discovery
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly fieldSelector?: string | undefined
  readonly labelSelector?: string | undefined
  keep(item: unknown): MeshObject | undefined
  onEvent(event: ObjectEvent): void
  /** The first list is there, or it is known that the kind is not served. Called once. */
  onSettled(): void
  /** Whether the copy follows the cluster, or there is nothing to follow; called at changes, and with each failure. */
  onState(isFollowing: boolean, failure?: unknown): void
  /** The kind was taken up (true) or dropped (false). */
  onServed(isServed: boolean): void
}

const BACKOFF: BackoffOptions = { minMs: 100, maxMs: 10_000, jitter: 0.5 }
/** The API server sends a bookmark about every minute, so a longer silence is a dead connection. */
const WATCH_IDLE_MS = 100_000
/** The API server ends a watch by itself after about this time; spread, so that not all come back at once. */
const WATCH_MS: BackoffOptions = { minMs: 360_000, maxMs: 360_000, jitter: 0.3 }
/** How often a missing kind is looked for. */
const ABSENT: BackoffOptions = { minMs: 5_000, maxMs: 5_000 }
/** Looks in a row that must not find a kind before its objects are given up. */
const ABSENT_LOOKS = 3
/** A cluster that was restored from a backup has an older history: believed after this time. */
const BEHIND_MS = 60_000

/** The copy of one kind. */
export class Reflector {
  readonly table: ObjectTable
  readonly #options: ReflectorOptions
  #isSettled = false
  #isFollowing = false
  #isServed: boolean | undefined
  #behindSinceMs: number | undefined
  #hasSeenEmpty = false
  #isListDue = true

  constructor(options: ReflectorOptions) {
    this.#options = options
    this.table = new ObjectTable({ onEvent: (event) => options.onEvent(event), isQuiet: isQuiet(options.row) })
  }

  get isSettled(): boolean {
    return this.#isSettled
  }

  /** The copy follows the cluster, or it is known that there is nothing to follow. */
  get isFollowing(): boolean {
    return this.#isFollowing
  }

  /** Runs until the signal aborts; never rejects. */
  async run(): Promise<void> {
    const { signal, clock } = this.#options
    const backoff = new Backoff(BACKOFF)
    while (!signal.aborted) {
      try {
        await this.#follow(() => backoff.reset())
      } catch (error) {
        if (signal.aborted) return
        if (codeOf(error) === 'VERSION_TOO_OLD') this.#isListDue = true
        else this.#setFollowing(false, error)
      }
      await pause(clock, backoff.nextMs(), signal)
    }
  }

  /** List if needed, then watch until the connection ends. */
  async #follow(onProgress: () => void): Promise<void> {
    const resource = await this.#resource()
    if (resource === undefined) return
    if (this.#isListDue) await this.#list(resource)
    await this.#watch(resource, onProgress)
  }

  /** Waits while the kind is not served. @returns undefined when the signal aborted meanwhile */
  async #resource(): Promise<Resource | undefined> {
    const { discovery, row, clock, signal, onServed } = this.#options
    const look = new Backoff(ABSENT)
    for (let looks = 1; !signal.aborted; looks++) {
      const found = await discovery.find(row.plural)
      if (found !== undefined) {
        if (this.#isServed !== true) onServed(true)
        this.#isServed = true
        return found
      }
      this.#isListDue = true
      if (this.table.size === 0 || looks >= ABSENT_LOOKS) this.#drop()
      await pause(clock, look.nextMs(), signal)
    }
    return undefined
  }

  #drop(): void {
    if (this.#isServed !== false) this.#options.onServed(false)
    this.#isServed = false
    this.#setFollowing(true)
    this.table.clear()
    this.#settle()
  }

  async #list(resource: Resource): Promise<void> {
    const { http, fieldSelector, labelSelector, signal, keep } = this.#options
    const list = await listAll(http, { resource, fieldSelector, labelSelector, signal, keep }).catch((error: unknown) => {
      throw codeOf(error) === 'NOT_FOUND' ? notServed(resource) : error
    })
    this.#doubt(list)
    this.table.replace(list.items, list.resourceVersion)
    this.#isListDue = false
    this.#settle()
  }

  /** @throws NOT_READY for a list that must be asked for again */
  #doubt({ items, resourceVersion }: WholeList): void {
    const { clock } = this.#options
    if (this.table.isBehind(resourceVersion)) {
      const now = clock.monotonicMs()
      this.#behindSinceMs ??= now
      if (now - this.#behindSinceMs < BEHIND_MS)
        throw objectFailure('NOT_READY', { what: `the list is older than what is held (${resourceVersion} < ${this.table.version})` })
    }
    this.#behindSinceMs = undefined
    if (items.length > 0 || this.table.size === 0) this.#hasSeenEmpty = false
    else if (!this.#hasSeenEmpty) {
      this.#hasSeenEmpty = true
      throw objectFailure('NOT_READY', { what: `the list is empty, ${this.table.size} objects are held: asked again` })
    }
  }

  async #watch(resource: Resource, onProgress: () => void): Promise<void> {
    const { http, row, fieldSelector, labelSelector, signal } = this.#options
    const asked = { verb: 'watch', resource: rightNameOf(resource) }
    const query = {
      watch: '1',
      allowWatchBookmarks: 'true',
      resourceVersion: this.table.version,
      timeoutSeconds: String(Math.round(new Backoff(WATCH_MS).nextMs() / 1000)),
      fieldSelector,
      labelSelector,
    }
    const request = { ...asked, method: 'GET', path: pathOf(resource, { query }), idleMs: WATCH_IDLE_MS, signal } as const
    const body = await http.open(request).catch((error: unknown) => {
      if (codeOf(error) !== 'NOT_FOUND') throw error
      this.#isListDue = true
      throw notServed(resource)
    })
    this.#setFollowing(true)
    for await (const line of jsonLines(body)) {
      this.#take(line, asked, row)
      onProgress()
    }
  }

  #take(line: unknown, asked: { verb: string; resource: string }, row: KindRow): void {
    const { type, object } = (line ?? {}) as { type?: unknown; object?: unknown }
    switch (type) {
      case 'ADDED':
      case 'MODIFIED':
      case 'DELETED': {
        const kept = this.#options.keep(object)
        if (kept !== undefined) this.table.apply(type, kept)
        return
      }
      case 'BOOKMARK': {
        const version = (object as { metadata?: { resourceVersion?: unknown } } | undefined)?.metadata?.resourceVersion
        if (typeof version === 'string' && version !== '') this.table.bookmark(version)
        return
      }
      case 'ERROR':
        throw failureOfStatus(asked, 0, object)
      default:
        throw objectFailure('API_FAILED', { reason: `a watch of ${row.plural} sent an event of no known type` })
    }
  }

  #settle(): void {
    if (this.#isSettled) return
    this.#isSettled = true
    this.#options.onSettled()
  }

  #setFollowing(isFollowing: boolean, failure?: unknown): void {
    const isChanged = this.#isFollowing !== isFollowing
    this.#isFollowing = isFollowing
    if (isChanged || failure !== undefined) this.#options.onState(isFollowing, failure)
  }
}

/** The CRD has gone or serves another version, or the API server has not read it yet: looked at again. */
function notServed(resource: Resource): Error {
  return objectFailure('NOT_READY', { what: `${rightNameOf(resource)} ${resource.groupVersion} is not served at the moment` })
}
