// Why ztunnel refuses or ends a connection: one row per reason, with the fault's side, the metric flag, the status that a
// peer's CONNECT gets, and what the operator checks.
import { IDENTITY_ERRORS } from '../identity/errors.ts'
import { failures } from '../kit/error.ts'
import type { ErrorRow } from '../kit/error.ts'

/** code -> row */
export const ERRORS = {
  NO_ORIGINAL_DST: {
    source: 'downstream',
    retry: 'no',
    message: 'the connection was not captured: nothing says where it was going',
    hint: 'port 15001 is for captured connections only',
  },
  SELF_CALL: { source: 'downstream', retry: 'no', message: "the destination is a port of the mesh's own", status: 503 },
  SOURCE_UNKNOWN: {
    source: 'internal',
    retry: 'yes',
    message: 'the source pod is not known from the control plane',
    hint: 'check `weft ztunnel-config workloads`',
  },
  SOURCE_PENDING: {
    source: 'internal',
    retry: 'yes',
    message: 'the source pod is labelled for the mesh but its enrolment failed',
    hint: 'see the events of the pod',
  },
  UNKNOWN_DESTINATION: {
    source: 'upstream',
    retry: 'yes',
    message: 'an address of the mesh that no workload or service has',
    hint: 'is the pod gone? check `weft ztunnel-config workloads`',
  },
  DESTINATION_PENDING: {
    source: 'upstream',
    retry: 'yes',
    message: 'the destination is labelled for the mesh but its enrolment failed',
    hint: 'see the events of the destination pod',
  },
  NO_HEALTHY_UPSTREAM: {
    source: 'upstream',
    retry: 'yes',
    flag: 'CONNECT',
    message: 'no healthy upstream',
    hint: 'no ready endpoint has this port of the service',
  },
  NAME_NOT_RESOLVED: {
    source: 'upstream',
    retry: 'yes',
    flag: 'CONNECT',
    message: 'no endpoint of the service is known: they have names, and no name server answered',
    hint: 'ask for the endpoints of the ServiceEntry from the node: does its name server know them?',
  },
  UNKNOWN_WAYPOINT: {
    source: 'upstream',
    retry: 'yes',
    flag: 'CONNECT',
    message: 'unknown waypoint',
    hint: 'the waypoint is absent or not ready; it is not bypassed',
  },
  OTHER_NETWORK: { source: 'upstream', retry: 'no', message: 'the destination is on another network, which is not supported' },
  DIAL_FAILED: {
    source: 'upstream',
    retry: 'yes',
    flag: 'CONNECT',
    status: 503,
    message: 'connection failed',
    hint: 'nothing listens there, or a NetworkPolicy rejects it',
  },
  DIAL_TIMEOUT: {
    source: 'upstream',
    retry: 'yes',
    flag: 'CONNECT',
    status: 503,
    message: 'connection timed out',
    hint: 'maybe a NetworkPolicy is blocking HBONE port 15008',
  },
  TLS_FAILED: {
    source: 'upstream',
    retry: 'yes',
    flag: 'TLS_FAILURE',
    message: 'TLS handshake failed',
    hint: 'do both sides have the same root? see `weft ztunnel-config certificates`',
  },
  HANDSHAKE_FAILED: {
    source: 'downstream',
    retry: 'no',
    flag: 'TLS_FAILURE',
    message: 'a peer did not finish its TLS handshake',
    hint: 'only mesh proxies may dial port 15008',
  },
  ALPN_MISSING: { source: 'downstream', retry: 'no', flag: 'TLS_FAILURE', message: 'the peer did not agree on HTTP/2 (ALPN h2)' },
  PEER_REFUSED: { source: 'downstream', retry: 'no', flag: 'IDENTITY_ERROR', message: "the peer's certificate was refused" },
  TOO_MANY_HANDSHAKES: { source: 'downstream', retry: 'yes', message: 'too many TLS handshakes under way' },
  CERTIFICATE_TIMEOUT: IDENTITY_ERRORS.CERTIFICATE_TIMEOUT,
  BAD_AUTHORITY: { source: 'downstream', retry: 'no', status: 400, message: 'the CONNECT authority is not ip:port or host:port' },
  WRONG_AUTHORITY: { source: 'downstream', retry: 'no', status: 400, message: 'the CONNECT authority is not this pod' },
  DESTINATION_UNKNOWN: { source: 'internal', retry: 'yes', status: 503, message: 'this pod is not known from the control plane' },
  UNKNOWN_HOST: {
    source: 'downstream',
    retry: 'no',
    status: 503,
    message: 'the CONNECT authority names a host or port that this pod does not serve',
  },
  POLICY_DENIED: {
    source: 'downstream',
    retry: 'no',
    flag: 'DENY',
    status: 401,
    message: 'connection denied by policy',
    hint: 'see `weft ztunnel-config policies`',
  },
  WAYPOINT_REQUIRED: {
    source: 'downstream',
    retry: 'no',
    flag: 'DENY',
    status: 401,
    message: 'this port is reached through a waypoint only',
    hint: 'dial the service, not the pod; or take the waypoint off with `istio.io/use-waypoint: none`',
  },
  BAD_SOURCE: {
    source: 'downstream',
    retry: 'no',
    status: 400,
    message: 'the waypoint named an original client that is no identity of this mesh',
    hint: 'is the waypoint of the same version?',
  },
  POLICY_CHANGED: {
    source: 'downstream',
    retry: 'no',
    flag: 'DENY',
    message: 'connection closed due to policy change',
    hint: 'see `weft ztunnel-config policies`',
  },
  WORKLOAD_REMOVED: { source: 'internal', retry: 'no', message: 'connection closed because its pod was removed from the mesh' },
  DRAINED: { source: 'internal', retry: 'yes', message: 'connection closed due to connection drain' },
  LIMIT_REACHED: {
    source: 'internal',
    retry: 'yes',
    status: 503,
    message: 'too many connections or open files',
    hint: 'raise RLIMIT_NOFILE or WEFT_MAX_POD_CONNECTIONS',
  },
  LISTEN_FAILED: {
    source: 'internal',
    retry: 'yes',
    message: 'a listener could not be opened in the pod',
    hint: 'does the app itself use 15001, 15006, 15008 or 15053?',
  },
  NO_POD_INFO: { source: 'downstream', retry: 'no', message: 'a pod was announced without name, namespace and service account' },
  THREAD_FAILED: { source: 'internal', retry: 'yes', message: 'a data thread failed' },
  LOCAL_XDS_INVALID: { source: 'internal', retry: 'no', message: 'the file of LOCAL_XDS_PATH is not valid' },
} as const satisfies Record<string, ErrorRow>

/** Code of a refusal or failure. */
export type ZtunnelCode = keyof typeof ERRORS

/** Builds (does not throw) an error of this table. */
export const ztunnelFailure = failures(ERRORS)
