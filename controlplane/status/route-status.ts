// What is said of a route -> its status. `parents` of other controllers stay as they are; ours that are no longer named go.
import { isDeepStrictEqual } from 'node:util'
import { GATEWAY_CONTROLLER, type GrpcRoute, type HttpRoute, type RouteParentStatus, type RouteStatus } from '../../model/gateway-api.ts'
import type { ParentOutcome } from '../translate/gateway/finding.ts'
import { explicitParent } from '../translate/gateway/parents.ts'
import { mergeConditions } from './merge.ts'

const OWN: ReadonlySet<string> = new Set(['Accepted', 'ResolvedRefs', 'PartiallyInvalid'])
/** Limit of the API. */
const MAX_PARENTS = 32

/** @param now RFC 3339. @returns the status to write; undefined = it says so already */
export function routeStatus(object: HttpRoute | GrpcRoute, outcomes: readonly ParentOutcome[], now: string): RouteStatus | undefined {
  const given: unknown = object.status?.parents
  const before: readonly RouteParentStatus[] = Array.isArray(given) ? given : []
  const foreign = before.filter(({ controllerName }) => controllerName !== GATEWAY_CONTROLLER)
  const moment = { generation: object.metadata.generation ?? 0, now }
  const ours = outcomes.map(({ parentRef, findings }): RouteParentStatus => {
    const old = before.find(
      (entry) => entry.controllerName === GATEWAY_CONTROLLER && isDeepStrictEqual(explicitParent(entry.parentRef), parentRef),
    )
    return { parentRef, controllerName: GATEWAY_CONTROLLER, conditions: mergeConditions(old?.conditions, findings, OWN, moment) }
  })
  const parents = [...foreign, ...ours].slice(0, MAX_PARENTS)
  return isDeepStrictEqual(parents, before) ? undefined : { parents }
}
