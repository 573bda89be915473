// ConfigSource on the local runtime's object API.
import type { Clock } from '../../../kit/clock.ts'
import type { Log } from '../../../kit/log.ts'
import type { MeshObject } from '../../../model/object.ts'
import { ObjectClient } from '../../../objects/client.ts'
import { ApiSource } from '../api-source.ts'
import { SOURCE_KINDS, type SourceKind } from '../source.ts'

/** Reads `api.sock`; reconnects for ever. */
export class StoreSource extends ApiSource {
  readonly #log: Log
  readonly #clock: Clock

  constructor(options: { readonly socketPath: string; readonly log: Log; readonly clock: Clock }) {
    super(new ObjectClient({ socketPath: options.socketPath }))
    this.#log = options.log
    this.#clock = options.clock
  }

  override start(signal: AbortSignal): Promise<void> {
    this.informer = this.api.inform({
      kinds: SOURCE_KINDS,
      log: this.#log,
      clock: this.#clock,
      signal,
      onSync: (all) => this.#log.info('objects listed', { kinds: all.size }),
      onEvent: (event) => this.tell(event),
    })
    return this.informer.synced
  }

  protected override delete(kind: SourceKind, { metadata }: MeshObject): Promise<void> {
    return this.api.delete(kind, metadata.namespace, metadata.name)
  }
}
