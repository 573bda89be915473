// What a delta client holds of one kind: names with their versions, and what it demanded. Survives reconnects, so that the
// control plane sends only what changed and names what is gone.
import type { DeltaDiscoveryResponse } from '../proto/discovery_pb.ts'
import type { XdsPush } from './delta-client.ts'

/** `wildcard` = everything of the kind; `on-demand` = what was asked for by name. */
export interface KindOptions {
  readonly typeUrl: string
  readonly mode: 'wildcard' | 'on-demand'
}

const NAME_LIMIT_CHARS = 2048
/** Demands for which nothing is held: any pod can make some by dialling addresses at random. The oldest are given up. */
export const MOST_UNRESOLVED = 10_000

const NO_ALIASES: readonly string[] = []

/** A resource that is held. `version` `''` = it is not known to have been applied: it is to be sent again. */
interface Held {
  readonly version: string
  /** Demands by one of these stand for it. */
  readonly aliases: readonly string[]
}

/** State of one kind across streams. */
export class KindState {
  readonly isOnDemand: boolean
  readonly #typeUrl: string
  readonly #held = new Map<string, Held>()
  readonly #demanded = new Set<string>()
  /** Oldest first: not answered yet, answered with "there is none", or gone since. Part of #demanded. */
  readonly #unresolved = new Set<string>()
  #hasSynced = false

  constructor(options: KindOptions) {
    this.#typeUrl = options.typeUrl
    this.isOnDemand = options.mode === 'on-demand'
  }

  /** Whether a push has ever been applied. */
  get hasSynced(): boolean {
    return this.#hasSynced
  }

  /** @returns whether the name is new */
  demand(name: string): boolean {
    if (!this.isOnDemand || this.#demanded.has(name)) return false
    this.#demanded.add(name)
    this.#unresolved.add(name)
    return true
  }

  /** Gives up the oldest demands without a resource, when there are too many. @returns their names, for the control plane */
  giveUp(): readonly string[] {
    const given: string[] = []
    for (const name of this.#unresolved) {
      if (this.#unresolved.size <= MOST_UNRESOLVED) break
      this.release(name)
      given.push(name)
    }
    return given
  }

  /** @returns whether the name had been demanded */
  release(name: string): boolean {
    this.#held.delete(name)
    this.#unresolved.delete(name)
    return this.#demanded.delete(name)
  }

  /** First request on a new stream. On-demand kinds take back the wildcard that an empty request would mean. */
  initial(): { subscribe: readonly string[]; unsubscribe: readonly string[]; versions: Readonly<Record<string, string>> } {
    const versions: Record<string, string> = Object.create(null)
    for (const [name, { version }] of this.#held) versions[name] = version
    if (!this.isOnDemand) return { subscribe: [], unsubscribe: [], versions }
    return { subscribe: ['*', ...this.#demanded], unsubscribe: ['*'], versions }
  }

  /** Splits a response into what can be applied and what is malformed as an envelope. */
  read(response: DeltaDiscoveryResponse): { push: XdsPush; versions: ReadonlyMap<string, Held>; faults: readonly string[] } {
    const upserts: { name: string; bytes: Uint8Array }[] = []
    const versions = new Map<string, Held>()
    const faults: string[] = []
    for (const { name, version, resource, aliases } of response.resources) {
      if (name === '' || name.length > NAME_LIMIT_CHARS) faults.push('a resource has no usable name')
      else if (resource === undefined) faults.push(`${name}: the resource is empty`)
      else if (resource.typeUrl !== this.#typeUrl) faults.push(`${name}: its type is not ${this.#typeUrl}`)
      else {
        upserts.push({ name, bytes: resource.value })
        versions.set(name, { version, aliases: this.isOnDemand ? aliases : NO_ALIASES })
      }
    }
    const removes = response.removedResources.filter((name) => !versions.has(name))
    return { push: { upserts, removes }, versions, faults }
  }

  /**
   * Notes what the caller holds now. After a partial refusal nobody knows which of the pushed versions are in force: they are
   * kept without a version, so that the next stream brings them again and still reports their removal.
   */
  record(versions: ReadonlyMap<string, Held>, removes: readonly string[], isClean: boolean): void {
    for (const name of removes) this.#lose(name)
    for (const [name, held] of versions) {
      this.#held.set(name, isClean ? held : { ...held, version: '' })
      for (const key of [name, ...held.aliases]) this.#unresolved.delete(key)
    }
    this.#hasSynced = true
  }

  /** The demands that stood for a resource stand for none now. */
  #lose(name: string): void {
    const aliases = this.#held.get(name)?.aliases ?? NO_ALIASES
    this.#held.delete(name)
    for (const key of [name, ...aliases]) if (this.#demanded.has(key)) this.#unresolved.add(key)
  }
}
