// What is known of a waypoint -> status of its Gateway; and that of GatewayClasses which name our controller.
import { isDeepStrictEqual } from 'node:util'
import { GATEWAY_CONTROLLER, GATEWAY_GROUP, type Gateway, type GatewayClass, type GatewayListener } from '../../model/gateway-api.ts'
import type { GatewayListenerStatus, GatewayStatus, RouteGroupKind } from '../../model/gateway-api.ts'
import type { Condition } from '../../model/object.ts'
import type { Finding } from '../translate/gateway/finding.ts'
import type { GatewayFacts } from '../translate/gateway/routes.ts'
import { WAYPOINT_CLASSES, WAYPOINT_PORT } from '../waypoint-class.ts'
import { mergeConditions, type Moment } from './merge.ts'

const OWN_GATEWAY: ReadonlySet<string> = new Set(['Accepted', 'Programmed'])
const OWN_LISTENER: ReadonlySet<string> = new Set(['Accepted', 'Programmed', 'ResolvedRefs', 'Conflicted'])
const OWN_CLASS: ReadonlySet<string> = new Set(['Accepted'])
const ROUTE_KINDS: readonly RouteGroupKind[] = [
  { group: GATEWAY_GROUP, kind: 'GRPCRoute' },
  { group: GATEWAY_GROUP, kind: 'HTTPRoute' },
]

/** What the rest of the control plane knows of a Gateway. */
export interface GatewayState {
  /** A waypoint of it has accepted all that it must hold. */
  readonly isProgrammed: boolean
  /** A pod of it takes connections. */
  readonly isReady: boolean
  /** Why it has no working waypoint, in a sentence; undefined = nothing is wrong. */
  readonly problem: string | undefined
}

/** @param now RFC 3339. @returns the status to write; undefined = it says so already */
export function gatewayStatus(object: Gateway, facts: GatewayFacts, state: GatewayState, now: string): GatewayStatus | undefined {
  const moment = { generation: object.metadata.generation ?? 0, now }
  const given: unknown = object.spec?.listeners
  const listeners = (Array.isArray(given) ? (given as readonly GatewayListener[]) : []).map((listener) => ({
    listener,
    accepted: listenerAcceptance(listener),
  }))
  const hasGood = listeners.some(({ accepted }) => accepted.status === 'True')
  const programmed = programming(facts, state, hasGood)
  const own = [acceptance(object, listeners), programmed]
  const old = object.status
  const next = {
    addresses: facts.addresses,
    conditions: mergeConditions(old?.conditions, own, OWN_GATEWAY, moment),
    listeners: listeners.map(({ listener, accepted }) => {
      const before = old?.listeners?.find(({ name }) => name === listener.name)
      return listenerStatus(listener, accepted, programmed, facts.attachedRoutes, before?.conditions, moment)
    }),
  }
  const before = { addresses: old?.addresses ?? [], conditions: old?.conditions ?? [], listeners: old?.listeners ?? [] }
  return isDeepStrictEqual(next, before) ? undefined : next
}

/** @returns the status to write; undefined = it says so already, or the class is another controller's */
export function classStatus(object: GatewayClass, now: string): GatewayClass['status'] | undefined {
  if (object.spec?.controllerName !== GATEWAY_CONTROLLER) return undefined
  const isKnown = WAYPOINT_CLASSES.includes(object.metadata.name)
  const finding = isKnown
    ? found('Accepted', 'True', 'Accepted', 'Gateways of this class are waypoints')
    : found('Accepted', 'False', 'Unsupported', `only the classes ${WAYPOINT_CLASSES.join(' and ')} are supported`)
  const moment = { generation: object.metadata.generation ?? 0, now }
  const old = object.status?.conditions
  const conditions = mergeConditions(old, [finding], OWN_CLASS, moment)
  return conditions === old ? undefined : { conditions }
}

function acceptance(object: Gateway, listeners: readonly { readonly accepted: Finding }[]): Finding {
  if ((object.spec?.addresses ?? []).length > 0)
    return found(
      'Accepted',
      'False',
      'UnsupportedAddress',
      'the address of a waypoint is that of its Service; spec.addresses is not supported',
    )
  if (object.spec?.infrastructure?.parametersRef !== undefined)
    return found('Accepted', 'False', 'InvalidParameters', 'spec.infrastructure.parametersRef is not supported')
  const bad = listeners.filter(({ accepted }) => accepted.status !== 'True').length
  if (listeners.length === bad)
    return found('Accepted', 'False', 'ListenersNotValid', `needs a listener of protocol HBONE on port ${WAYPOINT_PORT}`)
  if (bad > 0) return found('Accepted', 'True', 'ListenersNotValid', `${bad} of ${listeners.length} listeners are not served`)
  return found('Accepted', 'True', 'Accepted', 'is a waypoint')
}

function programming({ addresses }: GatewayFacts, { isProgrammed, isReady, problem }: GatewayState, hasGood: boolean): Finding {
  if (!hasGood) return found('Programmed', 'False', 'Invalid', 'no listener is served')
  if (problem !== undefined) return found('Programmed', 'False', 'Invalid', problem)
  if (addresses.length === 0) return found('Programmed', 'False', 'AddressNotAssigned', 'its Service has no address yet')
  if (!isProgrammed) return found('Programmed', 'False', 'Pending', 'no waypoint has taken the newest configuration yet')
  if (!isReady) return found('Programmed', 'False', 'Pending', 'no pod of the waypoint is ready')
  return found('Programmed', 'True', 'Programmed', 'a waypoint serves it')
}

function listenerAcceptance({ protocol, port }: GatewayListener): Finding {
  if (protocol !== 'HBONE') return found('Accepted', 'False', 'UnsupportedProtocol', 'waypoints have listeners of protocol HBONE only')
  if (port !== WAYPOINT_PORT) return found('Accepted', 'False', 'PortUnavailable', `waypoints listen on port ${WAYPOINT_PORT}`)
  return found('Accepted', 'True', 'Accepted', 'is served')
}

function listenerStatus(
  listener: GatewayListener,
  accepted: Finding,
  programmed: Finding,
  attachedRoutes: number,
  before: readonly Condition[] | undefined,
  moment: Moment,
): GatewayListenerStatus {
  const isServed = accepted.status === 'True'
  const wanted = listener.allowedRoutes?.kinds ?? []
  const isKnown = ({ group, kind }: RouteGroupKind): boolean =>
    ROUTE_KINDS.some((row) => row.kind === kind && (group ?? GATEWAY_GROUP) === row.group)
  const findings = [
    accepted,
    isServed ? programmed : found('Programmed', 'False', 'Invalid', 'the listener is not accepted'),
    wanted.every(isKnown)
      ? found('ResolvedRefs', 'True', 'ResolvedRefs', 'all references are good')
      : found('ResolvedRefs', 'False', 'InvalidRouteKinds', 'only HTTPRoute and GRPCRoute are supported'),
    found('Conflicted', 'False', 'NoConflicts', 'no other listener is in the way'),
  ]
  return {
    name: listener.name,
    supportedKinds: !isServed
      ? []
      : wanted.length === 0
        ? ROUTE_KINDS
        : ROUTE_KINDS.filter(({ kind }) => wanted.some((each) => isKnown(each) && each.kind === kind)),
    // A waypoint's routes name the services behind it; what counts is how many of them are in force here.
    attachedRoutes: isServed ? attachedRoutes : 0,
    conditions: mergeConditions(before, findings, OWN_LISTENER, moment),
  }
}

function found(type: string, status: Finding['status'], reason: string, message: string): Finding {
  return { type, status, reason, message }
}
