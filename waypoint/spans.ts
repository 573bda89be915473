// The spans of a request, of its tries and of its mirrors: names and attributes as Envoy gives them in Istio, beside those of
// OpenTelemetry's conventions. Attributes are made only for spans that are recorded. Used by exchange/.
import { formatEndpoint } from '../model/address.ts'
import type { RequestHead } from '../model/http.ts'
import { headerOf } from '../model/http.ts'
import { spiffeIdOf } from '../model/identity.ts'
import { withTraceContext } from '../telemetry/trace-context.ts'
import { spanText } from '../telemetry/trace-span.ts'
import type { RequestTracer, TraceSpan } from '../telemetry/trace-span.ts'
import type { BalancedEndpoint, Outcome } from './balance/endpoint.ts'
import type { BackendCluster } from './clusters.ts'
import type { Target } from './decide.ts'
import type { RequestRecord } from './record.ts'

type Attributes = Parameters<TraceSpan['set']>[0]

/** Begins the span of a request; undefined = nothing is traced. */
export function beginRequest(tracing: RequestTracer | undefined, target: Target, head: RequestHead): TraceSpan | undefined {
  if (tracing === undefined) return undefined
  const name = target.kind === 'service' ? `${target.service.hostname}:${target.port}` : formatEndpoint(target.to)
  return tracing.begin(`${name}/*`, head.headers)
}

/**
 * Begins the span of a try or of a mirror.
 * @param resends tries that came before this one
 */
export function beginTry(
  request: TraceSpan | undefined,
  kind: 'router' | 'mirror',
  cluster: BackendCluster,
  endpoint: BalancedEndpoint,
  resends: number,
): TraceSpan | undefined {
  return request?.child(`${kind} ${cluster.name} egress`, request.isRecorded ? tryAttributes(cluster, endpoint, resends) : {})
}

/** The head as it is sent because of a span. */
export function tracedHead(head: RequestHead, span: TraceSpan | undefined): RequestHead {
  return span === undefined ? head : { ...head, headers: withTraceContext(head.headers, span.context) }
}

/** A response has come. */
export function answeredTry(span: TraceSpan | undefined, status: number): void {
  if (span?.isRecorded === true) span.set({ 'http.response.status_code': status })
}

/** Ends the span of a try. @param outcome without anything = given up by us or by the client */
export function endTry(span: TraceSpan | undefined, { status, failure }: Outcome): void {
  if (span?.isRecorded !== true) return
  const error = failure ?? (status !== undefined && status >= 500 ? String(status) : undefined)
  if (error !== undefined) span.set({ 'error.type': error })
  span.end(error)
}

/** Ends the span of a request. */
export function endRequest(span: TraceSpan | undefined, record: RequestRecord): void {
  if (span?.isRecorded !== true) return
  span.set(requestAttributes(record))
  const isError = record.status >= 500 || record.status === 0
  const error = isError ? (record.error?.code ?? String(record.status)) : undefined
  if (error !== undefined) span.set({ 'error.type': error })
  span.end(error)
}

function tryAttributes({ name }: BackendCluster, { to, workload }: BalancedEndpoint, resends: number): Attributes {
  return {
    'server.address': to.ip,
    'server.port': to.port,
    upstream_cluster: name,
    'istio.upstream.workload': workload.workloadName,
    'istio.upstream.namespace': workload.namespace,
    'istio.destination_principal': spiffeIdOf(workload),
    ...(resends === 0 ? {} : { 'http.request.resend_count': resends }),
  }
}

function requestAttributes(record: RequestRecord): Attributes {
  const { client, service, request, endpoint, messages, grpcStatus, status } = record
  const agent = headerOf(request.headers, 'user-agent')
  return {
    'http.request.method': spanText(request.method),
    'url.scheme': request.scheme,
    'url.path': spanText(request.path),
    'server.address': service?.hostname ?? spanText(request.authority),
    'client.address': client.ip,
    'network.protocol.version': request.version.slice('HTTP/'.length),
    'http.request.body.size': record.bytesReceived,
    'http.response.body.size': record.bytesSent,
    'guid:x-request-id': spanText(headerOf(request.headers, 'x-request-id') ?? ''),
    response_flags: [...record.flags].join(',') || '-',
    upstream_cluster: record.cluster ?? '-',
    upstream_request_attempt_count: record.tries,
    'istio.downstream.workload': client.workload?.workloadName ?? 'unknown',
    'istio.downstream.namespace': client.identity.namespace,
    'istio.source_principal': client.id,
    'weft.route': record.route ?? '-',
    ...(status === 0 ? {} : { 'http.response.status_code': status }),
    ...(agent === undefined ? {} : { 'user_agent.original': spanText(agent) }),
    ...(messages === undefined ? {} : { 'rpc.system': 'grpc' }),
    ...(messages === undefined || grpcStatus === undefined ? {} : { 'rpc.grpc.status_code': grpcStatus }),
    ...(endpoint === undefined ? {} : upstreamAttributes(endpoint)),
  }
}

function upstreamAttributes({ workload }: NonNullable<RequestRecord['endpoint']>): Attributes {
  return {
    'istio.upstream.workload': workload.workloadName,
    'istio.upstream.namespace': workload.namespace,
    'istio.destination_principal': spiffeIdOf(workload),
  }
}
