// Waypoints that were set, changed or taken away lately. The nodes hear of it one after the other: until all have, a destination
// still takes connections as before, so that setting a waypoint breaks none. Kept by replica.ts.
import type { Clock } from '../kit/clock.ts'
import type { GatewayAddress } from '../model/workload.ts'

/** As long as STRICT waits for the nodes when a pod is enrolled. */
export const WAYPOINT_SETTLE_MS = 2000

interface Change {
  readonly waypoint: GatewayAddress | undefined
  readonly untilMs: number
}

/** By service key or workload uid. */
export class WaypointChanges {
  readonly #clock: Clock
  readonly #changes = new Map<string, Change>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Notes what a service or workload that is known already gets. */
  note(name: string, old: GatewayAddress | undefined, now: GatewayAddress | undefined): void {
    if (isSame(old, now)) return
    const nowMs = this.#clock.monotonicMs()
    for (const [known, { untilMs }] of this.#changes) if (untilMs <= nowMs) this.#changes.delete(known)
    // Two changes in a row: what held first counts for its time, or toggling would keep a door open.
    if (!this.#changes.has(name)) this.#changes.set(name, { waypoint: old, untilMs: nowMs + WAYPOINT_SETTLE_MS })
  }

  /** What held before a change that not all nodes may have heard of; undefined when there was none. */
  before(name: string): { readonly waypoint: GatewayAddress | undefined } | undefined {
    if (this.#changes.size === 0) return undefined
    const change = this.#changes.get(name)
    return change === undefined || change.untilMs <= this.#clock.monotonicMs() ? undefined : change
  }
}

function isSame(a: GatewayAddress | undefined, b: GatewayAddress | undefined): boolean {
  if (a === undefined || b === undefined) return a === b
  if (a.hbonePort !== b.hbonePort) return false
  if (a.kind === 'address') return b.kind === 'address' && a.ip === b.ip && a.network === b.network
  return b.kind === 'hostname' && a.hostname === b.hostname && a.namespace === b.namespace
}
