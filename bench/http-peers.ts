// Configurations of the other programs of bench/http.ts: backend, haproxy, nginx, Envoy, and what stands for the client's ztunnel
// in the mutual TLS row. All proxies get the same four rules; the third is the one that is measured.

/** Ports of the two backends on 127.0.0.1. */
export interface BackendPorts {
  readonly app: number
  readonly canary: number
}

/** Files of one identity. `pem` = certificate and key in one, as haproxy reads them. */
export interface TlsFiles {
  readonly cert: string
  readonly key: string
  readonly pem: string
  readonly ca: string
}

const BODY = `${'x'.repeat(99)}\n`
const SERVER_NAME = 'backend.bench'

/** Two servers that answer 100 bytes; mutual TLS with `tls`. */
export function backendConfig(directory: string, ports: BackendPorts, tls: TlsFiles | undefined): string {
  const secure = tls === undefined ? '' : nginxServerTls(tls)
  const server = (name: string, port: number): string => `
  server {
    listen 127.0.0.1:${port}${tls === undefined ? '' : ' ssl'} backlog=1024;
    ${secure}
    add_header x-backend ${name};
    location / { return 200 "${BODY}"; }
  }`
  return nginxConfig(directory, server('app', ports.app) + server('canary', ports.canary))
}

/** nginx as the proxy. */
export function nginxProxyConfig(directory: string, port: number, ports: BackendPorts, tls: TlsFiles | undefined): string {
  const scheme = tls === undefined ? 'http' : 'https'
  const upstreamTls =
    tls === undefined
      ? ''
      : `proxy_ssl_certificate ${tls.cert}; proxy_ssl_certificate_key ${tls.key}; proxy_ssl_trusted_certificate ${tls.ca};
    proxy_ssl_protocols TLSv1.3; proxy_ssl_verify on; proxy_ssl_verify_depth 3; proxy_ssl_server_name on; proxy_ssl_name ${SERVER_NAME};`
  const headers = 'proxy_set_header connection ""; proxy_set_header host $host; proxy_set_header x-request-id $request_id;'
  const pool = 'keepalive 1024; keepalive_requests 100000000;'
  return nginxConfig(
    directory,
    `
  upstream main { server 127.0.0.1:${ports.app}; ${pool} }
  upstream split { server 127.0.0.1:${ports.app} weight=90; server 127.0.0.1:${ports.canary} weight=10; ${pool} }
  server {
    listen 127.0.0.1:${port}${tls === undefined ? '' : ' ssl'} backlog=1024;
    ${tls === undefined ? '' : nginxServerTls(tls)}
    ${upstreamTls}
    proxy_http_version 1.1;
    location = /healthz { ${headers} proxy_pass ${scheme}://main; }
    location /admin { if ($http_x_role != admin) { return 404; } ${headers} proxy_pass ${scheme}://main; }
    location /api { ${headers} proxy_set_header x-route api; proxy_pass ${scheme}://split; }
    location / { ${headers} proxy_pass ${scheme}://main; }
  }`,
  )
}

/** haproxy as the proxy. */
export function haproxyConfig(port: number, ports: BackendPorts, tls: TlsFiles | undefined): string {
  const bindTls = tls === undefined ? '' : ` ssl crt ${tls.pem} ca-file ${tls.ca} verify required alpn http/1.1 ssl-min-ver TLSv1.3`
  const serverTls = tls === undefined ? '' : ` ${haproxyServerTls(tls)} sni str(${SERVER_NAME})`
  return `${HAPROXY_GLOBAL}
  mode http
  http-reuse always
frontend proxy
  bind 127.0.0.1:${port}${bindTls}
  http-request set-header x-request-id %[uuid()] unless { req.hdr(x-request-id) -m found }
  use_backend main if { path /healthz }
  use_backend main if { path_beg /admin/ } { req.hdr(x-role) admin }
  use_backend split if { path_beg /api/ }
  default_backend main
backend main
  server app 127.0.0.1:${ports.app}${serverTls}
backend split
  balance random(1)
  http-request set-header x-route api
  server app 127.0.0.1:${ports.app} weight 90${serverTls}
  server canary 127.0.0.1:${ports.canary} weight 10${serverTls}
`
}

