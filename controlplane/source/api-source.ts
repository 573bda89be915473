// What every ConfigSource does alike over the object API: reads go to a live copy, writes to the API.
import { codeOf } from '../../kit/error.ts'
import type { MeshObject, ObjectEvent, TokenReviewStatus } from '../../model/object.ts'
import type { Informer, ObjectApi } from '../../objects/api.ts'
import type { ConfigSource, SourceKind } from './source.ts'

/** A source over an object API; how the copy is made is what differs. */
export abstract class ApiSource implements ConfigSource {
  protected readonly api: ObjectApi
  /** Set by `start`. */
  protected informer: Informer | undefined
  readonly #listeners: ((event: ObjectEvent) => void)[] = []

  constructor(api: ObjectApi) {
    this.api = api
  }

  abstract start(signal: AbortSignal): Promise<void>

  /** Deletes; `remove` takes an object that is gone for success. */
  protected abstract delete(kind: SourceKind, object: MeshObject): Promise<void>

  /** To everybody who follows changes. */
  protected tell(event: ObjectEvent): void {
    for (const listener of this.#listeners) listener(event)
  }

  objects(kind: SourceKind): Iterable<MeshObject> {
    return this.informer?.objects(kind) ?? []
  }

  onChange(listener: (event: ObjectEvent) => void): void {
    this.#listeners.push(listener)
  }

  reviewToken(token: string, audience: string): Promise<TokenReviewStatus> {
    return this.api.reviewToken(token, audience)
  }

  async patchStatus(
    kind: SourceKind,
    namespace: string | undefined,
    name: string,
    status: object,
    resourceVersion?: string,
  ): Promise<void> {
    const lock = resourceVersion === undefined ? {} : { metadata: { resourceVersion } }
    await this.api.patch(kind, namespace, name, { ...lock, status }, { subresource: 'status' })
  }

  async create(object: MeshObject): Promise<void> {
    await this.api.create(object)
  }

  async replace(object: MeshObject): Promise<void> {
    await this.api.apply(object)
  }

  async remove(kind: SourceKind, object: MeshObject): Promise<void> {
    try {
      await this.delete(kind, object)
    } catch (error) {
      if (codeOf(error) !== 'NOT_FOUND') throw error
    }
  }
}
