// ConfigSource on the local runtime's object API.
import type { Clock } from '../../../kit/clock.ts'
import { codeOf } from '../../../kit/error.ts'
import type { Log } from '../../../kit/log.ts'
import type { MeshObject, ObjectEvent, TokenReviewStatus } from '../../../model/object.ts'
import { ObjectClient } from '../../../objects/client.ts'
import type { Informer } from '../../../objects/api.ts'
import { type ConfigSource, SOURCE_KINDS, type SourceKind } from '../source.ts'

/** Reads `api.sock`; reconnects for ever. */
export class StoreSource implements ConfigSource {
  readonly #client: ObjectClient
  readonly #log: Log
  readonly #clock: Clock
  readonly #listeners: ((event: ObjectEvent) => void)[] = []
  #informer: Informer | undefined

  constructor(options: { readonly socketPath: string; readonly log: Log; readonly clock: Clock }) {
    this.#client = new ObjectClient({ socketPath: options.socketPath })
    this.#log = options.log
    this.#clock = options.clock
  }

  start(signal: AbortSignal): Promise<void> {
    this.#informer = this.#client.inform({
      kinds: SOURCE_KINDS,
      log: this.#log,
      clock: this.#clock,
      signal,
      onSync: (all) => this.#log.info('objects listed', { kinds: all.size }),
      onEvent: (event) => {
        for (const listener of this.#listeners) listener(event)
      },
    })
    return this.#informer.synced
  }

  objects(kind: SourceKind): Iterable<MeshObject> {
    return this.#informer?.objects(kind) ?? []
  }

  onChange(listener: (event: ObjectEvent) => void): void {
    this.#listeners.push(listener)
  }

  reviewToken(token: string, audience: string): Promise<TokenReviewStatus> {
    return this.#client.reviewToken(token, audience)
  }

  async patchStatus(
    kind: SourceKind,
    namespace: string | undefined,
    name: string,
    status: object,
    resourceVersion?: string,
  ): Promise<void> {
    const lock = resourceVersion === undefined ? {} : { metadata: { resourceVersion } }
    await this.#client.patch(kind, namespace, name, { ...lock, status }, { subresource: 'status' })
  }

  async create(object: MeshObject): Promise<void> {
    await this.#client.create(object)
  }

  async replace(object: MeshObject): Promise<void> {
    await this.#client.apply(object)
  }

  async remove(kind: SourceKind, { metadata }: MeshObject): Promise<void> {
    try {
      await this.#client.delete(kind, metadata.namespace, metadata.name)
    } catch (error) {
      if (codeOf(error) !== 'NOT_FOUND') throw error
    }
  }
}
