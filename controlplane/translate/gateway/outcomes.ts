// What is said of a route at each of its parents: from what is in force there, and from nothing else.
import { accepted, type Finding, type ParentOutcome } from './finding.ts'
import type { Refusal } from './attach.ts'
import { explicitParent, type ParentPlace } from './parents.ts'
import type { RouteTranslation } from './route.ts'

const BECAUSE: Readonly<Record<Refusal, string>> = {
  conflicted: 'a GRPCRoute of the same namespace has the port, which comes before HTTPRoutes',
  full: 'older routes take all the room that the port has',
}

/** @param refusals per parent the ports where the route is not in force */
export function outcomesOf(
  route: RouteTranslation,
  places: readonly ParentPlace[],
  refusals: readonly (ReadonlyMap<number, Refusal> | undefined)[],
): readonly ParentOutcome[] {
  return route.parents.flatMap((parent, i) => {
    const place = places[i]
    if (place === undefined || place.kind === 'foreign') return []
    const first = place.kind === 'refused' ? place.finding : acceptance(route, place.ports, refusals[i])
    // PartiallyInvalid is said of accepted routes only.
    const others = route.others.filter(({ type }) => type !== 'PartiallyInvalid' || first.status === 'True')
    return [{ parentRef: explicitParent(parent), findings: [first, ...others] }]
  })
}

function acceptance(route: RouteTranslation, ports: readonly number[], refused: ReadonlyMap<number, Refusal> | undefined): Finding {
  if (route.accepted.status !== 'True') return route.accepted
  const lost = ports.flatMap((port) => {
    const refusal = refused?.get(port)
    return refusal === undefined ? [] : [{ port, refusal }]
  })
  const [first] = lost
  if (first === undefined) return route.accepted
  const message = lost.map(({ port, refusal }) => `port ${port}: ${BECAUSE[refusal]}`).join('; ')
  if (lost.length < ports.length) return accepted('Accepted', `${route.accepted.message}, but not everywhere: ${message}`)
  // GEP-1294 names the reason; it has no constant in the API.
  return accepted(first.refusal === 'conflicted' ? 'Conflicted' : 'UnsupportedValue', message)
}
