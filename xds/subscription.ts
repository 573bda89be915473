// What one client wants of one kind and what it has been sent: pure state, no I/O. At most one response is under way per kind;
// what changes meanwhile is gathered and sent together after the answer, so that a slow client costs a set of names at most.
import type { ChangeBatch, PushSource } from './push-source.ts'

/** How the first request of a kind on a stream wants to be served. */
export interface Wish {
  readonly subscribe: readonly string[]
  readonly unsubscribe: readonly string[]
  /** What the client holds, name -> version. */
  readonly versions: Readonly<Record<string, string>>
}

/** What is to be sent next; `shared` = the same for every client in this position, so its bytes may be kept. */
export interface PendingPush {
  readonly names: ReadonlySet<string>
  /** Of the names, those that are sent as removed even when they exist: the client does not ask for them, or no longer. */
  readonly forgotten: ReadonlySet<string>
  readonly shared: 'snapshot' | ChangeBatch | undefined
}

/**
 * Whether the first request of a kind asks for every resource. An empty subscription is a wildcard; `*` taken back at once is an
 * on-demand client (as ztunnel does it).
 */
export function asksForAll(subscribe: readonly string[], unsubscribe: readonly string[]): boolean {
  return (subscribe.length === 0 || subscribe.includes('*')) && !unsubscribe.includes('*')
}

/** A client's interest in one kind. */
export class Subscription {
  readonly typeUrl: string
  readonly #source: PushSource
  #isWildcard: boolean
  readonly #demanded = new Set<string>() // keys as the client names them
  readonly #tracked = new Set<string>() // on demand: resources that the client was sent or will be
  #dirty: Set<string> | undefined // names to be sent; undefined = none
  #batch: ChangeBatch | 'snapshot' | undefined // set while #dirty is exactly that batch (and then #dirty is undefined)
  #isTrackingStale = false // a key was given up: #tracked is rebuilt before it is used again
  #mustAnswer = true // the first request is answered even when there is nothing to send
  /** Revision up to which the client has accepted everything. */
  acked = 0
  /** The response under way. */
  inFlight: { readonly nonce: string; readonly revision: number } | undefined
  /** What the client said when it last refused, cleared by its next acceptance. */
  refusal: string | undefined

