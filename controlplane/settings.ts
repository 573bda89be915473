// Settings of the control plane: one row each.
import { type ParsedSettings, parseSettings, type SettingRow, type Settings } from '../kit/settings.ts'

/** The table. */
export const SETTINGS = {
  apiSocket: { type: 'text', env: 'WEFT_API_SOCKET', flag: '--api-socket', default: undefined, help: 'socket of the object API' },
  caDir: { type: 'text', env: 'WEFT_CA_DIR', flag: '--ca-dir', default: undefined, help: 'directory of root.pem and root-key.pem' },
  rootCertFile: {
    type: 'text',
    env: 'WEFT_ROOT_CERT_FILE',
    flag: '--root-cert-file',
    default: '',
    help: 'where to write the trust bundle for proxies',
  },
  listen: { type: 'text', env: 'WEFT_LISTEN', flag: '--listen', default: '[::]:15012', help: 'address and port of xDS and certificates' },
  metricsListen: {
    type: 'text',
    env: 'WEFT_METRICS_LISTEN',
    flag: '--metrics-listen',
    default: '[::]:15014',
    help: 'address and port of metrics, readiness and (from this host) debug pages',
  },
  servingNames: {
    type: 'text',
    env: 'WEFT_SERVING_NAMES',
    flag: '--serving-names',
    default: 'istiod.istio-system.svc,controlplane.weft-system.svc',
    help: 'DNS names in the serving certificate, separated by commas',
  },
  servingIps: {
    type: 'text',
    env: 'WEFT_SERVING_IPS',
    flag: '--serving-ips',
    default: '',
    help: 'addresses in the serving certificate, separated by commas',
  },
  clusterId: { type: 'text', env: 'WEFT_CLUSTER_ID', flag: '--cluster-id', default: 'Kubernetes', help: 'name of the cluster' },
  network: { type: 'text', env: 'WEFT_NETWORK', flag: '--network', default: '', help: 'name of the network that pods are on' },
  trustDomain: { type: 'text', env: 'WEFT_TRUST_DOMAIN', flag: '--trust-domain', default: 'cluster.local', help: 'SPIFFE trust domain' },
  clusterDomain: {
    type: 'text',
    env: 'WEFT_CLUSTER_DOMAIN',
    flag: '--cluster-domain',
    default: 'cluster.local',
    help: 'DNS domain of the cluster',
  },
  rootNamespace: {
    type: 'text',
    env: 'WEFT_ROOT_NAMESPACE',
    flag: '--root-namespace',
    default: 'weft-system',
    help: 'namespace whose policies hold for the whole mesh',
  },
  cidrs: {
    type: 'text',
    env: 'WEFT_CIDRS',
    flag: '--cidrs',
    default: '',
    help: 'further blocks of pods and services, separated by commas',
  },
  trustedNodeAccounts: {
    type: 'text',
    env: 'WEFT_TRUSTED_NODE_ACCOUNTS',
    flag: '--trusted-node-accounts',
    default: 'weft-system/ztunnel',
    help: 'NAMESPACE/ACCOUNT of node proxies, separated by commas',
  },
  waypointImage: {
    type: 'text',
    env: 'WEFT_WAYPOINT_IMAGE',
    flag: '--waypoint-image',
    default: 'weft/waypoint',
    help: 'image of the pods that are made for Gateways of a waypoint class',
  },
  waypointDiscovery: {
    type: 'text',
    env: 'WEFT_WAYPOINT_DISCOVERY',
    flag: '--waypoint-discovery',
    default: 'controlplane.weft-system.svc:15012',
    help: 'host:port of xDS and certificates, as waypoint pods reach it',
  },
  certificateLife: {
    type: 'duration',
    env: 'WEFT_CERTIFICATE_LIFE',
    flag: '--certificate-life',
    default: 86_400_000,
    help: 'life of a workload certificate that asks for none',
  },
  longestCertificateLife: {
    type: 'duration',
    env: 'WEFT_LONGEST_CERTIFICATE_LIFE',
    flag: '--longest-certificate-life',
    default: 86_400_000,
    help: 'longest life of a workload certificate',
  },
  log: { type: 'text', env: 'WEFT_LOG', flag: '--log', default: 'info', help: 'LEVEL or LEVEL,area=LEVEL,…' },
} as const satisfies Readonly<Record<string, SettingRow>>

/** The values. */
export type ControlplaneSettings = Settings<typeof SETTINGS>

/** Reads arguments and environment; all faults at once. */
export function readSettings(args: readonly string[], env = process.env): ParsedSettings<typeof SETTINGS> {
  return parseSettings(SETTINGS, args, env)
}

/** The parts of a list separated by commas, without empty ones. */
export function listOf(text: string): readonly string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
}
