// Says on the pod's object what is in force (annotation ambient.istio.io/redirection) and why not (Event objects).
// The control plane publishes the pod as HBONE by the annotation, so this is a step of enrolment and not a courtesy.
import { createHash } from 'node:crypto'
import { Backoff } from '../kit/backoff.ts'
import { type Clock, pause } from '../kit/clock.ts'
import { codeOf, messageOf } from '../kit/error.ts'
import type { Log } from '../kit/log.ts'
import type { Event } from '../model/object.ts'
import type { ObjectApi } from '../objects/api.ts'
import type { PodPlace } from './pods.ts'

/** `enabled` = captured; `pending` = asked for and failed, or lost: peers refuse the pod. */
export type Redirection = 'enabled' | 'pending'

/** Read by the control plane and by istioctl. */
export const REDIRECTION_ANNOTATION = 'ambient.istio.io/redirection'

/** The part of the API that is used. */
export type PublisherClient = Pick<ObjectApi, 'patch' | 'apply'>

/** What the constructor takes. */
export interface PublisherOptions {
  readonly client: PublisherClient
  readonly node: string
  /** Kubernetes: the annotation goes through `pods/status`, so that the agent needs no right to change what pods run. */
  readonly isThroughStatus?: boolean
  readonly log: Log
  readonly clock: Clock
  /** UID of the pod that has this name now; undefined = not known. A successor of the same name is not written to. */
  uidOf(namespace: string, name: string): string | undefined
}

const RETRY = { minMs: 50, maxMs: 2_000 }
const MAX_REMEMBERED = 2_000

/** Writes to the object API. */
export class Publisher {
  readonly #options: PublisherOptions
  /** Events are counted, not repeated. */
  readonly #counts = new Map<string, { readonly count: number; readonly first: string }>()

  constructor(options: PublisherOptions) {
    this.#options = options
  }

  /**
   * Sets the annotation (undefined removes it); tries until the API takes it, the pod is gone, or `signal` aborts.
   * Never rejects for an API that is away: what is said must be true before the next step.
   */
  async setRedirection(place: PodPlace, value: Redirection | undefined, signal: AbortSignal): Promise<void> {
    const { client, clock, log, uidOf, isThroughStatus = false } = this.#options
    const { namespace, name, uid } = place
    const backoff = new Backoff(RETRY)
    const patch = { metadata: { annotations: { [REDIRECTION_ANNOTATION]: value ?? null } } }
    while (!signal.aborted) {
      const current = uidOf(namespace, name)
      if (current !== undefined && current !== uid) return
      try {
        await client.patch('pods', namespace, name, patch, isThroughStatus ? { subresource: 'status' } : {})
        return
      } catch (error) {
        if (codeOf(error) === 'NOT_FOUND') return
        log.warn('pod cannot be annotated, trying again', { pod: name, namespace, error: messageOf(error) })
      }
      await pause(clock, backoff.nextMs(), signal)
    }
  }

  /** Stores an Event about a pod. Losing one is logged and not worth a failure. */
  tell(place: Pick<PodPlace, 'uid' | 'namespace' | 'name'>, type: Event['type'], reason: string, about: unknown): void {
    const { client, clock, log, node } = this.#options
    const { uid, namespace, name } = place
    const message = (typeof about === 'string' ? about : messageOf(about)).slice(0, 1024)
    const key = createHash('sha256').update(`${uid}\n${reason}\n${message}`).digest('hex').slice(0, 16)
    const now = new Date(clock.nowMs()).toISOString()
    const seen = this.#counts.get(key) ?? { count: 0, first: now }
    if (this.#counts.size > MAX_REMEMBERED) this.#counts.clear()
    this.#counts.set(key, { ...seen, count: seen.count + 1 })
    log.warn('pod event', { pod: name, namespace, reason, message })
    const event: Event = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: `${name.slice(0, 200)}.${key}`, namespace },
      involvedObject: { kind: 'Pod', namespace, name, uid },
      reason,
      message,
      type,
      count: seen.count + 1,
      firstTimestamp: seen.first,
      lastTimestamp: now,
      source: { component: 'weft-cni', host: node },
    }
    client.apply(event).catch((error: unknown) => log.warn('event was not stored', { reason, error: messageOf(error) }))
  }
}
