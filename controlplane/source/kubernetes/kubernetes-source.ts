// ConfigSource on a Kubernetes API server.
import type { Clock } from '../../../kit/clock.ts'
import { codeOf } from '../../../kit/error.ts'
import type { Log } from '../../../kit/log.ts'
import type { MeshObject, ObjectEvent, TokenReviewStatus } from '../../../model/object.ts'
import type { Informer, ObjectApi } from '../../../objects/api.ts'
import { type ConfigSource, SOURCE_KINDS, type SourceKind } from '../source.ts'
import { Admission } from './admission.ts'

/** Of all config maps of a cluster the mesh reads its own. */
const FIELD_SELECTORS = { configmaps: 'metadata.name=istio-ca-root-cert' }

/** Follows the API server for ever. The caller disposes the API. */
export class KubernetesSource implements ConfigSource {
  readonly #api: ObjectApi
  readonly #log: Log
  readonly #clock: Clock
  readonly #admission: Admission
  readonly #listeners: ((event: ObjectEvent) => void)[] = []
  #informer: Informer | undefined

  constructor(options: { readonly api: ObjectApi; readonly log: Log; readonly clock: Clock }) {
    this.#api = options.api
    this.#log = options.log
    this.#clock = options.clock
    this.#admission = new Admission(options)
  }

  /** @throws MeshError KUBECONFIG_INVALID; an API server that is away is waited for */
  async start(signal: AbortSignal): Promise<void> {
    await this.#api.ready()
    this.#informer = this.#api.inform({
      kinds: SOURCE_KINDS,
      fieldSelectors: FIELD_SELECTORS,
      log: this.#log,
      clock: this.#clock,
      signal,
      trim: (object) => this.#admission.admit(object),
      onSync: (all) => this.#log.info('objects listed', counts(all)),
      onEvent: (event) => {
        if (event.type === 'DELETED') this.#admission.forget(event.object)
        for (const listener of this.#listeners) listener(event)
      },
    })
    await this.#informer.synced
  }

  objects(kind: SourceKind): Iterable<MeshObject> {
    return this.#informer?.objects(kind) ?? []
  }

  onChange(listener: (event: ObjectEvent) => void): void {
    this.#listeners.push(listener)
  }

  reviewToken(token: string, audience: string): Promise<TokenReviewStatus> {
    return this.#api.reviewToken(token, audience)
  }

  async patchStatus(
    kind: SourceKind,
    namespace: string | undefined,
    name: string,
    status: object,
    resourceVersion?: string,
  ): Promise<void> {
    const lock = resourceVersion === undefined ? {} : { metadata: { resourceVersion } }
    await this.#api.patch(kind, namespace, name, { ...lock, status }, { subresource: 'status' })
  }

  async create(object: MeshObject): Promise<void> {
    await this.#api.create(object)
  }

  async replace(object: MeshObject): Promise<void> {
    await this.#api.apply(object)
  }

  async remove(kind: SourceKind, { metadata }: MeshObject): Promise<void> {
    const { namespace, name, uid } = metadata
    try {
      await this.#api.delete(kind, namespace, name, uid === undefined ? {} : { uid })
    } catch (error) {
      if (codeOf(error) !== 'NOT_FOUND') throw error
    }
  }
}

function counts(all: ReadonlyMap<string, readonly MeshObject[]>): Record<string, number> {
  return Object.fromEntries([...all].filter(([, objects]) => objects.length > 0).map(([kind, { length }]) => [kind, length]))
}
