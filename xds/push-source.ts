// What a delta server serves: resources by kind and name, each serialised once, with a revision per change.
// The control plane fills it; the server reads it. Also finds resources by alias and group, for clients that ask on demand.
import { heldOf, type HeldResource, keysOf } from './held-resource.ts'

/** One resource to be served. */
export interface ServedResource {
  /** Content hash: equal content has an equal version in every process. */
  readonly version: string
  readonly bytes: Buffer
  /** Other names by which it can be asked for, `network/ip`. */
  readonly aliases: readonly string[]
  /** Names of resources that bring this one along: a service brings its endpoints. */
  readonly groups: readonly string[]
}

/** A resource before and after a change; undefined = it was or is not there. */
export interface ResourceChange {
  readonly before: HeldResource | undefined
  readonly after: HeldResource | undefined
}

/** One change of a kind: resources that are new, different or gone. */
export interface ChangeBatch {
  readonly typeUrl: string
  readonly changes: ReadonlyMap<string, ResourceChange>
  /** Grows by one with each call of `update` that changes something, over all kinds. */
  readonly revision: number
}

/** Read side. */
export interface PushSource {
  /** In the order in which kinds must reach a client: policies before the workloads that they guard. */
  readonly typeUrls: readonly string[]
  readonly revision: number
  snapshot(typeUrl: string): ReadonlyMap<string, HeldResource>
  /** Names of the resources that have a key among their aliases and groups. */
  membersOf(typeUrl: string, key: string): Iterable<string>
  onChange(listener: (batches: readonly ChangeBatch[]) => void): Disposable
}

/** The source in memory. */
export class PushStore implements PushSource {
  readonly typeUrls: readonly string[]
  readonly #resources: ReadonlyMap<string, Map<string, HeldResource>>
  /** Kind -> alias or group -> names; most keys have one, and a set for each would be most of the index. */
  readonly #index: ReadonlyMap<string, Map<string, string | Set<string>>>
  readonly #listeners = new Set<(batches: readonly ChangeBatch[]) => void>()
  #revision = 0

  constructor(typeUrls: readonly string[]) {
    this.typeUrls = typeUrls
    this.#resources = new Map(typeUrls.map((typeUrl) => [typeUrl, new Map()]))
    this.#index = new Map(typeUrls.map((typeUrl) => [typeUrl, new Map()]))
  }

  get revision(): number {
    return this.#revision
  }

  snapshot(typeUrl: string): ReadonlyMap<string, HeldResource> {
    return this.#resources.get(typeUrl) ?? new Map()
  }

  membersOf(typeUrl: string, key: string): Iterable<string> {
    const found = this.#index.get(typeUrl)?.get(key)
    if (found === undefined) return []
    return typeof found === 'string' ? [found] : found
  }

  onChange(listener: (batches: readonly ChangeBatch[]) => void): Disposable {
    this.#listeners.add(listener)
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) }
  }

  /**
   * Applies changes of several kinds as one revision.
   * @param changes kind -> name -> new resource, or undefined = gone; resources of an unchanged version and with the same keys are skipped
   * @returns the revision in force (unchanged when nothing changed)
   */
  update(changes: ReadonlyMap<string, ReadonlyMap<string, ServedResource | undefined>>): number {
    const batches: ChangeBatch[] = []
    const revision = this.#revision + 1
    for (const typeUrl of this.typeUrls) {
      const changed = new Map<string, ResourceChange>()
      for (const [name, next] of changes.get(typeUrl) ?? []) {
        const change = this.#put(typeUrl, name, next)
        if (change !== undefined) changed.set(name, change)
      }
      if (changed.size > 0) batches.push({ typeUrl, changes: changed, revision })
    }
    if (batches.length === 0) return this.#revision
    this.#revision = revision
    for (const tell of this.#listeners) tell(batches)
    return revision
  }

  #put(typeUrl: string, name: string, next: ServedResource | undefined): ResourceChange | undefined {
    const resources = this.#resources.get(typeUrl)
    const before = resources?.get(name)
    if (resources === undefined || isSame(before, next)) return undefined
    const after = next && heldOf(typeUrl, name, next)
    for (const key of keysOf(before)) this.#unindex(typeUrl, key, name)
    for (const key of keysOf(after)) this.#addToIndex(typeUrl, key, name)
    if (after === undefined) resources.delete(name)
    else resources.set(name, after)
    return { before, after }
  }

  #addToIndex(typeUrl: string, key: string, name: string): void {
    const index = this.#index.get(typeUrl)
    const found = index?.get(key)
    if (found === undefined || found === name) index?.set(key, name)
    else if (typeof found === 'string') index?.set(key, new Set([found, name]))
    else found.add(name)
  }

  #unindex(typeUrl: string, key: string, name: string): void {
    const index = this.#index.get(typeUrl)
    const found = index?.get(key)
    if (found === name) index?.delete(key)
    else if (found instanceof Set && found.delete(name) && found.size === 0) index?.delete(key)
  }
}

/** The keys count too: in another group, the same bytes concern other clients. */
function isSame(before: ServedResource | undefined, next: ServedResource | undefined): boolean {
  if (before === undefined || next === undefined) return before === next
  return before.version === next.version && keysOf(before).join('\n') === keysOf(next).join('\n')
}
