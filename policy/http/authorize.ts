// L4 policies of a destination behind its waypoint, asked there for the original client: what policy/l4.ts says of the two
// identities that stand behind such a request.
import type { Identity } from '../../model/identity.ts'
import type { Authorization, PolicyConnection, PolicyVerdict } from '../../model/policy.ts'
import { decide } from '../l4.ts'

/**
 * May this client's request go on to this endpoint?
 * @param policies those that apply to the destination workload
 * @param connection `source` = the original client, verified by the waypoint (undefined = unknown); addresses and port are the real ones
 * @param waypoint the waypoint's own identity
 */
export function authorize(
  policies: readonly Authorization[],
  connection: Omit<PolicyConnection, 'via'>,
  waypoint: Identity,
): PolicyVerdict {
  return decide(policies, { ...connection, via: waypoint })
}
