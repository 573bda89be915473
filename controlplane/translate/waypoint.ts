// Which waypoint a service or pod must be reached through. Stricter than Istio: a waypoint that is named and absent, or that does
// not admit the object, is published as one that nobody can reach, so that its L7 policies are never bypassed.
import { isDeepStrictEqual } from 'node:util'
import type { Gateway } from '../../model/gateway-api.ts'
import { type MeshObject, type Namespace, selectorMatches, type StringMap } from '../../model/object.ts'
import type { GatewayAddress } from '../../model/workload.ts'
import { GATEWAY_NAME_LABEL, isWaypoint, WAYPOINT_PORT } from '../waypoint-class.ts'
import { hostnameOf, type MeshNames } from './mesh.ts'

const USE_WAYPOINT = 'istio.io/use-waypoint'
const USE_WAYPOINT_NAMESPACE = 'istio.io/use-waypoint-namespace'
const WAYPOINT_FOR = 'istio.io/waypoint-for'
/** Never resolves: `.invalid` is reserved for that (RFC 2606). */
const NOT_ADMITTED = 'waypoint-not-admitted.invalid'
const ABSENT = 'waypoint-absent.invalid'
/** Labels may hold what is no object's name. */
const NAME = /^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$/

/** Traffic that a waypoint takes. */
export type TrafficKind = 'service' | 'workload'

/** What became of a named waypoint; the reasons are Istio's, of the condition `istio.io/WaypointBound`. */
export interface WaypointBinding {
  readonly reason: 'WaypointAccepted' | 'WaypointIsNotReady' | 'AttachmentDenied' | 'UnsupportedTrafficType'
  /** `namespace/name` as the labels say. */
  readonly waypoint: string
  /** Where traffic must go; undefined = straight to the object (the waypoint takes other traffic). */
  readonly address: GatewayAddress | undefined
}

/** Waypoints of the mesh by `namespace/name`. */
export function indexWaypoints(gateways: Iterable<Gateway>): ReadonlyMap<string, Gateway> {
  const found = new Map<string, Gateway>()
  for (const gateway of gateways)
    if (isWaypoint(gateway)) found.set(`${gateway.metadata.namespace ?? ''}/${gateway.metadata.name}`, gateway)
  return found
}

/** Whether two sets of waypoints differ in nothing but the status of Gateways. */
export function hasSameWaypoints(a: ReadonlyMap<string, Gateway>, b: ReadonlyMap<string, Gateway>): boolean {
  const facts = ({ metadata: { uid, labels, annotations }, spec }: Gateway): unknown => ({ uid, labels, annotations, spec })
  const isSame = (gateway: Gateway, other: Gateway | undefined): boolean =>
    gateway === other || (other !== undefined && isDeepStrictEqual(facts(gateway), facts(other)))
  return a.size === b.size && [...a].every(([key, gateway]) => isSame(gateway, b.get(key)))
}

/**
 * The waypoint that an object names, by its own label or its namespace's. Whether it is ready is not looked at.
 * @returns undefined when none is named, `none` is, or the object is the service of a waypoint
 */
export function bindingOf(
  object: MeshObject,
  namespace: Namespace | undefined,
  kind: TrafficKind,
  waypoints: ReadonlyMap<string, Gateway>,
  names: MeshNames,
): WaypointBinding | undefined {
  const own = object.metadata.labels ?? {}
  const isOwn = own[USE_WAYPOINT] !== undefined
  const labels: StringMap = isOwn ? own : (namespace?.metadata.labels ?? {})
  const name = labels[USE_WAYPOINT] ?? ''
  if (name === '' || name === 'none') return undefined
  const from = object.metadata.namespace ?? ''
  if (kind === 'service' && own[GATEWAY_NAME_LABEL] === object.metadata.name && waypoints.has(`${from}/${object.metadata.name}`))
    return undefined
  const place = labels[USE_WAYPOINT_NAMESPACE] ?? from
  const waypoint = `${place}/${name}`
  const denied = { kind: 'hostname', namespace: from, hostname: NOT_ADMITTED, hbonePort: WAYPOINT_PORT } as const
  if (!NAME.test(name) || !NAME.test(place)) return { reason: 'WaypointIsNotReady', waypoint, address: denied }
  const gateway = waypoints.get(waypoint)
  const address = { kind: 'hostname', namespace: place, hostname: hostnameOf(names, place, name), hbonePort: WAYPOINT_PORT } as const
  if (gateway === undefined) {
    // Absent: its traffic kind is unknown. A pod that names it by itself means itself; a namespace means its services (the default).
    // A service of that name may exist and belong to anybody: it must not be found.
    const absent = { ...address, hostname: `${name}.${place}.${ABSENT}` }
    return { reason: 'WaypointIsNotReady', waypoint, address: kind === 'service' || isOwn ? absent : undefined }
  }
  if (!takes(gateway, kind)) return { reason: 'UnsupportedTrafficType', waypoint, address: undefined }
  if (!admits(gateway, from, namespace)) return { reason: 'AttachmentDenied', waypoint, address: { ...denied, namespace: place } }
  return { reason: 'WaypointAccepted', waypoint, address }
}

/** The binding with what is known of the waypoint's pods. @param ready Gateways with a pod that takes connections */
export function withReadiness(binding: WaypointBinding, ready: ReadonlySet<string>): WaypointBinding {
  return binding.reason === 'WaypointAccepted' && !ready.has(binding.waypoint) ? { ...binding, reason: 'WaypointIsNotReady' } : binding
}

function takes(gateway: Gateway, kind: TrafficKind): boolean {
  const wanted = gateway.metadata.labels?.[WAYPOINT_FOR] ?? 'service'
  return wanted === 'all' || wanted === kind
}

function admits(gateway: Gateway, from: string, namespace: Namespace | undefined): boolean {
  if (gateway.metadata.namespace === from) return true
  return (gateway.spec?.listeners ?? []).some((listener) => {
    const rule = listener.allowedRoutes?.namespaces
    if (rule?.from === 'All') return true
    return rule?.from === 'Selector' && selectorMatches(rule.selector, namespace?.metadata.labels)
  })
}
