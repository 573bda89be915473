// Envoy's static configuration as an HBONE server (CONNECT terminated to TCP clusters) and as an HBONE client (tcp_proxy tunnelling).
import { join } from 'node:path'
import type { AppPorts } from './interop-apps.ts'

/** Directory with cert.pem, key.pem and roots.pem, and the SPIFFE ID that the other side must have. */
export interface EnvoyTls {
  readonly directory: string
  readonly peer: string
}

/** One listener of an Envoy client: what is dialled through HBONE from there. */
export interface EnvoyTunnel {
  readonly authority: string
  readonly cluster: string
  readonly headers?: Readonly<Record<string, string>>
}

const TYPE = 'type.googleapis.com/envoy.extensions'
const HTTP2 = {
  allow_connect: true,
  connection_keepalive: { interval: '1s', timeout: '2s' },
  initial_stream_window_size: 65_535, // the smallest that Envoy takes, with its frames of 16 KiB
  initial_connection_window_size: 65_535,
}

/** An address of a listener or endpoint; port 0 = any. */
function address(ip: string, port: number): object {
  return { socket_address: { address: ip, port_value: port } }
}

function tlsSocket(side: 'DownstreamTlsContext' | 'UpstreamTlsContext', tls: EnvoyTls): object {
  const file = (name: string): object => ({ filename: join(tls.directory, name) })
  return {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': `${TYPE}.transport_sockets.tls.v3.${side}`,
      ...(side === 'DownstreamTlsContext' ? { require_client_certificate: true } : {}),
      common_tls_context: {
        alpn_protocols: ['h2'],
        tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
        tls_certificates: [{ certificate_chain: file('cert.pem'), private_key: file('key.pem') }],
        validation_context: {
          trusted_ca: file('roots.pem'),
          match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { exact: tls.peer } }],
        },
      },
    },
  }
}

function cluster(name: string, ip: string, port: number, more: object = {}): object {
  const endpoints = [{ lb_endpoints: [{ endpoint: { address: address(ip, port) } }] }]
  return { name, type: 'STATIC', connect_timeout: '2s', load_assignment: { cluster_name: name, endpoints }, ...more }
}

/** Where a server listens (default: any port of 127.0.0.1), and options of HTTP/2 that differ. */
export interface EnvoyServerOptions {
  readonly listen?: { readonly ip: string; readonly port: number }
  readonly http2?: object
}

/** @returns static_resources of a server: listener `hbone`; authorities of the apps, `refuse:STATUS`, and a closed port 9 */
export function envoyServer(tls: EnvoyTls, apps: AppPorts | Readonly<Record<string, number>>, options: EnvoyServerOptions = {}): object {
  const ports = { ...apps, closed: 9 }
  const echoed = ['baggage', 'traceparent', 'forwarded'].map((key) => ({
    header: { key, value: `%REQ(${key})%` },
    append_action: 'OVERWRITE_IF_EXISTS_OR_ADD',
  }))
  const hosts = Object.entries(ports).map(([name, port]) => ({
    name,
    domains: [`127.0.0.1:${port}`],
    response_headers_to_add: echoed,
    routes: [
      {
        match: { connect_matcher: {} },
        route: { cluster: name, timeout: '0s', upgrade_configs: [{ upgrade_type: 'CONNECT', connect_config: {} }] },
      },
    ],
  }))
  const refusals = [400, 401, 503].map((status) => ({
    name: `refuse-${status}`,
    domains: [`refuse:${status}`],
    routes: [{ match: { connect_matcher: {} }, direct_response: { status, body: { inline_string: 'no' } } }],
  }))
  const manager = {
    '@type': `${TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: 'hbone',
    codec_type: 'HTTP2',
    http2_protocol_options: { ...HTTP2, ...options.http2 },
    stream_idle_timeout: '0s',
    drain_timeout: '1s',
    upgrade_configs: [{ upgrade_type: 'CONNECT' }],
    route_config: { name: 'apps', virtual_hosts: [...hosts, ...refusals] },
    http_filters: [{ name: 'envoy.filters.http.router', typed_config: { '@type': `${TYPE}.filters.http.router.v3.Router` } }],
  }
  const filters = [{ name: 'envoy.filters.network.http_connection_manager', typed_config: manager }]
  const chain = { transport_socket: tlsSocket('DownstreamTlsContext', tls), filters }
  return {
    listeners: [{ name: 'hbone', address: address(options.listen?.ip ?? '127.0.0.1', options.listen?.port ?? 0), filter_chains: [chain] }],
    clusters: Object.entries(ports).map(([name, port]) => cluster(name, '127.0.0.1', port)),
  }
}

/**
 * @param to where HBONE is served
 * @param identities cluster name -> certificates that are shown there
 * @param tunnels listener name -> what it leads to; each on a port of its own on 127.0.0.1
 * @param accessLog file that gets one line of JSON per connection
 * @param http2 options of HTTP/2 that differ
 */
export function envoyClient(
  to: { readonly ip: string; readonly port: number },
  identities: Readonly<Record<string, EnvoyTls>>,
  tunnels: Readonly<Record<string, EnvoyTunnel>>,
  accessLog: string,
  http2: object = {},
): object {
  const log = {
    name: 'envoy.access_loggers.file',
    typed_config: {
      '@type': `${TYPE}.access_loggers.file.v3.FileAccessLog`,
      path: accessLog,
      log_format: {
        json_format: {
          listener: '%FILTER_CHAIN_NAME%',
          flags: '%RESPONSE_FLAGS%',
          details: '%RESPONSE_CODE_DETAILS%',
          headers: '%FILTER_STATE(envoy.tcp_proxy.propagate_response_headers:TYPED)%',
        },
      },
    },
  }
  const listeners = Object.entries(tunnels).map(([name, tunnel]) => {
    const headers = Object.entries(tunnel.headers ?? {}).map(([key, value]) => ({ header: { key, value } }))
    const proxy = {
      '@type': `${TYPE}.filters.network.tcp_proxy.v3.TcpProxy`,
      stat_prefix: name,
      cluster: tunnel.cluster,
      tunneling_config: { hostname: tunnel.authority, headers_to_add: headers, propagate_response_headers: true },
      access_log: [log],
    }
    const filters = [{ name: 'envoy.filters.network.tcp_proxy', typed_config: proxy }]
    return { name, address: address('127.0.0.1', 0), filter_chains: [{ name, filters }] }
  })
  const options = {
    '@type': `${TYPE}.upstreams.http.v3.HttpProtocolOptions`,
    explicit_http_config: { http2_protocol_options: { ...HTTP2, ...http2 } },
  }
  const clusters = Object.entries(identities).map(([name, tls]) =>
    cluster(name, to.ip, to.port, {
      typed_extension_protocol_options: { 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': options },
      transport_socket: tlsSocket('UpstreamTlsContext', tls),
    }),
  )
  return { listeners, clusters }
}
