// Every metric and label that the mesh's proxies publish. Names, order and meaning are Istio's
// (istio/ztunnel:src/proxy/metrics.rs); our own additions begin with `weft_`. Names stay for ever.

/** Labels of the `istio_tcp_*` metrics, in Istio's order. Absent values read `unknown`. */
export const TCP_LABELS = [
  'reporter',
  'source_workload',
  'source_canonical_service',
  'source_canonical_revision',
  'source_workload_namespace',
  'source_principal',
  'source_app',
  'source_version',
  'source_cluster',
  'destination_service',
  'destination_service_namespace',
  'destination_service_name',
  'destination_workload',
  'destination_canonical_service',
  'destination_canonical_revision',
  'destination_workload_namespace',
  'destination_principal',
  'destination_app',
  'destination_version',
  'destination_cluster',
  'request_protocol',
  'response_flags',
  'connection_security_policy',
  'source_region',
  'source_zone',
  'destination_region',
  'destination_zone',
] as const

/** One label of TCP_LABELS. */
export type TcpLabel = (typeof TCP_LABELS)[number]

/** Metric name -> help, of all metrics that ztunnel publishes; waypoints publish the first ones, of TCP, too. */
export const METRICS = {
  istio_tcp_connections_opened_total: 'The total number of TCP connections opened',
  istio_tcp_connections_closed_total: 'The total number of TCP connections closed',
  istio_tcp_received_bytes_total: 'The size of total bytes received during request in case of a TCP connection',
  istio_tcp_sent_bytes_total: 'The size of total bytes sent during response in case of a TCP connection',
  istio_tcp_connections_failed_total: 'The total number of TCP connections that failed to establish (unstable)',
  istio_tcp_sockets_open: 'The current number of open TCP sockets (unstable)',
  istio_active_proxy_count: 'Pods that are served now (unstable)',
  istio_pending_proxy_count: 'Pods that are announced and could not be served yet (unstable)',
  istio_proxies_started_total: 'Pods that began to be served (unstable)',
  istio_proxies_stopped_total: 'Pods that are no longer served (unstable)',
  istio_xds_connection_terminations_total: 'Ends of the xDS stream by reason (unstable)',
  istio_xds_message_total: 'xDS responses by type (unstable)',
  istio_xds_message_bytes_total: 'Bytes of xDS resources by type (unstable)',
  istio_dns_requests_total: 'DNS queries answered (unstable)',
  istio_dns_upstream_requests_total: 'DNS queries forwarded (unstable)',
  istio_dns_upstream_failures_total: 'DNS queries whose forwarding failed (unstable)',
  istio_build: 'Build information of the component',
  weft_refused_total: 'Connections refused before or instead of being proxied, by direction and error code',
  weft_source_ignored_total: "CONNECTs that named an original client (x-weft-source) and did not come from the pod's own waypoint",
  weft_handshakes_open: 'TLS handshakes under way on port 15008',
} as const

/** One metric of METRICS. */
export type MetricName = keyof typeof METRICS

/**
 * Labels of the `istio_request_messages_total` and `istio_response_messages_total` counters, and the first ones of all metrics
 * of requests, in the order of istio/proxy:source/extensions/filters/http/istio_stats/istio_stats.cc. Absent values read `unknown`.
 */
export const HTTP_PEER_LABELS = [
  'reporter',
  'source_workload',
  'source_canonical_service',
  'source_canonical_revision',
  'source_workload_namespace',
  'source_principal',
  'source_app',
  'source_version',
  'source_cluster',
  'destination_workload',
  'destination_workload_namespace',
  'destination_principal',
  'destination_app',
  'destination_version',
  'destination_service',
  'destination_canonical_service',
  'destination_canonical_revision',
  'destination_service_name',
  'destination_service_namespace',
  'destination_cluster',
] as const

/** One label of HTTP_PEER_LABELS. */
export type HttpPeerLabel = (typeof HTTP_PEER_LABELS)[number]

/** Labels of `istio_requests_total` and of the histograms of requests, in Istio's order. */
export const HTTP_LABELS = [
  ...HTTP_PEER_LABELS,
  'request_protocol',
  'response_code',
  'grpc_response_status',
  'response_flags',
  'connection_security_policy',
] as const

/** Metric name -> help, of what a waypoint publishes of requests. */
export const HTTP_METRICS = {
  istio_requests_total: 'Requests that have ended',
  istio_request_duration_milliseconds: "Duration of requests, from the head to the end of the response's body",
  istio_request_bytes: 'Size of request bodies',
  istio_response_bytes: 'Size of response bodies',
  istio_request_messages_total: 'gRPC messages sent by clients',
  istio_response_messages_total: 'gRPC messages sent by servers',
} as const

/** One metric of HTTP_METRICS. */
export type HttpMetricName = keyof typeof HTTP_METRICS

/** Upper bounds of the histograms, Istio's: of durations in ms and of sizes in bytes alike. */
export const HTTP_BUCKETS = [
  0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000, 3_600_000,
] as const

/** Metric name -> help, of global rate limits at a waypoint. */
export const RATE_LIMIT_METRICS = {
  weft_global_rate_limits_total:
    'Questions to rate limit services, by policy and outcome: allowed, limited, failed_open, failed_closed (no usable answer)',
} as const

/** Metric name -> help, of the export of spans. */
export const TRACE_METRICS = {
  weft_spans_exported_total: 'Spans that the collector took',
  weft_spans_dropped_total: 'Spans that were lost, by reason: queue_full, export_failed, shutdown',
  weft_spans_waiting: 'Spans that have ended and are not with the collector yet',
} as const

/** One metric of TRACE_METRICS. */
export type TraceMetricName = keyof typeof TRACE_METRICS
