// The balancer's own record of one endpoint: what must outlive updates of the endpoint list.
import type { BalancedEndpoint } from './endpoint.ts'
import { hashText } from './hash.ts'

/** State of an endpoint as long as its uid and address stay. */
export class Member {
  /** As last given; the workload's other fields may have changed since. */
  endpoint: BalancedEndpoint
  readonly uid: string
  /** Place of the uid among hashes; the same in every proxy. */
  readonly hash: number
  /** Requests under way. */
  active = 0
  /** Monotonic ms at which it became usable; -Infinity = it never had to warm up. */
  warmSinceMs = Number.NEGATIVE_INFINITY
  /** Belongs to a group of the present plan: ready, or serving while nobody is ready. */
  isUsable = false
  /** Set and cleared by outlier detection. */
  isEjected = false
  /** May be chosen: usable, and not ejected unless its group panics. Set by the plan. */
  isOpen = false
  /** Position in round robin; NaN = has to be placed anew. */
  turn = Number.NaN
  /** Failures in a row, of each kind; 0 while ejected. */
  errors5xx = 0
  errorsGateway = 0
  /** Length of the next ejection in multiples of the base; falls by one with each interval out of ejection. */
  ejections = 0
  ejectedAtMs = 0

  constructor(endpoint: BalancedEndpoint) {
    this.endpoint = endpoint
    this.uid = endpoint.uid
    this.hash = hashText(endpoint.uid)
  }
}
