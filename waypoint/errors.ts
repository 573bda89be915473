// Why a waypoint refuses, ends or answers for somebody: one row per reason. `flag` is the response flag as Envoy names it
// (label `response_flags`), `status` what the client of the request, or the peer of a CONNECT, gets.
import { failures, MeshError } from '../kit/error.ts'
import type { ErrorRow } from '../kit/error.ts'

/** code -> row */
export const ERRORS = {
  HANDSHAKE_FAILED: {
    source: 'downstream',
    retry: 'no',
    message: 'a peer did not finish its TLS handshake',
    hint: 'only mesh proxies may dial port 15008',
  },
  ALPN_MISSING: { source: 'downstream', retry: 'no', message: 'the peer did not agree on HTTP/2 (ALPN h2)' },
  PEER_REFUSED: { source: 'downstream', retry: 'no', message: "the peer's certificate was refused" },
  TOO_MANY_HANDSHAKES: { source: 'downstream', retry: 'yes', message: 'too many TLS handshakes under way' },
  TOO_MANY_TUNNELS: {
    source: 'internal',
    retry: 'yes',
    status: 503,
    flag: 'UO',
    message: 'too many tunnels are open',
    hint: 'raise WEFT_MAX_TUNNELS or run more waypoints',
  },
  BAD_AUTHORITY: { source: 'downstream', retry: 'no', status: 400, message: 'the CONNECT authority is not ip:port or host:port' },
  NOT_SERVED: {
    source: 'downstream',
    retry: 'no',
    status: 404,
    flag: 'NR',
    message: 'the CONNECT authority is neither a service nor a pod of this waypoint',
    hint: 'does the service or namespace carry `istio.io/use-waypoint` with the name of this Gateway?',
  },
  AMBIGUOUS_PATH: {
    source: 'downstream',
    retry: 'no',
    status: 400,
    flag: 'DPE',
    message: 'without its parameters the path would take another rule',
    hint: 'a rule for the exact path with its `;x=y` says that they are meant',
  },
  NO_ROUTE: { source: 'downstream', retry: 'no', status: 404, flag: 'NR', message: 'no route matches the request' },
  RATE_LIMITED: { source: 'downstream', retry: 'no', status: 429, flag: 'RL', message: 'local rate limited' },
  GLOBAL_RATE_LIMITED: { source: 'downstream', retry: 'no', status: 429, flag: 'RL', message: 'rate limited' },
  RATE_LIMIT_FAILED: {
    source: 'internal',
    retry: 'no',
    status: 500,
    flag: 'RLSE',
    message: 'rate limit service error',
    hint: 'does the service of the RateLimitPolicy answer within its timeout, and may the waypoint call it? `failureMode: open` lets requests pass',
  },
  FAULT_ABORT: { source: 'internal', retry: 'no', status: 503, flag: 'FI', message: 'fault filter abort' },
  INVALID_BACKEND: {
    source: 'internal',
    retry: 'no',
    status: 500,
    flag: 'NC',
    message: 'the route has no usable backend',
    hint: 'see the status of the route: ResolvedRefs',
  },
  NO_HEALTHY_UPSTREAM: {
    source: 'upstream',
    retry: 'yes',
    status: 503,
    flag: 'UH',
    message: 'no healthy upstream',
    hint: 'no ready endpoint has this port of the service',
  },
  UPSTREAM_OVERFLOW: {
    source: 'internal',
    retry: 'no',
    status: 503,
    flag: 'UO',
    message: 'upstream connect error or disconnect/reset before headers: overflow',
    hint: 'a limit of the connectionPool of the DestinationRule was reached',
  },
  CONNECT_FAILED: {
    source: 'upstream',
    retry: 'yes',
    status: 503,
    flag: 'UF',
    message: 'upstream connect error: connection failure',
    hint: 'nothing listens there, or a NetworkPolicy rejects it',
  },
  CONNECT_TIMEOUT: {
    source: 'upstream',
    retry: 'yes',
    status: 503,
    flag: 'UF',
    message: 'upstream connect error: connection timeout',
    hint: 'maybe a NetworkPolicy blocks port 15008',
  },
  TLS_FAILED: { source: 'upstream', retry: 'yes', status: 503, flag: 'UF', message: 'TLS handshake with the endpoint failed' },
  UPSTREAM_RESET: {
    source: 'upstream',
    retry: 'no',
    status: 503,
    flag: 'UC',
    message: 'upstream connect error or disconnect/reset before headers',
  },
  TRY_TIMEOUT: { source: 'upstream', retry: 'no', status: 504, flag: 'UT', message: 'upstream request timeout' },
  REQUEST_TIMEOUT: { source: 'upstream', retry: 'no', status: 504, flag: 'UT', message: 'request timeout' },
  RETRIES_EXHAUSTED: { source: 'upstream', retry: 'no', flag: 'URX', message: 'the last of several tries failed too' },
  POLICY_DENIED: {
    source: 'downstream',
    retry: 'no',
    status: 403,
    message: 'RBAC: access denied',
    hint: 'see `weft ztunnel-config policies`',
  },
  POLICY_CHANGED: { source: 'downstream', retry: 'no', message: 'connection closed due to policy change' },
  CLIENT_GONE: { source: 'downstream', retry: 'no', flag: 'DC', message: 'the client went away' },
  INTERNAL: {
    source: 'internal',
    retry: 'no',
    status: 500,
    message: 'the request could not be processed',
    hint: 'see the log of the waypoint',
  },
  SUPERSEDED: { source: 'internal', retry: 'no', message: 'another try took the place of this one' },
  DRAINED: { source: 'internal', retry: 'yes', status: 503, message: 'connection closed due to connection drain' },
} as const satisfies Record<string, ErrorRow>

/** Code of a refusal or failure. */
export type WaypointCode = keyof typeof ERRORS

/** Builds (does not throw) an error of this table. */
export const waypointFailure = failures(ERRORS)

/** Turns any thrown value into an error with a code. */
export function asMeshError(error: unknown, otherwise: WaypointCode): MeshError {
  return error instanceof MeshError ? error : waypointFailure(otherwise, {}, error)
}

/** The HTTP status of an error towards a client. */
export function statusOf(error: MeshError): number {
  return error.row.status ?? 503
}
