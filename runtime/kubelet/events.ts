// Event objects about pods: one per pod, reason and message, counted instead of repeated. Losing one is not worth a failure.
import { createHash } from 'node:crypto'
import type { Clock } from '../../kit/clock.ts'
import { messageOf } from '../../kit/error.ts'
import type { Log } from '../../kit/log.ts'
import type { Event, MeshObject } from '../../model/object.ts'
import type { ObjectClient } from '../../objects/client.ts'

/** Records events of one component. */
export class EventRecorder {
  readonly #client: ObjectClient
  readonly #clock: Clock
  readonly #log: Log
  readonly #component: string
  readonly #host: string
  readonly #counts = new Map<string, { count: number; first: string }>()

  constructor(options: { client: ObjectClient; clock: Clock; log: Log; component: string; host: string }) {
    this.#client = options.client
    this.#clock = options.clock
    this.#log = options.log
    this.#component = options.component
    this.#host = options.host
  }

  record(object: MeshObject, type: Event['type'], reason: string, message: string): void {
    const { name, namespace = 'default', uid } = object.metadata
    const hash = createHash('sha256').update(`${uid}\n${reason}\n${message}`).digest('hex').slice(0, 16)
    const now = new Date(this.#clock.nowMs()).toISOString()
    const seen = this.#counts.get(hash) ?? { count: 0, first: now }
    if (this.#counts.size > MAX_REMEMBERED) this.#counts.clear()
    this.#counts.set(hash, { count: seen.count + 1, first: seen.first })
    const event: Event = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: `${name.slice(0, 200)}.${hash}`, namespace },
      involvedObject: { kind: object.kind, namespace, name, ...(uid === undefined ? {} : { uid }) },
      reason,
      message: message.slice(0, 1024),
      type,
      count: seen.count + 1,
      firstTimestamp: seen.first,
      lastTimestamp: now,
      source: { component: this.#component, host: this.#host },
    }
    this.#client.apply(event).catch((error: unknown) => this.#log.warn('event was not stored', { reason, error: messageOf(error) }))
  }
}

const MAX_REMEMBERED = 2000
