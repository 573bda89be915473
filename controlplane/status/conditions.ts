// Writes what became of AuthorizationPolicies into their status, and faults of all objects into the log: once per change, with
// object and field. A failed write is tried again with the next translation.
import type { Clock } from '../../kit/clock.ts'
import { codeOf, messageOf } from '../../kit/error.ts'
import type { Log } from '../../kit/log.ts'
import type { AuthorizationPolicy, Condition } from '../../model/object.ts'
import type { ConfigSource } from '../source/source.ts'
import type { PolicyOutcome } from '../translate/authorization.ts'
import type { ObjectFault } from '../translate/mesh.ts'

const CONDITION = 'ZtunnelAccepted'
const WRITES_AT_ONCE = 8

/** Keeps status current. Not needed for enforcement: everything goes on while it fails. */
export class StatusWriter {
  readonly #source: ConfigSource
  readonly #log: Log
  readonly #clock: Clock
  readonly #pending = new Map<string, { object: AuthorizationPolicy; condition: Condition }>()
  #known = new Set<string>() // faults that have been logged and still exist
  #isWriting = false

  constructor(options: { readonly source: ConfigSource; readonly log: Log; readonly clock: Clock }) {
    this.#source = options.source
    this.#log = options.log
    this.#clock = options.clock
  }

  /** Takes the outcome of a translation. */
  report(outcomes: ReadonlyMap<AuthorizationPolicy, PolicyOutcome>, faults: readonly ObjectFault[]): void {
    this.#logFaults(faults)
    for (const [object, outcome] of outcomes) {
      const condition = this.#condition(object, outcome)
      const key = `${object.metadata.namespace ?? ''}/${object.metadata.name}`
      if (condition === undefined) this.#pending.delete(key)
      else this.#pending.set(key, { object, condition })
    }
    void this.#write()
  }

  #logFaults(faults: readonly ObjectFault[]): void {
    const now = new Set<string>()
    for (const fault of faults) {
      const key = JSON.stringify(fault)
      if (!this.#known.has(key) && !now.has(key)) this.#log.warn('an object is wrong in part; the rest stays in force', { ...fault })
      now.add(key)
    }
    this.#known = now
  }

  /** The condition to write; undefined when the object says so already. */
  #condition(object: AuthorizationPolicy, outcome: PolicyOutcome): Condition | undefined {
    const isAccepted = outcome.reason === 'Accepted' || outcome.reason === 'PartiallyInvalid'
    const next: Condition = {
      type: CONDITION,
      status: isAccepted ? 'True' : 'False',
      reason: outcome.reason,
      message: outcome.message,
      observedGeneration: object.metadata.generation ?? 0,
    }
    const old = object.status?.conditions?.find(({ type }) => type === CONDITION)
    const isSame =
      old?.status === next.status &&
      old.reason === next.reason &&
      old.message === next.message &&
      old.observedGeneration === next.observedGeneration
    if (isSame) return undefined
    const turnedAt = old?.status === next.status ? old.lastTransitionTime : undefined
    return { ...next, lastTransitionTime: turnedAt ?? new Date(this.#clock.nowMs()).toISOString() }
  }

  async #write(): Promise<void> {
    if (this.#isWriting) return
    this.#isWriting = true
    while (this.#pending.size > 0) {
      const batch = [...this.#pending].slice(0, WRITES_AT_ONCE)
      for (const [key] of batch) this.#pending.delete(key)
      await Promise.all(batch.map(([, { object, condition }]) => this.#writeOne(object, condition)))
    }
    this.#isWriting = false
  }

  async #writeOne(object: AuthorizationPolicy, condition: Condition): Promise<void> {
    const { namespace, name } = object.metadata
    const others = (object.status?.conditions ?? []).filter(({ type }) => type !== CONDITION)
    try {
      await this.#source.patchStatus('authorizationpolicies', namespace, name, { conditions: [...others, condition] })
    } catch (error) {
      this.#log.warn('status could not be written', { policy: `${namespace}/${name}`, code: codeOf(error), error: messageOf(error) })
    }
  }
}