  constructor(source: PushSource, typeUrl: string, first: Wish) {
    this.typeUrl = typeUrl
    this.#source = source
    this.#isWildcard = asksForAll(first.subscribe, first.unsubscribe)
    if (this.#isWildcard) this.#startWildcard(first)
    else this.#startOnDemand(first)
  }

  get isWildcard(): boolean {
    return this.#isWildcard
  }

  /** Number of keys asked for by name. */
  get demandedCount(): number {
    return this.#demanded.size
  }

  get hasPending(): boolean {
    return this.#mustAnswer || this.#isTrackingStale || this.#batch !== undefined || this.#dirty !== undefined
  }

  /** Adds and removes demanded keys on a running stream. */
  change(subscribe: readonly string[], unsubscribe: readonly string[]): void {
    for (const key of subscribe) if (key !== '*') this.#demand(key)
    for (const key of unsubscribe) if (this.#demanded.delete(key)) this.#isTrackingStale = true
  }

  /** Notes a change of the source. */
  offer(batch: ChangeBatch): void {
    if (!this.#isWildcard) {
      for (const name of this.#wanted(batch)) this.#markDirty(name)
      return
    }
    // A snapshot that was not taken yet is read when it is taken: it holds this change already.
    if (this.#batch === 'snapshot') return
    if (!this.hasPending) this.#batch = batch
    else for (const name of batch.names) this.#markDirty(name)
  }

  /** Takes what is to be sent now; undefined when there is nothing or a response is under way. */
  take(): PendingPush | undefined {
    if (this.inFlight !== undefined || !this.hasPending) return undefined
    if (this.#isTrackingStale) this.#rebuildTracking()
    if (!this.hasPending) return undefined
    const batch = this.#batch
    const names = this.#pendingNames()
    // Decided now, not when the change came: a name that was gone may be back in a group that is none of this client's.
    const forgotten = new Set(this.#isWildcard ? [] : [...names].filter((name) => !this.#tracked.has(name)))
    this.#dirty = undefined
    this.#batch = undefined
    this.#mustAnswer = false
    return { names, forgotten, shared: batch }
  }

  /** Whether the client has accepted everything up to `revision` that concerns this kind. */
  hasAcked(revision: number): boolean {
    if (this.refusal !== undefined) return false
    if (this.inFlight === undefined && !this.hasPending) return true
    return this.acked >= revision
  }

  #startWildcard({ versions }: Wish): void {
    const snapshot = this.#source.snapshot(this.typeUrl)
    const held = Object.entries(versions)
    if (held.length === 0) {
      this.#batch = 'snapshot'
      return
    }
    const known = new Map(held)
    for (const [name, resource] of snapshot) if (known.get(name) !== resource.version) this.#markDirty(name)
    for (const name of known.keys()) if (!snapshot.has(name)) this.#markDirty(name)
  }

  #startOnDemand({ subscribe, versions }: Wish): void {
    const snapshot = this.#source.snapshot(this.typeUrl)
    for (const key of subscribe) if (key !== '*') this.#demand(key)
    for (const [name, version] of Object.entries(versions)) {
      if (!this.#tracked.has(name))
        this.#markDirty(name) // the client holds it and would hear of it no more
      else if (snapshot.get(name)?.version === version) this.#dirty?.delete(name)
    }
  }

  #demand(key: string): void {
    this.#demanded.add(key)
    const names = this.#source.resolve(this.typeUrl, key)
    if (names.size === 0) this.#markDirty(key) // answered as removed: "there is none"
    for (const name of names) {
      this.#tracked.add(name)
      this.#markDirty(name)
    }
  }

  #rebuildTracking(): void {
    this.#isTrackingStale = false
    const before = [...this.#tracked]
    this.#tracked.clear()
    for (const key of this.#demanded) for (const name of this.#source.resolve(this.typeUrl, key)) this.#tracked.add(name)
    for (const name of before) if (!this.#tracked.has(name)) this.#markDirty(name)
  }

  /** Names of a change that an on-demand client is to hear of. */
  #wanted(batch: ChangeBatch): Set<string> {
    if (this.#isTrackingStale) this.#rebuildTracking()
    const wanted = new Set<string>()
    for (const name of batch.names) if (this.#tracked.has(name) || this.#demanded.has(name)) wanted.add(name)
    const isConcerned = [...batch.keys].some((key) => this.#demanded.has(key) || this.#tracked.has(key))
    if (isConcerned || wanted.size > 0) {
      const reached = this.#reach(batch, wanted)
      // It is gone, or has left the group that had brought it here.
      for (const name of wanted) if (!reached.has(name)) this.#tracked.delete(name)
    }
    return wanted
  }

  /** Follows every demanded key anew; what it finds is tracked, and wanted where it changed or is new to the client. */
  #reach(batch: ChangeBatch, wanted: Set<string>): ReadonlySet<string> {
    const reached = new Set<string>()
    for (const key of this.#demanded) {
      for (const name of this.#source.resolve(this.typeUrl, key)) {
        if (batch.names.has(name) || !this.#tracked.has(name)) wanted.add(name)
        reached.add(name)
        this.#tracked.add(name)
      }
    }
    return reached
  }

  #markDirty(name: string): void {
    if (this.#batch !== undefined) {
      this.#dirty = new Set(this.#pendingNames())
      this.#batch = undefined
    }
    this.#dirty ??= new Set()
    this.#dirty.add(name)
  }

  #pendingNames(): ReadonlySet<string> {
    if (this.#batch === 'snapshot') return new Set(this.#source.snapshot(this.typeUrl).keys())
    return this.#batch?.names ?? this.#dirty ?? new Set()
  }
}
