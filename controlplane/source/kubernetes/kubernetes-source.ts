// ConfigSource on a Kubernetes API server.
import type { Clock } from '../../../kit/clock.ts'
import type { Log } from '../../../kit/log.ts'
import type { MeshObject } from '../../../model/object.ts'
import type { ObjectApi } from '../../../objects/api.ts'
import { ApiSource } from '../api-source.ts'
import { SOURCE_KINDS, type SourceKind } from '../source.ts'
import { Admission } from './admission.ts'

/** Of all config maps of a cluster the mesh reads its own. */
const FIELD_SELECTORS = { configmaps: 'metadata.name=istio-ca-root-cert' }

/** Follows the API server for ever. The caller disposes the API. */
export class KubernetesSource extends ApiSource {
  readonly #log: Log
  readonly #clock: Clock
  readonly #admission: Admission

  constructor(options: { readonly api: ObjectApi; readonly log: Log; readonly clock: Clock }) {
    super(options.api)
    this.#log = options.log
    this.#clock = options.clock
    this.#admission = new Admission(options)
  }

  /** @throws MeshError KUBECONFIG_INVALID; an API server that is away is waited for */
  override async start(signal: AbortSignal): Promise<void> {
    await this.api.ready()
    this.informer = this.api.inform({
      kinds: SOURCE_KINDS,
      fieldSelectors: FIELD_SELECTORS,
      log: this.#log,
      clock: this.#clock,
      signal,
      trim: (object) => this.#admission.admit(object),
      onSync: (all) => this.#log.info('objects listed', counts(all)),
      onEvent: (event) => {
        if (event.type === 'DELETED') this.#admission.forget(event.object)
        this.tell(event)
      },
    })
    await this.informer.synced
  }

  protected override delete(kind: SourceKind, { metadata }: MeshObject): Promise<void> {
    const { namespace, name, uid } = metadata
    return this.api.delete(kind, namespace, name, uid === undefined ? {} : { uid })
  }
}

function counts(all: ReadonlyMap<string, readonly MeshObject[]>): Record<string, number> {
  return Object.fromEntries([...all].filter(([, objects]) => objects.length > 0).map(([kind, { length }]) => [kind, length]))
}
