// The copy of one kind: takes lists and watch events in whatever order and number they come, and says what really changed.
// Pure. Objects are compared by uid and version, so a repeated list makes no event.
import { isDeepStrictEqual } from 'node:util'
import type { MeshObject, ObjectEvent } from '../../model/object.ts'
import { objectKey } from '../../model/object.ts'
import { isOlder } from './versions.ts'

/** Callbacks get each change once, in order. */
export interface TableOptions {
  readonly onEvent: (event: ObjectEvent) => void
  /** Changes of the version alone (of what was trimmed off) are not told: nobody waits for the version of these objects. */
  readonly isQuiet: boolean
}

/** The objects of one kind. */
export class ObjectTable {
  readonly #options: TableOptions
  readonly #objects = new Map<string, MeshObject>()
  /** Up to which everything is in the table; undefined = no list yet. */
  #version: string | undefined

  constructor(options: TableOptions) {
    this.#options = options
  }

  get version(): string | undefined {
    return this.#version
  }

  get size(): number {
    return this.#objects.size
  }

  values(): Iterable<MeshObject> {
    return this.#objects.values()
  }

  /** @param key `namespace/name`, or `name` */
  get(key: string): MeshObject | undefined {
    return this.#objects.get(key)
  }

  /** Whether a list of this version would lead back in time. */
  isBehind(listVersion: string): boolean {
    return isOlder(listVersion, this.#version) === true
  }

  /** A whole list is the truth: what is not in it is gone. */
  replace(items: readonly MeshObject[], listVersion: string): void {
    const fresh = new Map<string, MeshObject>()
    for (const object of items) fresh.set(objectKey(object), object)
    this.#version = listVersion
    for (const [key, old] of this.#objects) if (!fresh.has(key)) this.#drop(key, old)
    for (const [key, object] of fresh) this.#put(key, object)
  }

  /** An event of a watch; what the table has seen already is passed over. */
  apply(type: ObjectEvent['type'], object: MeshObject): void {
    const version = object.metadata.resourceVersion
    if (isOlder(this.#version, version) === false) return // repeated
    const key = objectKey(object)
    if (type !== 'DELETED') this.#put(key, object)
    else if (this.#objects.get(key)?.metadata.uid === object.metadata.uid) this.#drop(key, object)
    this.#version = version ?? this.#version
  }

  /** Everything up to this version was sent. */
  bookmark(version: string): void {
    if (isOlder(version, this.#version) !== true) this.#version = version
  }

  /** The kind is not served any more. */
  clear(): void {
    this.#version = undefined
    for (const [key, old] of this.#objects) this.#drop(key, old)
  }

  #put(key: string, object: MeshObject): void {
    const old = this.#objects.get(key)
    if (old !== undefined && old.metadata.uid !== object.metadata.uid)
      this.#drop(key, old) // another object of the name
    else if (old !== undefined && old.metadata.resourceVersion === object.metadata.resourceVersion) return
    const isNew = old === undefined || old.metadata.uid !== object.metadata.uid
    this.#objects.set(key, object)
    if (!isNew && this.#options.isQuiet && isSame(old, object)) return
    this.#options.onEvent({ type: isNew ? 'ADDED' : 'MODIFIED', object })
  }

  #drop(key: string, object: MeshObject): void {
    this.#objects.delete(key)
    this.#options.onEvent({ type: 'DELETED', object })
  }
}

function isSame(old: MeshObject, next: MeshObject): boolean {
  const { resourceVersion: _, ...oldMetadata } = old.metadata
  const { resourceVersion: __, ...metadata } = next.metadata
  return isDeepStrictEqual({ ...old, metadata: oldMetadata }, { ...next, metadata })
}
