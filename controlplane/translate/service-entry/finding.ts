// What is said of a ServiceEntry: one condition, made from what is in force and from nothing else.
import type { Service } from '../../../model/service.ts'
import { type Finding, joined } from '../gateway/finding.ts'
import { ISTIO_CONDITION, refusal, verdictOf } from '../istio/outcomes.ts'
import type { WaypointBinding } from '../waypoint.ts'
import type { ParsedEntry } from './parse.ts'

/** What became of an entry. */
export interface EntryState {
  /** Of the hosts in force. */
  readonly services: readonly Service[]
  /** Hosts, addresses and annotations that are not in force. */
  readonly refused: readonly string[]
  readonly binding: WaypointBinding | undefined
}

/** Accepted, in part, or not at all. */
export function entryFinding(parsed: ParsedEntry, { services, refused, binding }: EntryState): Finding {
  if (parsed.problem !== undefined) return refusal(ISTIO_CONDITION, parsed.problem.reason, `nothing is in force: ${parsed.problem.message}`)
  if (parsed.isHidden) return { type: ISTIO_CONDITION, status: 'True', reason: 'Accepted', message: 'exported to nobody' }
  if (services.length === 0) return refusal(ISTIO_CONDITION, 'NotAllowed', `no host is in force: ${joined(refused)}`)
  const others = [...withoutAddress(parsed, services, binding), ...withoutEndpoint(parsed), ...sharedAddresses(services)]
  return verdictOf(ISTIO_CONDITION, { ignored: [...refused, ...parsed.ignored], dropped: [], broken: [], unresolved: [], others })
}

/** Proxies know a connection by the address that it goes to. */
function withoutAddress({ resolution }: ParsedEntry, services: readonly Service[], binding: WaypointBinding | undefined): string[] {
  const bare = services.filter(({ vips }) => vips.length === 0).map(({ hostname }) => hostname)
  if (bare.length === 0) return []
  const why = resolution === 'NONE' ? 'resolution NONE gives no addresses' : 'they have none and were given none'
  const effect = binding?.address === undefined ? '' : ', and do not go through the waypoint'
  return [
    `connections to ${joined(bare)} are not recognised${effect}: ${why}; write spec.addresses${resolution === 'NONE' ? ', or use resolution DNS' : ''}`,
  ]
}

function withoutEndpoint({ resolution, endpoints, selector, isImplicit }: ParsedEntry): string[] {
  if (resolution === 'NONE' || isImplicit || selector !== undefined || endpoints.length > 0) return []
  return ['there is no endpoint: connections are refused']
}

function sharedAddresses(services: readonly Service[]): string[] {
  const [first, second] = services
  const [one] = first?.vips ?? []
  const [other] = second?.vips ?? []
  if (
    first === undefined ||
    one === undefined ||
    other === undefined ||
    one.cidr.ip !== other.cidr.ip ||
    one.cidr.prefix !== other.cidr.prefix
  )
    return []
  return [`its hosts share addresses: connections to them count as ${first.hostname}`]
}
