// What an admitted caller may ask for over xDS: a node's proxy what every node gets, a waypoint that and its own gateway's routes.
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, BACKEND_TYPE, gatewayGroup, LISTENER_TYPE, NETWORKS_TYPE } from '../../xds/kinds.ts'
import type { XdsCaller } from '../../xds/delta-server.ts'
import type { Caller } from './caller.ts'

const OF_WAYPOINTS: ReadonlySet<string> = new Set([LISTENER_TYPE, BACKEND_TYPE])
const OF_EVERYBODY: ReadonlySet<string> = new Set([ADDRESS_TYPE, AUTHORIZATION_TYPE, NETWORKS_TYPE])

/** The caller as the xDS server knows it. A waypoint asks for listeners and backends by the one name of its gateway's group. */
export function xdsCallerOf(caller: Caller): XdsCaller {
  const { namespace, podName, podUid, node } = caller
  const common = { key: podUid, label: `${namespace}/${podName} on ${node}` }
  if (caller.kind === 'node') return { ...common, gateway: undefined, mayDemand: (typeUrl) => !OF_WAYPOINTS.has(typeUrl) }
  const own = gatewayGroup(caller.gateway)
  return {
    ...common,
    gateway: caller.gateway,
    mayDemand: (typeUrl, name) => OF_EVERYBODY.has(typeUrl) || (OF_WAYPOINTS.has(typeUrl) && (name === undefined || name === own)),
  }
}
