// Settings of the control plane: one row each.
import { type ParsedSettings, parseSettings, type SettingRow, type Settings } from '../kit/settings.ts'
import type { ObjectsPlace } from '../objects/api.ts'
import { isCaBundle, isCollectorUrl, isOtlpProtocol, isPercent, type TracingSettings } from '../telemetry/trace-settings.ts'
import { WAYPOINT_ROWS, waypointSettingFaults } from './deploy/settings.ts'

/** The table. */
export const SETTINGS = {
  source: {
    type: 'text',
    env: 'WEFT_SOURCE',
    flag: '--source',
    default: 'store',
    help: 'where the objects are: store (the local runtime) or kubernetes',
  },
  apiSocket: {
    type: 'text',
    env: 'WEFT_API_SOCKET',
    flag: '--api-socket',
    default: '',
    help: 'socket of the object API; required with --source store',
  },
  kubeconfig: {
    type: 'text',
    env: 'KUBECONFIG_PATH',
    flag: '--kubeconfig',
    default: '',
    help: "kubeconfig file of the cluster; unset = the pod's own service account",
  },
  context: {
    type: 'text',
    env: 'WEFT_CONTEXT',
    flag: '--context',
    default: '',
    help: 'context of the kubeconfig; unset = its current one',
  },
  podName: {
    type: 'text',
    env: 'POD_NAME',
    flag: '--pod-name',
    default: '',
    help: 'name of this pod, by which replicas tell each other apart; required with --source kubernetes',
  },
  podNamespace: {
    type: 'text',
    env: 'POD_NAMESPACE',
    flag: '--pod-namespace',
    default: 'weft-system',
    help: 'namespace of this pod, of the root Secret and of the Lease (--source kubernetes)',
  },
  caDir: {
    type: 'text',
    env: 'WEFT_CA_DIR',
    flag: '--ca-dir',
    default: '',
    help: 'directory of root.pem and root-key.pem; required with --source store',
  },
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
  ...WAYPOINT_ROWS,
  tracingEndpoint: {
    type: 'text',
    env: 'WEFT_TRACING_ENDPOINT',
    flag: '--tracing-endpoint',
    default: '',
    help: 'OpenTelemetry collector that waypoints send spans to, http://host:port as their pods reach it; unset = no spans',
  },
  tracingProtocol: {
    type: 'text',
    env: 'WEFT_TRACING_PROTOCOL',
    flag: '--tracing-protocol',
    default: 'grpc',
    help: 'what the collector speaks: grpc (often port 4317) or http (JSON, often port 4318)',
  },
  tracingCa: {
    type: 'text',
    env: 'WEFT_TRACING_CA',
    flag: '--tracing-ca',
    default: '',
    help: 'certificates in PEM, the only ones that vouch for an https collector; unset = those that Node trusts',
  },
  tracingSampling: {
    type: 'text',
    env: 'WEFT_TRACING_SAMPLING',
    flag: '--tracing-sampling',
    default: '1',
    help: 'percent of the traces that begin at a waypoint which are recorded',
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
  const parsed = parseSettings(SETTINGS, args, env)
  if (!parsed.ok) return parsed
  const { tracingEndpoint, tracingProtocol, tracingCa, tracingSampling } = parsed.value
  const errors = [...faultsOfSource(parsed.value), ...waypointSettingFaults(parsed.value)]
  if (tracingEndpoint !== '' && !isCollectorUrl(tracingEndpoint)) errors.push('--tracing-endpoint is not http://host:port')
  if (!isOtlpProtocol(tracingProtocol)) errors.push('--tracing-protocol is neither grpc nor http')
  if (tracingCa !== '' && !isCaBundle(tracingCa)) errors.push('--tracing-ca is not certificates in PEM')
  if (!isPercent(tracingSampling)) errors.push('--tracing-sampling is not a number from 0 to 100')
  return errors.length === 0 ? parsed : { ok: false, errors }
}

/** What a source needs besides. */
function faultsOfSource({ source, apiSocket, caDir, podName, podNamespace, kubeconfig, context }: ControlplaneSettings): string[] {
  const errors: string[] = []
  const need = (value: string, flag: string): void => {
    if (value === '') errors.push(`${flag} is required with --source ${source}`)
  }
  if (source === 'store') {
    need(apiSocket, '--api-socket')
    need(caDir, '--ca-dir')
  } else if (source === 'kubernetes') {
    need(podName, '--pod-name')
    need(podNamespace, '--pod-namespace')
    if (context !== '' && kubeconfig === '') errors.push('--context is of a kubeconfig: --kubeconfig is required with it')
  } else errors.push('--source is neither store nor kubernetes')
  return errors
}

/** Where the objects are. */
export function placeOf({ source, apiSocket, kubeconfig, context }: ControlplaneSettings): ObjectsPlace {
  if (source === 'store') return { source, socketPath: apiSocket }
  return { source: 'kubernetes', ...(kubeconfig !== '' && { kubeconfig }), ...(context !== '' && { context }) }
}

/** What waypoints are told about spans; undefined = none are wanted. */
export function tracingOf(settings: ControlplaneSettings): TracingSettings | undefined {
  const { tracingEndpoint: endpoint, tracingProtocol, tracingCa: ca, tracingSampling: sampling } = settings
  if (endpoint === '') return undefined
  return { endpoint, protocol: tracingProtocol === 'http' ? 'http' : 'grpc', sampling, ca }
}

/** The parts of a list separated by commas, without empty ones. */
export function listOf(text: string): readonly string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
}
