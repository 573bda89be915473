// What one client wants of one kind and what it has been sent: pure state, no I/O. At most one response is under way per kind;
// what changes meanwhile is gathered and sent together after the answer, so that a slow client costs a set of names at most.
import { type Demand, type Follower, isReached, resolve } from './demand.ts'
import type { ChangeBatch, PushSource } from './push-source.ts'

/** How the first request of a kind on a stream wants to be served. */
export interface Wish {
  readonly subscribe: readonly string[]
  readonly unsubscribe: readonly string[]
  /** What the client holds, name -> version. */
  readonly versions: Readonly<Record<string, string>>
}

/** What is to be sent next. */
export interface PendingPush {
  readonly names: Iterable<string>
  /** Of the names, those that are sent as removed even when they exist: the client does not ask for them, or no longer. */
  readonly forgotten: ReadonlySet<string>
}

/**
 * Whether the first request of a kind asks for every resource. An empty subscription is a wildcard; `*` taken back at once is an
 * on-demand client (as ztunnel does it).
 */
export function asksForAll(subscribe: readonly string[], unsubscribe: readonly string[]): boolean {
  return (subscribe.length === 0 || subscribe.includes('*')) && !unsubscribe.includes('*')
}

/** A client's interest in one kind. Dispose of it when the client goes. */
export class Subscription implements Follower, Disposable {
  readonly typeUrl: string
  /** For the life of the stream: names asked for or given up later change nothing for who has everything. */
  readonly isWildcard: boolean
  readonly #source: PushSource
  readonly #demand: Demand
  readonly #demanded = new Set<string>() // keys as the client names them; known to #demand when on demand
  #dirty: Set<string> | undefined // names to be sent; undefined = none. On demand: wherever the client differs from what it asks for
  #batch: ChangeBatch | 'snapshot' | undefined // set while #dirty is exactly that batch (and then #dirty is undefined)
  #mustAnswer = true // the first request is answered even when there is nothing to send
  /** Revision up to which the client has accepted everything. */
  acked = 0
  /** The response under way. */
  inFlight: { readonly nonce: string; readonly revision: number } | undefined
  /** What the client said when it last refused, cleared by its next acceptance. */
  refusal: string | undefined

  constructor(source: PushSource, demand: Demand, typeUrl: string, first: Wish) {
    this.typeUrl = typeUrl
    this.#source = source
    this.#demand = demand
    this.isWildcard = asksForAll(first.subscribe, first.unsubscribe)
    if (this.isWildcard) this.#startWildcard(first)
    else this.#startOnDemand(first)
  }

  /** Number of keys asked for by name. */
  get demandedCount(): number {
    return this.#demanded.size
  }

  get hasPending(): boolean {
    return this.#mustAnswer || this.#batch !== undefined || this.#dirty !== undefined
  }

  /** At most how many names are to be sent. */
  get pendingCount(): number {
    if (this.#batch === 'snapshot') return this.#source.snapshot(this.typeUrl).size
    return this.#batch?.changes.size ?? this.#dirty?.size ?? 0
  }

  hasDemanded(key: string): boolean {
    return this.#demanded.has(key)
  }

  touch(name: string): void {
    if (this.#batch !== undefined) {
      this.#dirty = new Set(this.#pendingNames())
      this.#batch = undefined
    }
    this.#dirty ??= new Set()
    this.#dirty.add(name)
  }

  /** Adds and removes demanded keys on a running stream. */
  change(subscribe: readonly string[], unsubscribe: readonly string[]): void {
    if (this.isWildcard) return
    for (const key of subscribe) if (key !== '*') this.#ask(key)
    const given = unsubscribe.filter((key) => this.#demanded.delete(key))
    for (const key of given) {
      this.#demand.delete(this, key)
      for (const name of resolve(this.#source, this.typeUrl, key)) if (!isReached(this.#source, this, name)) this.touch(name)
    }
  }

  /** Notes a change of the source, when the client follows everything; `Demand` tells the others. */
  offer(batch: ChangeBatch): void {
    // A snapshot that was not taken yet is read when it is taken: it holds this change already.
    if (!this.isWildcard || this.#batch === 'snapshot') return
    if (!this.hasPending) this.#batch = batch
    else for (const name of batch.changes.keys()) this.touch(name)
  }

  /** Takes what is to be sent now; undefined when there is nothing or a response is under way. */
  take(): PendingPush | undefined {
    if (this.inFlight !== undefined || !this.hasPending) return undefined
    const names = this.#pendingNames()
    // Decided now, not when the change came: a name that was gone may be back in a group that is none of this client's.
    const forgotten = new Set<string>()
    if (!this.isWildcard) for (const name of names) if (!isReached(this.#source, this, name)) forgotten.add(name)
    this.#dirty = undefined
    this.#batch = undefined
    this.#mustAnswer = false
    return { names, forgotten }
  }

  /** Whether the client has accepted everything up to `revision` that concerns this kind. */
  hasAcked(revision: number): boolean {
    if (this.refusal !== undefined) return false
    if (this.inFlight === undefined && !this.hasPending) return true
    return this.acked >= revision
  }

  [Symbol.dispose](): void {
    for (const key of this.#demanded) this.#demand.delete(this, key)
  }

  #startWildcard({ versions }: Wish): void {
    const snapshot = this.#source.snapshot(this.typeUrl)
    const held = Object.entries(versions)
    if (held.length === 0) {
      this.#batch = 'snapshot'
      return
    }
    const known = new Map(held)
    for (const [name, resource] of snapshot) if (known.get(name) !== resource.version) this.touch(name)
    for (const name of known.keys()) if (!snapshot.has(name)) this.touch(name)
  }

  #startOnDemand({ subscribe, versions }: Wish): void {
    const snapshot = this.#source.snapshot(this.typeUrl)
    const keys = subscribe.filter((key) => key !== '*')
    // Istio's ztunnel names after a reconnect what it holds, and nothing else: it follows that (istio/ztunnel:src/xds/client.rs).
    for (const key of keys.length > 0 ? keys : Object.keys(versions)) this.#ask(key)
    for (const [name, version] of Object.entries(versions)) {
      // Not asked for any more, or gone: the client would hear of it no more.
      if (!isReached(this.#source, this, name)) this.touch(name)
      else if (snapshot.get(name)?.version === version) this.#dirty?.delete(name)
    }
    if (this.#dirty?.size === 0) this.#dirty = undefined
  }

  #ask(key: string): void {
    this.#demanded.add(key)
    this.#demand.add(this, key)
    const names = resolve(this.#source, this.typeUrl, key)
    if (names.size === 0) this.touch(key) // answered as removed: "there is none"
    for (const name of names) this.touch(name)
  }

  #pendingNames(): Iterable<string> {
    if (this.#batch === 'snapshot') return this.#source.snapshot(this.typeUrl).keys()
    return this.#batch?.changes.keys() ?? this.#dirty ?? []
  }
}
