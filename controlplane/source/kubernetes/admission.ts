// Objects of kinds whose CRD may let anything pass, checked as the local store checks what is written to it. Kubernetes has stored
// them already, so a fault becomes an Event of the object; a Gateway that is broken keeps what it said before, as if the change
// had been refused. Policies and routes go on to translation, which takes the strict meaning and says it in their status.
import { createHash } from 'node:crypto'
import type { Clock } from '../../../kit/clock.ts'
import { messageOf } from '../../../kit/error.ts'
import type { Log } from '../../../kit/log.ts'
import type { Event, MeshObject } from '../../../model/object.ts'
import type { ObjectApi } from '../../../objects/api.ts'
import { formatFault, validate } from '../../../objects/schema/validate.ts'

/** What the admission works with. */
export interface AdmissionOptions {
  readonly api: Pick<ObjectApi, 'apply'>
  readonly log: Log
  readonly clock: Clock
}

const CHECKED: ReadonlySet<string> = new Set([
  'GatewayClass',
  'Gateway',
  'HTTPRoute',
  'GRPCRoute',
  'VirtualService',
  'DestinationRule',
  'ServiceEntry',
  'RateLimitPolicy',
  'AuthorizationPolicy',
  'PeerAuthentication',
])
/** Read in many places without another check. */
const REFUSED: ReadonlySet<string> = new Set(['GatewayClass', 'Gateway'])
/** Told once per object and fault; a full memory is forgotten. */
const MAX_TOLD = 5_000
/** Events under way at once; more are only logged. */
const MAX_WRITES = 20

/** Looks at each object that arrives. */
export class Admission {
  readonly #options: AdmissionOptions
  /** Last good spec by uid, of the kinds that are refused. */
  readonly #good = new Map<string, unknown>()
  readonly #told = new Set<string>()
  #writes = 0

  constructor(options: AdmissionOptions) {
    this.#options = options
  }

  /** @returns the object as it takes effect; undefined when nothing of it does */
  admit(object: MeshObject): MeshObject | undefined {
    if (!CHECKED.has(object.kind)) return object
    const { uid = '' } = object.metadata
    const result = validate(object)
    if (result.is !== 'invalid') {
      if (REFUSED.has(object.kind)) this.#good.set(uid, object.spec)
      return object
    }
    const faults = result.faults.map(formatFault).join('; ').slice(0, 900)
    const isRefused = REFUSED.has(object.kind)
    const isKnown = isRefused && this.#good.has(uid)
    this.#tell(object, isKnown ? `${faults}; the spec of before stays in force` : faults)
    if (!isRefused) return object
    return isKnown ? { ...object, spec: this.#good.get(uid) } : undefined
  }

  /** Forgets an object that has gone. */
  forget({ metadata }: MeshObject): void {
    this.#good.delete(metadata.uid ?? '')
  }

  #tell(object: MeshObject, message: string): void {
    const { log } = this.#options
    const { namespace = '', name, uid = '' } = object.metadata
    const key = createHash('sha256').update(`${uid}\n${message}`).digest('hex').slice(0, 16)
    if (this.#told.has(key)) return
    if (this.#told.size >= MAX_TOLD) this.#told.clear()
    this.#told.add(key)
    log.warn('an object is not valid', { kind: object.kind, namespace, name, faults: message })
    if (this.#writes >= MAX_WRITES) return
    this.#writes++
    void this.#write(object, key, message).finally(() => this.#writes--)
  }

  async #write(object: MeshObject, key: string, message: string): Promise<void> {
    const { api, log, clock } = this.#options
    const { namespace = 'default', name, uid = '' } = object.metadata
    const now = new Date(clock.nowMs()).toISOString()
    const { apiVersion, kind } = object
    const event: Event & { involvedObject: { apiVersion: string } } = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: `${name.slice(0, 200)}.${key}`, namespace },
      involvedObject: { apiVersion, kind, namespace, name, uid },
      reason: 'InvalidObject',
      message,
      type: 'Warning',
      count: 1,
      firstTimestamp: now,
      lastTimestamp: now,
      source: { component: 'weft-controlplane' },
    }
    try {
      await api.apply(event)
    } catch (error) {
      log.debug('event was not stored', { kind, namespace, name, error: messageOf(error) })
    }
  }
}
