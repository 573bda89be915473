// What was made of objects in the last run. A write of an object's status makes a new object, but not a new value; a finding that
// says the same is the same value again, so that whoever compares by reference sees no change.
import { isDeepStrictEqual } from 'node:util'
import type { MeshObject } from '../../../model/object.ts'
import type { Finding } from '../gateway/finding.ts'
import { namespaceOf } from '../mesh.ts'

/** Values made of objects of one kind. */
export class KeptValues<Source extends MeshObject, T> {
  #values = new Map<string, { readonly object: Source; readonly value: T }>()
  #findings = new Map<string, Finding>()

  /** The value of each object; what is no longer in the list is forgotten. */
  parse(objects: readonly Source[], make: (object: Source) => T): Map<Source, T> {
    const next = new Map<string, { object: Source; value: T }>()
    const values = new Map<Source, T>()
    for (const object of objects) {
      const known = this.#values.get(keyOf(object))
      const value = known !== undefined && isSame(known.object, object) ? known.value : make(object)
      next.set(keyOf(object), { object, value })
      values.set(object, value)
    }
    this.#values = next
    return values
  }

  /** The findings of this run, each the one of the last run where it says the same. */
  keep(findings: ReadonlyMap<Source, Finding>): Map<MeshObject, Finding> {
    const next = new Map<string, Finding>()
    const kept = new Map<MeshObject, Finding>()
    for (const [object, finding] of findings) {
      const before = this.#findings.get(keyOf(object))
      const same = before !== undefined && isDeepStrictEqual(before, finding) ? before : finding
      next.set(keyOf(object), same)
      kept.set(object, same)
    }
    this.#findings = next
    return kept
  }
}

function keyOf(object: MeshObject): string {
  return `${namespaceOf(object)}/${object.metadata.name}`
}

function isSame(a: MeshObject, b: MeshObject): boolean {
  return a === b || (a.metadata.creationTimestamp === b.metadata.creationTimestamp && isDeepStrictEqual(a.spec, b.spec))
}