/** What opens mutual TLS to the proxies, since wrk has no client certificates: a plain port for each of theirs. */
export function originatorConfig(pairs: readonly { readonly plain: number; readonly secure: number }[], tls: TlsFiles): string {
  const one = ({ plain, secure }: { plain: number; secure: number }): string => `
listen to-${secure}
  bind 127.0.0.1:${plain}
  server proxy 127.0.0.1:${secure} ${haproxyServerTls(tls)}
`
  return `${HAPROXY_GLOBAL}
  mode tcp
${pairs.map(one).join('')}`
}

/** Envoy as the proxy. */
export function envoyConfig(port: number, ports: BackendPorts, tls: TlsFiles | undefined): object {
  const route = { name: 'routes', virtual_hosts: [{ name: 'web', domains: ['*'], routes: ENVOY_ROUTES }] }
  const manager = {
    '@type': 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
    stat_prefix: 'bench',
    codec_type: 'HTTP1',
    route_config: route,
    http_filters: [
      {
        name: 'envoy.filters.http.router',
        typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' },
      },
    ],
  }
  const chain = { filters: [{ name: 'envoy.filters.network.http_connection_manager', typed_config: manager }] }
  const secure = tls === undefined ? {} : { transport_socket: envoyTls('DownstreamTlsContext', tls, { require_client_certificate: true }) }
  const listener = { name: 'proxy', address: addressOf(port), filter_chains: [{ ...chain, ...secure }] }
  const cluster = (name: string, to: number): object => ({
    name,
    connect_timeout: '5s',
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address: addressOf(to) } }] }] },
    ...(tls === undefined ? {} : { transport_socket: envoyTls('UpstreamTlsContext', tls, { sni: SERVER_NAME }) }),
  })
  return { static_resources: { listeners: [listener], clusters: [cluster('app', ports.app), cluster('canary', ports.canary)] } }
}

const ENVOY_ROUTES = [
  { match: { path: '/healthz' }, route: { cluster: 'app' } },
  {
    match: { path_separated_prefix: '/admin', headers: [{ name: 'x-role', string_match: { exact: 'admin' } }] },
    route: { cluster: 'app' },
  },
  {
    match: { path_separated_prefix: '/api' },
    request_headers_to_add: [{ header: { key: 'x-route', value: 'api' }, append_action: 'OVERWRITE_IF_EXISTS_OR_ADD' }],
    route: {
      weighted_clusters: {
        clusters: [
          { name: 'app', weight: 90 },
          { name: 'canary', weight: 10 },
        ],
      },
    },
  },
  { match: { prefix: '/' }, route: { cluster: 'app' } },
]

const HAPROXY_GLOBAL = `global
  nbthread 1
  maxconn 8192
defaults
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  maxconn 4096`

function haproxyServerTls(tls: TlsFiles): string {
  return `ssl crt ${tls.pem} ca-file ${tls.ca} verify required alpn http/1.1 ssl-min-ver TLSv1.3`
}

function nginxConfig(directory: string, servers: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${directory}/${name};`)
  return `daemon off; master_process off; user root; pid ${directory}/pid; error_log stderr error;
events { worker_connections 8192; }
http {
  access_log off; keepalive_requests 100000000; tcp_nodelay on; default_type text/plain;
  ${temporary.join(' ')}
  ${servers}
}
`
}

function nginxServerTls(tls: TlsFiles): string {
  return `ssl_certificate ${tls.cert}; ssl_certificate_key ${tls.key}; ssl_client_certificate ${tls.ca}; ssl_verify_client on; ssl_verify_depth 3;
    ssl_protocols TLSv1.3;`
}

function envoyTls(kind: 'DownstreamTlsContext' | 'UpstreamTlsContext', tls: TlsFiles, more: object): object {
  const common = {
    tls_certificates: [{ certificate_chain: { filename: tls.cert }, private_key: { filename: tls.key } }],
    validation_context: { trusted_ca: { filename: tls.ca } },
    alpn_protocols: ['http/1.1'],
    tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' }, // as a client it offers 1.2 by itself
  }
  const type = `type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.${kind}`
  return { name: 'envoy.transport_sockets.tls', typed_config: { '@type': type, common_tls_context: common, ...more } }
}

function addressOf(port: number): object {
  return { socket_address: { address: '127.0.0.1', port_value: port } }
}
