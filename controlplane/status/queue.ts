// Status writes that wait, the newest per object. Namespaces take turns: one with many objects does not hold up the others.
import type { SourceKind } from '../source/source.ts'
import type { MeshObject } from '../../model/object.ts'

/** One status to be merged into an object. */
export interface StatusWrite {
  readonly kind: SourceKind
  readonly object: MeshObject
  readonly status: object
}

/** The queue; it holds at most one write per object. */
export class StatusQueue {
  readonly #namespaces = new Map<string, Map<string, StatusWrite>>()

  /** Number of writes that wait. */
  get size(): number {
    let size = 0
    for (const own of this.#namespaces.values()) size += own.size
    return size
  }

  /** Adds a write in place of an older one of the object. */
  put(write: StatusWrite): void {
    const { namespace = '' } = write.object.metadata
    const own = this.#namespaces.get(namespace)
    if (own === undefined) this.#namespaces.set(namespace, new Map([[keyOf(write), write]]))
    else own.set(keyOf(write), write)
  }

  /** Forgets the write of an object whose status is right by now. */
  drop(kind: SourceKind, object: MeshObject): void {
    this.#namespaces.get(object.metadata.namespace ?? '')?.delete(keyOf({ kind, object }))
  }

  /** Takes the next write out; undefined = none waits. */
  take(): StatusWrite | undefined {
    for (const [namespace, own] of this.#namespaces) {
      this.#namespaces.delete(namespace) // and to the end, as long as something is left
      const [first] = own
      if (first === undefined) continue
      own.delete(first[0])
      if (own.size > 0) this.#namespaces.set(namespace, own)
      return first[1]
    }
    return undefined
  }
}

function keyOf({ kind, object }: Pick<StatusWrite, 'kind' | 'object'>): string {
  return `${kind}/${object.metadata.name}`
}
