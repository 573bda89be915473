// The record of one request: opened when its head has come, finished exactly once by the flow that opened it; then one access
// line is written and the counters are told. Fields are named as Istio's telemetry names them.
import type { Log } from '../kit/log.ts'
import type { MeshError } from '../kit/error.ts'
import type { Endpoint } from '../model/address.ts'
import { formatEndpoint } from '../model/address.ts'
import type { RequestHead } from '../model/http.ts'
import { headerOf } from '../model/http.ts'
import type { Service } from '../model/service.ts'
import { serviceKeyOf } from '../model/service.ts'
import type { Workload } from '../model/workload.ts'
import { isGrpc } from '../policy/http/grpc.ts'
import { GrpcMessageCounter } from '../telemetry/http-messages.ts'
import type { Client } from './context.ts'

/** What is known of a request when it has ended; times are monotonic ms, bytes are those of bodies. */
export interface RequestRecord {
  readonly client: Client
  /** What the client called. */
  readonly service: Service | undefined
  /** As the client sent it; `x-request-id` is there. */
  readonly request: RequestHead
  readonly startMs: number
  endMs: number
  /** Name of the route; undefined = none was found. */
  route: string | undefined
  /** The service that a route chose, the name of its cluster, and the last endpoint that was tried. */
  backend: Service | undefined
  cluster: string | undefined
  endpoint: { readonly to: Endpoint; readonly workload: Workload } | undefined
  /** Requests that were sent to endpoints. */
  tries: number
  /** The first byte of the final response's head. */
  responseMs: number | undefined
  bytesReceived: number
  bytesSent: number
  /** Counted while a gRPC call passes; undefined = it is none. */
  readonly messages: { readonly request: GrpcMessageCounter; readonly response: GrpcMessageCounter } | undefined
  /** 0 = no response was begun. */
  status: number
  grpcStatus: number | undefined
  /** Envoy's names, in the order in which they came up. */
  readonly flags: Set<string>
  /** Why it was refused or broke off. */
  error: MeshError | undefined
}

/** Takes what has ended: counters, histograms, spans. Must not throw. */
export interface RequestRecorder {
  ended(record: RequestRecord): void
  /** The answer of an endpoint begins: all but the counts and the end is known. Not called for a protocol switch. */
  answering?(record: RequestRecord): void
}

/** Opens a record. */
export function openRecord(client: Client, service: Service | undefined, request: RequestHead, startMs: number): RequestRecord {
  return {
    client,
    service,
    request,
    startMs,
    endMs: startMs,
    route: undefined,
    backend: undefined,
    cluster: undefined,
    endpoint: undefined,
    tries: 0,
    responseMs: undefined,
    bytesReceived: 0,
    bytesSent: 0,
    messages: isGrpc(request) ? { request: new GrpcMessageCounter(), response: new GrpcMessageCounter() } : undefined,
    status: 0,
    grpcStatus: undefined,
    flags: new Set(),
    error: undefined,
  }
}

/** Writes one line per request to scope `access`. */
export class RequestLog implements RequestRecorder {
  readonly #log: Log

  constructor(log: Log) {
    this.#log = log.scope('access')
  }

  ended(record: RequestRecord): void {
    this.#log.info('request complete', accessFields(record))
  }
}

/** Tells several recorders. */
export function allRecorders(recorders: readonly RequestRecorder[]): RequestRecorder {
  return {
    ended(record) {
      for (const recorder of recorders) recorder.ended(record)
    },
    answering(record) {
      for (const recorder of recorders) recorder.answering?.(record)
    },
  }
}

/** The fields of an access line. The query is left out: it often carries secrets. */
export function accessFields(record: RequestRecord): Readonly<Record<string, unknown>> {
  const { client, service, request, endpoint, error } = record
  return {
    method: request.method,
    path: request.path,
    protocol: request.version,
    authority: request.authority,
    response_code: record.status,
    response_flags: [...record.flags].join(',') || '-',
    ...(record.grpcStatus === undefined ? {} : { grpc_status: record.grpcStatus }),
    ...(error === undefined ? {} : { response_code_details: error.code, error: error.message }),
    route_name: record.route ?? '-',
    upstream_cluster: record.cluster ?? '-',
    upstream_host: endpoint === undefined ? '-' : formatEndpoint(endpoint.to),
    upstream_request_attempt_count: record.tries,
    bytes_received: record.bytesReceived,
    bytes_sent: record.bytesSent,
    duration: Math.round(record.endMs - record.startMs),
    request_id: headerOf(request.headers, 'x-request-id') ?? '-',
    user_agent: headerOf(request.headers, 'user-agent') ?? '-',
    'src.identity': client.id,
    'src.addr': client.ip,
    'src.workload': client.workload?.workloadName ?? '-',
    'src.namespace': client.identity.namespace,
    'dst.service': service === undefined ? '-' : service.hostname,
    'dst.namespace': service === undefined ? '-' : serviceKeyOf(service).split('/', 1)[0],
    'dst.workload': endpoint?.workload.workloadName ?? '-',
  }
}
