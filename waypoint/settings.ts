// Settings of the waypoint process. Names are ztunnel's where both have the setting, else WEFT_.
import { parseSettings } from '../kit/settings.ts'
import { parseIp } from '../model/address.ts'
import type { ParsedSettings, SettingRow, Settings } from '../kit/settings.ts'
import { isCaBundle, isCollectorUrl, isOtlpProtocol, isPercent } from '../telemetry/trace-settings.ts'

/** The table; parser, help, docs and dump come from it. */
export const SETTINGS = {
  gateway: {
    env: 'WEFT_GATEWAY',
    flag: '--gateway',
    type: 'text',
    default: undefined,
    help: 'NAMESPACE/NAME of the Gateway that is served',
  },
  xdsAddress: {
    env: 'XDS_ADDRESS',
    flag: '--xds-address',
    type: 'text',
    default: 'istiod.istio-system.svc:15012',
    help: 'control plane, host:port',
  },
  caAddress: {
    env: 'CA_ADDRESS',
    flag: '--ca-address',
    type: 'text',
    default: '',
    help: 'certificate authority, host:port; unset = the control plane',
  },
  xdsServerName: {
    env: 'ALT_XDS_HOSTNAME',
    flag: '--xds-server-name',
    type: 'text',
    default: 'istiod.istio-system.svc',
    help: "name in the control plane's certificate",
  },
  caServerName: {
    env: 'ALT_CA_HOSTNAME',
    flag: '--ca-server-name',
    type: 'text',
    default: 'istiod.istio-system.svc',
    help: "name in the certificate authority's certificate",
  },
  rootCert: {
    env: 'CA_ROOT_CA',
    flag: '--root-cert',
    type: 'text',
    default: './var/run/secrets/istio/root-cert.pem',
    help: 'file of the roots that vouch for control plane and CA',
  },
  tokenPath: {
    env: 'AUTH_TOKEN',
    flag: '--token',
    type: 'text',
    default: './var/run/secrets/tokens/istio-token',
    help: 'file of the bearer token; read again before each use',
  },
  podName: { env: 'POD_NAME', flag: '--pod-name', type: 'text', default: undefined, help: 'name of this pod' },
  podNamespace: { env: 'POD_NAMESPACE', flag: '--pod-namespace', type: 'text', default: undefined, help: 'namespace of this pod' },
  serviceAccount: { env: 'SERVICE_ACCOUNT', flag: '--service-account', type: 'text', default: undefined, help: 'account of this pod' },
  instanceIp: { env: 'INSTANCE_IP', flag: '--instance-ip', type: 'text', default: undefined, help: 'address of this pod' },
  nodeName: { env: 'NODE_NAME', flag: '--node', type: 'text', default: '', help: 'name of this node' },
  clusterId: { env: 'CLUSTER_ID', flag: '--cluster-id', type: 'text', default: 'Kubernetes', help: 'name of this cluster' },
  clusterDomain: {
    env: 'CLUSTER_DOMAIN',
    flag: '--cluster-domain',
    type: 'text',
    default: 'cluster.local',
    help: 'DNS domain of services',
  },
  network: { env: 'NETWORK', flag: '--network', type: 'text', default: '', help: 'network of this pod' },
  trustDomain: {
    env: 'WEFT_TRUST_DOMAIN',
    flag: '--trust-domain',
    type: 'text',
    default: 'cluster.local',
    help: 'trust domain of the mesh',
  },
  secretTtlMs: { env: 'SECRET_TTL', flag: '--secret-ttl', type: 'duration', default: 86_400_000, help: 'asked lifetime of certificates' },
  hbonePort: { env: 'WEFT_HBONE_PORT', flag: '--hbone-port', type: 'count', default: 15_008, help: 'port on which tunnels arrive' },
  upstreamHbonePort: {
    env: 'WEFT_UPSTREAM_HBONE_PORT',
    flag: '--upstream-hbone-port',
    type: 'count',
    default: 15_008,
    help: 'port on which endpoints take tunnels',
  },
  maxTunnels: {
    env: 'WEFT_MAX_TUNNELS',
    flag: '--max-tunnels',
    type: 'count',
    default: 16_384,
    help: 'tunnels that are open at once',
  },
  maxHandshakes: { env: 'WEFT_MAX_HANDSHAKES', flag: '--max-handshakes', type: 'count', default: 1024, help: 'TLS handshakes under way' },
  handshakeTimeoutMs: {
    env: 'WEFT_HANDSHAKE_TIMEOUT',
    flag: '--handshake-timeout',
    type: 'duration',
    default: 10_000,
    help: 'close inbound TLS handshakes after',
  },
  certificateWaitMs: {
    env: 'WEFT_CERTIFICATE_WAIT',
    flag: '--certificate-wait',
    type: 'duration',
    default: 10_000,
    help: 'wait for the first certificate',
  },
  detectTimeoutMs: {
    env: 'WEFT_DETECT_TIMEOUT',
    flag: '--detect-timeout',
    type: 'duration',
    default: 5_000,
    help: 'a client that says nothing for so long on a port of unknown protocol is carried as TCP',
  },
  replayBytes: {
    env: 'WEFT_REPLAY_LIMIT',
    flag: '--replay-limit',
    type: 'bytes',
    default: 64 * 1024,
    help: 'bytes of a request body kept for another try or a mirror; a larger body is sent once',
  },
  poolMaxStreams: {
    env: 'POOL_MAX_STREAMS_PER_CONNECTION',
    flag: '--pool-max-streams',
    type: 'count',
    default: 100,
    help: 'tunnels per pooled connection',
  },
  poolUnusedMs: {
    env: 'POOL_UNUSED_RELEASE_TIMEOUT',
    flag: '--pool-unused',
    type: 'duration',
    default: 300_000,
    help: 'an unused pooled HBONE connection is released after',
  },
  upstreamIdleMs: {
    env: 'WEFT_UPSTREAM_IDLE',
    flag: '--upstream-idle',
    type: 'duration',
    default: 60_000,
    help: 'an unused HTTP connection to an endpoint is closed after, unless its DestinationRule says otherwise',
  },
  gracePeriodMs: {
    env: 'CONNECTION_TERMINATION_DEADLINE',
    flag: '--termination-deadline',
    type: 'duration',
    default: 5_000,
    help: 'requests may go on so long after SIGTERM',
  },
  otlpEndpoint: {
    env: 'WEFT_OTLP_ENDPOINT',
    flag: '--otlp-endpoint',
    type: 'text',
    default: '',
    help: 'OpenTelemetry collector that takes spans, http://host:port; unset = no spans',
  },
  otlpProtocol: {
    env: 'WEFT_OTLP_PROTOCOL',
    flag: '--otlp-protocol',
    type: 'text',
    default: 'grpc',
    help: 'what the collector speaks: grpc (often port 4317) or http (JSON, often port 4318)',
  },
  otlpCa: {
    env: 'WEFT_OTLP_CA',
    flag: '--otlp-ca',
    type: 'text',
    default: '',
    help: 'certificates in PEM, the only ones that vouch for an https collector; unset = those that Node trusts',
  },
  traceSampling: {
    env: 'WEFT_TRACE_SAMPLING',
    flag: '--trace-sampling',
    type: 'text',
    default: '1',
    help: 'percent of the traces that begin here which are recorded; others are as their callers decided',
  },
  isIpv6Enabled: { env: 'IPV6_ENABLED', flag: '--ipv6', type: 'switch', default: true, help: 'listen on IPv6 too' },
  adminPort: { env: 'WEFT_ADMIN_PORT', flag: '--admin-port', type: 'count', default: 15_000, help: 'admin on 127.0.0.1' },
  statsPort: { env: 'WEFT_STATS_PORT', flag: '--stats-port', type: 'count', default: 15_020, help: 'metrics' },
  readyPort: { env: 'WEFT_READY_PORT', flag: '--ready-port', type: 'count', default: 15_021, help: 'readiness' },
  log: { env: 'WEFT_LOG', flag: '--log', type: 'text', default: 'info', help: 'LEVEL or LEVEL,area=LEVEL,…' },
} as const satisfies Record<string, SettingRow>

