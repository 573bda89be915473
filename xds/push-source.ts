// What a delta server serves: resources by kind and name, each serialised once, with a revision per change.
// The control plane fills it; the server reads it. Also finds resources by alias, for clients that ask on demand.

/** One resource as it is served. `bytes` is shared by every client and never changed. */
export interface ServedResource {
  /** Content hash: equal content has an equal version in every process. */
  readonly version: string
  readonly bytes: Buffer
  /** Other names by which it can be asked for, `network/ip`. */
  readonly aliases: readonly string[]
  /** Names of resources that bring this one along: a service brings its endpoints. */
  readonly groups: readonly string[]
}

/** One change of a kind: names that are new, different or gone. */
export interface ChangeBatch {
  readonly typeUrl: string
  readonly names: ReadonlySet<string>
  /** Grows by one with each call of `replace`, over all kinds. */
  readonly revision: number
  /** Groups that the changed resources belong to, before or after; aliases likewise. */
  readonly keys: ReadonlySet<string>
}

/** Read side. */
export interface PushSource {
  /** In the order in which kinds must reach a client: policies before the workloads that they guard. */
  readonly typeUrls: readonly string[]
  readonly revision: number
  snapshot(typeUrl: string): ReadonlyMap<string, ServedResource>
  /** Names that a demanded key stands for: itself, by alias, and what its groups bring along. Empty = there is none. */
  resolve(typeUrl: string, key: string): ReadonlySet<string>
  onChange(listener: (batches: readonly ChangeBatch[]) => void): Disposable
}

/** The source in memory. */
export class PushStore implements PushSource {
  readonly typeUrls: readonly string[]
  readonly #resources: ReadonlyMap<string, Map<string, ServedResource>>
  readonly #index: ReadonlyMap<string, Map<string, Set<string>>> // kind -> alias or group -> names
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

  snapshot(typeUrl: string): ReadonlyMap<string, ServedResource> {
    return this.#resources.get(typeUrl) ?? new Map()
  }

  resolve(typeUrl: string, key: string): ReadonlySet<string> {
    const names = new Set<string>()
    const resources = this.snapshot(typeUrl)
    const index = this.#index.get(typeUrl)
    if (resources.has(key)) names.add(key)
    for (const name of index?.get(key) ?? []) names.add(name)
    // Once more for what an alias found: a VIP finds its service, the service brings its endpoints.
    for (const name of [...names]) for (const member of index?.get(name) ?? []) names.add(member)
    return names
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
      const names = new Set<string>()
      const keys = new Set<string>()
      for (const [name, next] of changes.get(typeUrl) ?? []) this.#put(typeUrl, name, next, names, keys)
      if (names.size > 0) batches.push({ typeUrl, names, keys, revision })
    }
    if (batches.length === 0) return this.#revision
    this.#revision = revision
    for (const tell of this.#listeners) tell(batches)
    return revision
  }

  #put(typeUrl: string, name: string, next: ServedResource | undefined, names: Set<string>, keys: Set<string>): void {
    const resources = this.#resources.get(typeUrl)
    const old = resources?.get(name)
    if (resources === undefined || isSame(old, next)) return
    names.add(name)
    for (const key of keysOf(old)) {
      keys.add(key)
      this.#unindex(typeUrl, key, name)
    }
    for (const key of keysOf(next)) {
      keys.add(key)
      const index = this.#index.get(typeUrl)
      const found = index?.get(key)
      if (found === undefined) index?.set(key, new Set([name]))
      else found.add(name)
    }
    if (next === undefined) resources.delete(name)
    else resources.set(name, next)
  }

  #unindex(typeUrl: string, key: string, name: string): void {
    const index = this.#index.get(typeUrl)
    const found = index?.get(key)
    found?.delete(name)
    if (found?.size === 0) index?.delete(key)
  }
}

/** The keys count too: in another group, the same bytes concern other clients. */
function isSame(old: ServedResource | undefined, next: ServedResource | undefined): boolean {
  if (old === next) return true
  return old?.version === next?.version && keysOf(old).join('\n') === keysOf(next).join('\n')
}

function keysOf(resource: ServedResource | undefined): readonly string[] {
  return resource === undefined ? [] : [...resource.aliases, ...resource.groups]
}
