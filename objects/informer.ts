// Keeps a copy of some kinds current: list, then watch from there, reconnect with back-off, list again when the history is gone.
// The copy is never emptied in between: a lost API server means old data, not no data. Follows client-go's reflector.
import { Backoff } from '../kit/backoff.ts'
import { pause } from '../kit/clock.ts'
import { codeOf, messageOf } from '../kit/error.ts'
import type { MeshObject } from '../model/object.ts'
import { objectKey } from '../model/object.ts'
import type { InformOptions, Informer } from './api.ts'
import type { ObjectClient } from './client.ts'
import { kindOf } from './kinds.ts'

/** `client`: the part of it that is used. */
export interface InformerOptions extends InformOptions {
  readonly client: Pick<ObjectClient, 'list' | 'watch'>
}

/** Starts at once and runs until `signal` aborts. */
export function informer(options: InformerOptions): Informer {
  const copy = new ObjectCopy(options)
  void copy.run()
  return copy
}

class ObjectCopy implements Informer {
  readonly synced: Promise<void>
  readonly #options: InformerOptions
  readonly #kinds = new Map<string, Map<string, MeshObject>>()
  readonly #resolve: () => void
  #isSynced = false
  #isConnected = false
  #version: string | undefined // of the last list, event or bookmark; undefined = list first

  constructor(options: InformerOptions) {
    this.#options = options
    for (const kind of options.kinds) this.#kinds.set(kind, new Map())
    const { promise, resolve } = Promise.withResolvers<void>()
    this.synced = promise
    this.#resolve = resolve
    options.signal.addEventListener('abort', () => resolve(), { once: true })
  }

  objects(kind: string): Iterable<MeshObject> {
    return this.#kinds.get(kind)?.values() ?? []
  }

  get(kind: string, namespace: string | undefined, name: string): MeshObject | undefined {
    return this.#kinds.get(kind)?.get(namespace === undefined ? name : `${namespace}/${name}`)
  }

  async run(): Promise<void> {
    const { signal, clock, log } = this.#options
    const backoff = new Backoff({ minMs: 50, maxMs: 2000 })
    while (!signal.aborted) {
      try {
        if (this.#version === undefined) await this.#list()
        await this.#watch(() => backoff.reset())
      } catch (error) {
        if (signal.aborted) return
        if (codeOf(error) === 'VERSION_TOO_OLD') {
          this.#version = undefined
          continue
        }
        this.#setConnected(false)
        log.warn('object watch lost, trying again', { error: messageOf(error) })
      }
      await pause(clock, backoff.nextMs(), signal)
    }
  }

  /** Lists every kind; the watch continues from the oldest of the lists, so that nothing between them is missed. */
  async #list(): Promise<void> {
    let oldest: bigint | undefined
    const lists = new Map<string, readonly MeshObject[]>()
    for (const kind of this.#options.kinds) {
      const { items: all, resourceVersion } = await this.#options.client.list(kind)
      const items = all.map((object) => this.#trim(object)).filter((object) => object !== undefined)
      lists.set(kind, items)
      const version = BigInt(resourceVersion)
      if (oldest === undefined || version < oldest) oldest = version
    }
    for (const [kind, items] of lists) this.#replace(kind, items)
    this.#version = String(oldest ?? 0n)
    if (this.#isSynced) return
    this.#isSynced = true
    this.#options.onSync(lists)
    this.#resolve()
  }

  #replace(kind: string, items: readonly MeshObject[]): void {
    const copy = this.#kinds.get(kind) ?? new Map<string, MeshObject>()
    const fresh = new Map(items.map((object) => [objectKey(object), object]))
    for (const [key, old] of copy) {
      if (fresh.get(key)?.metadata.uid === old.metadata.uid) continue
      copy.delete(key)
      if (this.#isSynced) this.#options.onEvent({ type: 'DELETED', object: old })
    }
    for (const object of fresh.values()) this.#put(copy, object)
  }

  #put(copy: Map<string, MeshObject>, object: MeshObject): void {
    const key = objectKey(object)
    const old = copy.get(key)
    if (old !== undefined && versionOf(old) >= versionOf(object)) return // a list overlapped the watch
    copy.set(key, object)
    if (this.#isSynced) this.#options.onEvent({ type: old === undefined ? 'ADDED' : 'MODIFIED', object })
  }

  async #watch(onProgress: () => void): Promise<void> {
    const { client, kinds, signal } = this.#options
    for await (const line of client.watch(kinds, this.#version ?? '0', signal)) {
      onProgress()
      this.#setConnected(true)
      if (line.type === 'BOOKMARK') {
        this.#version = line.resourceVersion
        continue
      }
      const object = this.#trim(line.object)
      if (object === undefined) continue
      const plural = kindOf(object.apiVersion, object.kind)?.plural
      const copy = plural === undefined ? undefined : this.#kinds.get(plural)
      if (copy === undefined) continue
      if (line.type === 'DELETED') this.#remove(copy, object)
      else this.#put(copy, object)
      this.#version = object.metadata.resourceVersion ?? this.#version
    }
    this.#setConnected(false)
  }

  #remove(copy: Map<string, MeshObject>, object: MeshObject): void {
    const key = objectKey(object)
    if (copy.get(key)?.metadata.uid !== object.metadata.uid) return // deleted and made again before the list
    copy.delete(key)
    this.#options.onEvent({ type: 'DELETED', object })
  }

  #trim(object: MeshObject): MeshObject | undefined {
    return this.#options.trim === undefined ? object : this.#options.trim(object)
  }

  #setConnected(isConnected: boolean): void {
    if (this.#isConnected === isConnected) return
    this.#isConnected = isConnected
    this.#options.onState?.(isConnected)
  }
}

function versionOf(object: MeshObject): bigint {
  return BigInt(object.metadata.resourceVersion ?? '0')
}
