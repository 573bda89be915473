// Which Gateways are waypoints, and what a waypoint's parts are called: everything takes the Gateway's name, so that the account,
// the host name and the pods of a waypoint follow from it. Read by deploy/ and translate/.
import type { Gateway } from '../model/gateway-api.ts'
import type { MeshObject, OwnerReference } from '../model/object.ts'

/** Classes of Gateways that are waypoints. */
export const WAYPOINT_CLASSES: readonly string[] = ['istio-waypoint', 'weft-waypoint']
/** Label of a waypoint's parts: name of its Gateway. */
export const GATEWAY_NAME_LABEL = 'gateway.networking.k8s.io/gateway-name'
/** Label of a waypoint's parts: class of its Gateway. */
export const GATEWAY_CLASS_LABEL = 'gateway.networking.k8s.io/gateway-class-name'
/** Where a waypoint takes HBONE. */
export const WAYPOINT_PORT = 15008

/** Whether the Gateway asks for a waypoint. */
export function isWaypoint(gateway: Gateway): boolean {
  return WAYPOINT_CLASSES.includes(gateway.spec?.gatewayClassName ?? '')
}

/** The service account that a waypoint runs as, in its Gateway's namespace; nothing else should run as it. */
export function waypointAccountOf(gateway: Gateway): string {
  return gateway.metadata.name
}

/** Whether the object belongs to the Gateway: names it as its controlling owner, by uid. */
export function isOwnedBy(object: MeshObject, gateway: Gateway): boolean {
  const { uid } = gateway.metadata
  const owners: unknown = object.metadata.ownerReferences // hostile until it is a list
  if (uid === undefined || !Array.isArray(owners)) return false
  return owners.some((owner: OwnerReference | null) => owner?.uid === uid && owner.controller === true)
}
