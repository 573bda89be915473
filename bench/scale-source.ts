// A ConfigSource that holds the objects of bench/scale.ts in memory and answers token reviews as slowly as an API server does.
import { setTimeout as delay } from 'node:timers/promises'
import type { ConfigSource, SourceKind } from '../controlplane/source/source.ts'
import { type MeshObject, type ObjectEvent, objectKey, type TokenReviewStatus } from '../model/object.ts'
import { KINDS } from '../objects/kinds.ts'
import { SharedValues } from '../objects/kube/shared.ts'
import { trimmer } from '../objects/kube/trim.ts'
import { userOf } from './scale-world.ts'

const TOKEN_REVIEW_MS = 5

/** Objects in memory. */
export class ScaleSource implements ConfigSource {
  readonly #objects = new Map<string, Map<string, MeshObject>>()
  readonly #listeners: ((event: ObjectEvent) => void)[] = []
  readonly #plurals = new Map(KINDS.map(({ kind, plural }) => [kind as string, plural as string]))
  readonly #trims: ReadonlyMap<string, ReturnType<typeof trimmer>>

  constructor() {
    const shared = new SharedValues()
    this.#trims = new Map(KINDS.map((row) => [row.kind, trimmer(row, shared)]))
  }

  /** Adds an object without telling anybody, trimmed as the copy of a cluster is. @returns what is held */
  load(object: MeshObject): MeshObject {
    const held = this.#trims.get(object.kind)?.(object) ?? object
    this.#kindOf(held).set(objectKey(held), held)
    return held
  }

  /** Replaces an object, as a watch would. */
  apply(object: MeshObject): void {
    const held = this.load(object)
    for (const tell of this.#listeners) tell({ type: 'MODIFIED', object: held })
  }

  start = async (): Promise<void> => undefined

  objects(kind: SourceKind): Iterable<MeshObject> {
    return this.#objects.get(kind)?.values() ?? []
  }

  onChange(listener: (event: ObjectEvent) => void): void {
    this.#listeners.push(listener)
  }

  async reviewToken(token: string): Promise<TokenReviewStatus> {
    await delay(TOKEN_REVIEW_MS)
    const user = userOf(token)
    return user === undefined ? { authenticated: false, error: 'unknown' } : { authenticated: true, user }
  }

  patchStatus = async (): Promise<void> => undefined
  create = async (): Promise<void> => undefined
  replace = async (): Promise<void> => undefined
  remove = async (): Promise<void> => undefined

  #kindOf(object: MeshObject): Map<string, MeshObject> {
    const plural = this.#plurals.get(object.kind) ?? ''
    let kind = this.#objects.get(plural)
    if (kind === undefined) {
      kind = new Map()
      this.#objects.set(plural, kind)
    }
    return kind
  }
}
