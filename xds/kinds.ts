// The resource types that travel over xDS in this mesh, and the names their resources have.

/** Workloads (named by uid) and services (named `namespace/hostname`). */
export const ADDRESS_TYPE = 'type.googleapis.com/istio.workload.Address'
/** Policies, named `namespace/name`. */
export const AUTHORIZATION_TYPE = 'type.googleapis.com/istio.security.Authorization'
/** The mesh's address blocks: one resource named NETWORKS_NAME. */
export const NETWORKS_TYPE = 'type.googleapis.com/weft.mesh.v1.Networks'
/** What a waypoint does with one port of a service, named `GATEWAY-NAMESPACE/GATEWAY/NAMESPACE/HOSTNAME/PORT`. */
export const LISTENER_TYPE = 'type.googleapis.com/weft.gateway.v1.Listener'
/** How a waypoint treats the endpoints of a service, named `namespace/hostname`. */
export const BACKEND_TYPE = 'type.googleapis.com/weft.gateway.v1.Backend'
/** Name of the only resource of NETWORKS_TYPE. */
export const NETWORKS_NAME = 'default'
/** Type of the extension that marks a workload as pending. */
export const PENDING_TYPE = 'type.googleapis.com/weft.workload.v1.Pending'

/** Largest xDS message that a client takes: the number published by ztunnel. */
export const MAX_PUSH_BYTES = 200 * 1024 * 1024

/** @param gateway `namespace/name` @returns the group of the listeners and backends of that gateway: the one name that its waypoint asks for */
export function gatewayGroup(gateway: string): string {
  return `gateway/${gateway}`
}
