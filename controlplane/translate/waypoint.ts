// Which waypoint a service or pod must be reached through. Stricter than Istio: a waypoint that is named and absent, or that does
// not admit the object, is published as one that nobody can reach, so that its L7 policies are never bypassed.
import type { Gateway } from '../../model/gateway-api.ts'
import type { MeshObject, Namespace, StringMap } from '../../model/object.ts'
import { labelsMatch } from './mesh.ts'
import { hostnameOf, type MeshNames } from './mesh.ts'
import type { GatewayAddress } from '../../model/workload.ts'

const USE_WAYPOINT = 'istio.io/use-waypoint'
const USE_WAYPOINT_NAMESPACE = 'istio.io/use-waypoint-namespace'
const WAYPOINT_FOR = 'istio.io/waypoint-for'
const GATEWAY_NAME = 'gateway.networking.k8s.io/gateway-name'
const HBONE_PORT = 15008
const CLASSES = ['istio-waypoint', 'weft-waypoint']
/** Never resolves: `.invalid` is reserved for that (RFC 2606). */
const NOT_ADMITTED = 'waypoint-not-admitted.invalid'
/** Labels may hold what is no object's name. */
const NAME = /^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$/

/** Traffic that a waypoint takes. */
export type TrafficKind = 'service' | 'workload'

/** Waypoints of the mesh by `namespace/name`. */
export function indexWaypoints(gateways: Iterable<Gateway>): ReadonlyMap<string, Gateway> {
  const found = new Map<string, Gateway>()
  for (const gateway of gateways) {
    if (CLASSES.includes(gateway.spec?.gatewayClassName ?? ''))
      found.set(`${gateway.metadata.namespace ?? ''}/${gateway.metadata.name}`, gateway)
  }
  return found
}

/**
 * The waypoint of an object, by its own label or its namespace's.
 * @returns undefined when none is named, `none` is, the object is the waypoint itself, or the waypoint takes other traffic
 */
export function waypointOf(
  object: MeshObject,
  namespace: Namespace | undefined,
  kind: TrafficKind,
  waypoints: ReadonlyMap<string, Gateway>,
  names: MeshNames,
): GatewayAddress | undefined {
  const own = object.metadata.labels ?? {}
  const isOwn = own[USE_WAYPOINT] !== undefined
  const labels: StringMap = isOwn ? own : (namespace?.metadata.labels ?? {})
  const name = labels[USE_WAYPOINT] ?? ''
  if (name === '' || name === 'none') return undefined
  const from = object.metadata.namespace ?? ''
  const place = labels[USE_WAYPOINT_NAMESPACE] ?? from
  if (own[GATEWAY_NAME] === name && place === from) return undefined
  if (!NAME.test(name) || !NAME.test(place)) return { kind: 'hostname', namespace: from, hostname: NOT_ADMITTED, hbonePort: HBONE_PORT }
  const gateway = waypoints.get(`${place}/${name}`)
  const address = { kind: 'hostname', namespace: place, hostname: hostnameOf(names, place, name), hbonePort: HBONE_PORT } as const
  // Absent: its traffic kind is unknown. A pod that names it by itself means itself; a namespace means its services (the default).
  if (gateway === undefined) return kind === 'service' || isOwn ? address : undefined
  if (!takes(gateway, kind)) return undefined
  return admits(gateway, from, namespace) ? address : { ...address, hostname: NOT_ADMITTED }
}

function takes(gateway: Gateway, kind: TrafficKind): boolean {
  const wanted = gateway.metadata.labels?.[WAYPOINT_FOR] ?? 'service'
  return wanted === 'all' || wanted === kind
}

interface AllowedRoutes {
  readonly allowedRoutes?: { readonly namespaces?: { readonly from?: string; readonly selector?: { readonly matchLabels?: StringMap } } }
}

function admits(gateway: Gateway, from: string, namespace: Namespace | undefined): boolean {
  if (gateway.metadata.namespace === from) return true
  const listeners: unknown = gateway.spec?.listeners
  return (Array.isArray(listeners) ? listeners : []).some((listener: AllowedRoutes | null) => {
    const rule = listener?.allowedRoutes?.namespaces
    if (rule?.from === 'All') return true
    return rule?.from === 'Selector' && labelsMatch(rule.selector?.matchLabels ?? {}, namespace?.metadata.labels)
  })
}
