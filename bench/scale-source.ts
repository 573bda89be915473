// A ConfigSource that holds the objects of bench/scale.ts in memory and answers token reviews as slowly as an API server does.
import { setTimeout as delay } from 'node:timers/promises'
import type { ConfigSource, SourceKind } from '../controlplane/source/source.ts'
import { type MeshObject, type ObjectEvent, objectKey, type TokenReviewStatus } from '../model/object.ts'
import { KINDS } from '../objects/kinds.ts'
import { userOf } from './scale-world.ts'

const TOKEN_REVIEW_MS = 5

/** Objects in memory. */
export class ScaleSource implements ConfigSource {
  readonly #objects = new Map<string, Map<string, MeshObject>>()
  readonly #listeners: ((event: ObjectEvent) => void)[] = []
  readonly #plurals = new Map(KINDS.map(({ kind, plural }) => [kind as string, plural as string]))

  /** Adds an object without telling anybody. */
  load(object: MeshObject): void {
    this.#kindOf(object).set(objectKey(object), object)
  }

  /** Replaces an object, as a watch would. */
  apply(object: MeshObject): void {
    this.load(object)
    for (const tell of this.#listeners) tell({ type: 'MODIFIED', object })
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
