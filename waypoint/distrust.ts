// Endpoints whose connections carry one request each: they sent bytes that nobody had asked for, or no HTTP. What such a server sends
// late may cross the next request on its way, where nothing tells it from the answer. Used by upstream.ts.
import type { Clock } from '../kit/clock.ts'
import { formatEndpoint } from '../model/address.ts'
import type { BalancedEndpoint } from './balance/endpoint.ts'

/** How long after its last fault an endpoint is not believed. */
export const DISTRUST_MS = 600_000
/** Remembered endpoints; the one that was noted first is forgotten for another. */
const MOST = 1000

/** The endpoints of one backend that are not believed. */
export class Distrust {
  readonly #clock: Clock
  readonly #untilMs = new Map<string, number>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The endpoint has broken the protocol. */
  note(endpoint: BalancedEndpoint): void {
    const key = keyOf(endpoint)
    this.#untilMs.delete(key)
    this.#untilMs.set(key, this.#clock.monotonicMs() + DISTRUST_MS)
    if (this.#untilMs.size <= MOST) return
    const [first = ''] = this.#untilMs.keys()
    this.#untilMs.delete(first)
  }

  /** Whether a connection to it is not to be used twice. */
  has(endpoint: BalancedEndpoint): boolean {
    if (this.#untilMs.size === 0) return false
    const key = keyOf(endpoint)
    const untilMs = this.#untilMs.get(key)
    if (untilMs === undefined) return false
    if (untilMs > this.#clock.monotonicMs()) return true
    this.#untilMs.delete(key)
    return false
  }
}

function keyOf({ workload, to }: BalancedEndpoint): string {
  return `${workload.uid} ${formatEndpoint(to)}`
}
