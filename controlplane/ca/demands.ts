// What an admitted caller may ask for over xDS: a node's proxy what every node gets, a waypoint that and its own gateway's routes.
import type { Clock } from '../../kit/clock.ts'
import { type Result, success } from '../../kit/error.ts'
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, BACKEND_TYPE, gatewayGroup, LISTENER_TYPE, NETWORKS_TYPE } from '../../xds/kinds.ts'
import type { XdsCaller } from '../../xds/delta-server.ts'
import { type Caller, type CallerCheck, checkCaller, whyLapsed } from './caller.ts'
import { expiryMs } from './token-cache.ts'

const OF_WAYPOINTS: ReadonlySet<string> = new Set([LISTENER_TYPE, BACKEND_TYPE])
const OF_EVERYBODY: ReadonlySet<string> = new Set([ADDRESS_TYPE, AUTHORIZATION_TYPE, NETWORKS_TYPE])

/** A token that the API server has just taken counts for so long, whatever this clock says of its end: clocks differ. */
const LEAST_MS = 60_000

/** Checks who opens a stream. What is said there counts until the token ends, the pod goes, or a waypoint's Gateway does. */
export async function admitCaller(token: string, check: CallerCheck, clock: Clock): Promise<Result<XdsCaller>> {
  const caller = await checkCaller(token, check)
  if (!caller.ok) return caller
  const untilMs = Math.max(expiryMs(token) ?? Number.POSITIVE_INFINITY, clock.nowMs() + LEAST_MS)
  const lapse = (): string | undefined => (clock.nowMs() >= untilMs ? 'its token has expired' : whyLapsed(caller.value, check))
  return success({ ...xdsCallerOf(caller.value), lapse })
}

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