/** The values. */
export type WaypointSettings = Settings<typeof SETTINGS>

/** Reads the settings; every fault at once, also a gateway or address that is none. */
export function readSettings(args: readonly string[], env: Readonly<Record<string, string | undefined>>): ParsedSettings<typeof SETTINGS> {
  const parsed = parseSettings(SETTINGS, args, env)
  if (!parsed.ok) return parsed
  const errors: string[] = []
  if (!/^[a-z0-9.-]+\/[a-z0-9.-]+$/.test(parsed.value.gateway)) errors.push('--gateway is not NAMESPACE/NAME')
  if (parseIp(parsed.value.instanceIp) === undefined) errors.push('--instance-ip is not an IP address')
  const { otlpEndpoint, otlpProtocol, otlpCa, traceSampling } = parsed.value
  if (otlpEndpoint !== '' && !isCollectorUrl(otlpEndpoint)) errors.push('--otlp-endpoint is not http://host:port')
  if (!isOtlpProtocol(otlpProtocol)) errors.push('--otlp-protocol is neither grpc nor http')
  if (otlpCa !== '' && !isCaBundle(otlpCa)) errors.push('--otlp-ca is not certificates in PEM')
  if (!isPercent(traceSampling)) errors.push('--trace-sampling is not a number from 0 to 100')
  return errors.length === 0 ? parsed : { ok: false, errors }
}
