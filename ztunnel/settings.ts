// Settings of the ztunnel process. Names are Istio's where Istio has the setting (istio/ztunnel:src/config.rs), else WEFT_.
import { parseSettings } from '../kit/settings.ts'
import type { ParsedSettings, SettingRow, Settings } from '../kit/settings.ts'

/** The table; parser, help, docs and dump come from it. */
export const SETTINGS = {
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
  localXdsPath: {
    env: 'LOCAL_XDS_PATH',
    flag: '--local-xds',
    type: 'text',
    default: '',
    help: 'YAML file of workloads, services and policies, instead of a control plane',
  },
  isOnDemand: { env: 'XDS_ON_DEMAND', flag: '--on-demand', type: 'switch', default: false, help: 'ask for addresses as they are dialled' },
  zdsPath: { env: 'INPOD_UDS', flag: '--zds', type: 'text', default: '/var/run/ztunnel/ztunnel.sock', help: "socket of the node's agent" },
  bpffsDir: {
    env: 'WEFT_BPFFS_DIR',
    flag: '--bpffs-dir',
    type: 'text',
    default: '',
    help: 'pinned maps of the node; unset = exempt by cgroup only',
  },
  nodeName: { env: 'NODE_NAME', flag: '--node', type: 'text', default: '', help: 'name of this node' },
  podName: { env: 'POD_NAME', flag: '--pod-name', type: 'text', default: 'ztunnel', help: 'name of this pod' },
  podNamespace: { env: 'POD_NAMESPACE', flag: '--pod-namespace', type: 'text', default: 'weft-system', help: 'namespace of this pod' },
  instanceIp: { env: 'INSTANCE_IP', flag: '--instance-ip', type: 'text', default: '1.1.1.1', help: 'address of this pod' },
  clusterId: { env: 'CLUSTER_ID', flag: '--cluster-id', type: 'text', default: 'Kubernetes', help: 'name of this cluster' },
  clusterDomain: {
    env: 'CLUSTER_DOMAIN',
    flag: '--cluster-domain',
    type: 'text',
    default: 'cluster.local',
    help: 'DNS domain of services',
  },
  network: { env: 'NETWORK', flag: '--network', type: 'text', default: '', help: 'network of this node' },
  trustDomain: {
    env: 'WEFT_TRUST_DOMAIN',
    flag: '--trust-domain',
    type: 'text',
    default: 'cluster.local',
    help: 'trust domain of the pods of this node',
  },
  secretTtlMs: { env: 'SECRET_TTL', flag: '--secret-ttl', type: 'duration', default: 86_400_000, help: 'asked lifetime of certificates' },
  threads: {
    env: 'ZTUNNEL_WORKER_THREADS',
    flag: '--threads',
    type: 'count',
    default: 1,
    help: 'threads that carry connections; 0 = one per core',
  },
  keepsSourceIp: {
    env: 'WEFT_KEEP_SOURCE_IP',
    flag: '--keep-source-ip',
    type: 'switch',
    default: true,
    help: "apps see the client's address",
  },
  isIpv6Enabled: { env: 'IPV6_ENABLED', flag: '--ipv6', type: 'switch', default: true, help: 'listen on IPv6 too' },
  isDnsEnabled: {
    env: 'ISTIO_META_DNS_CAPTURE',
    flag: '--dns',
    type: 'switch',
    default: true,
    help: "answer the pods' DNS queries on 15053",
  },
  dnsUpstreams: {
    env: 'WEFT_DNS_UPSTREAMS',
    flag: '--dns-upstreams',
    type: 'text',
    default: '',
    help: 'ip:port,… of resolvers; unset = /etc/resolv.conf',
  },
  reusesPort: {
    env: 'INPOD_PORT_REUSE',
    flag: '--port-reuse',
    type: 'switch',
    default: true,
    help: 'a new ztunnel may listen beside the old one',
  },
  poolMaxStreams: {
    env: 'POOL_MAX_STREAMS_PER_CONNECTION',
    flag: '--pool-max-streams',
    type: 'count',
    default: 100,
    help: 'streams per pooled connection',
  },
  poolUnusedMs: {
    env: 'POOL_UNUSED_RELEASE_TIMEOUT',
    flag: '--pool-unused',
    type: 'duration',
    default: 300_000,
    help: 'an unused pooled connection is released after',
  },
  dialTimeoutMs: {
    env: 'WEFT_DIAL_TIMEOUT',
    flag: '--dial-timeout',
    type: 'duration',
    default: 10_000,
    help: 'give up dialling (TCP, TLS, HTTP/2 together) after',
  },
  handshakeTimeoutMs: {
    env: 'WEFT_HANDSHAKE_TIMEOUT',
    flag: '--handshake-timeout',
    type: 'duration',
    default: 10_000,
    help: 'close inbound TLS handshakes after',
  },
  maxHandshakes: {
    env: 'WEFT_MAX_HANDSHAKES',
    flag: '--max-handshakes',
    type: 'count',
    default: 1024,
    help: 'TLS handshakes under way, per pod and thread',
  },
  maxPodConnections: {
    env: 'WEFT_MAX_POD_CONNECTIONS',
    flag: '--max-pod-connections',
    type: 'count',
    default: 16_384,
    help: 'proxied connections, per pod and thread',
  },
  unknownWaitMs: {
    env: 'WEFT_UNKNOWN_WAIT',
    flag: '--unknown-wait',
    type: 'duration',
    default: 5_000,
    help: 'wait for the description of an address in the mesh',
  },
  certificateWaitMs: {
    env: 'WEFT_CERTIFICATE_WAIT',
    flag: '--certificate-wait',
    type: 'duration',
    default: 10_000,
    help: 'wait for the first certificate of an identity',
  },
  gracePeriodMs: {
    env: 'CONNECTION_TERMINATION_DEADLINE',
    flag: '--termination-deadline',
    type: 'duration',
    default: 5_000,
    help: 'connections may go on so long after SIGTERM',
  },
  adminPort: { env: 'WEFT_ADMIN_PORT', flag: '--admin-port', type: 'count', default: 15_000, help: 'admin on 127.0.0.1' },
  statsPort: { env: 'WEFT_STATS_PORT', flag: '--stats-port', type: 'count', default: 15_020, help: 'metrics' },
  readyPort: { env: 'WEFT_READY_PORT', flag: '--ready-port', type: 'count', default: 15_021, help: 'readiness' },
  monitoringIp: {
    env: 'WEFT_MONITORING_IP',
    flag: '--monitoring-ip',
    type: 'text',
    default: '',
    help: 'listen for metrics and readiness on this address only; unset = on all (whoever reaches the node reads them)',
  },
  log: { env: 'WEFT_LOG', flag: '--log', type: 'text', default: 'info', help: 'LEVEL or LEVEL,area=LEVEL,…' },
} as const satisfies Record<string, SettingRow>

/** The values, as all threads have them. */
export type ZtunnelSettings = Settings<typeof SETTINGS>

/** Reads the settings; every fault at once. */
export function readSettings(args: readonly string[], env: Readonly<Record<string, string | undefined>>): ParsedSettings<typeof SETTINGS> {
  return parseSettings(SETTINGS, args, env)
}
