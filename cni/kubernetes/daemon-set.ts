// Whether the mesh is being taken off the cluster: the agent's DaemonSet was deleted. An upgrade changes it and deletes
// pods only. The deletion is seen while the right to see it still exists: an uninstall takes that away next.
import type { Clock } from '../../kit/clock.ts'
import type { Log } from '../../kit/log.ts'
import type { MeshObject } from '../../model/object.ts'
import type { Informer, ObjectApi } from '../../objects/api.ts'

/** What the constructor takes. */
export interface DaemonSetWatchOptions {
  readonly api: Pick<ObjectApi, 'inform'>
  readonly name: string
  readonly namespace: string
  readonly log: Log
  readonly clock: Clock
}

/** Follows one DaemonSet. */
export class DaemonSetWatch implements Disposable {
  readonly #stop = new AbortController()
  readonly #informer: Informer
  readonly #options: DaemonSetWatchOptions
  #isDeleted = false

  constructor(options: DaemonSetWatchOptions) {
    this.#options = options
    const { api, name, namespace, log, clock } = options
    const changed = (object: MeshObject | undefined, isDeleted: boolean): void => {
      if (object?.metadata.name !== name || object.metadata.namespace !== namespace) return
      const isGoing = isDeleted || object.metadata.deletionTimestamp !== undefined
      if (isGoing && !this.#isDeleted) log.warn('the DaemonSet of this agent was deleted: the mesh leaves the node with it', { name })
      this.#isDeleted = isGoing
    }
    this.#informer = api.inform({
      kinds: ['daemonsets'],
      fieldSelectors: { daemonsets: `metadata.name=${name},metadata.namespace=${namespace}` },
      log,
      clock,
      signal: this.#stop.signal,
      onSync: (all) => {
        for (const object of all.get('daemonsets') ?? []) changed(object, false)
      },
      onEvent: ({ type, object }) => changed(object, type === 'DELETED'),
    })
  }

  /** Whether it is gone or going, and is not there again. Never true because the API cannot be asked. */
  isDeleted(): boolean {
    const { namespace, name } = this.#options
    const current = this.#informer.get('daemonsets', namespace, name)
    return this.#isDeleted && (current === undefined || current.metadata.deletionTimestamp !== undefined)
  }

  [Symbol.dispose](): void {
    this.#stop.abort()
  }
}
