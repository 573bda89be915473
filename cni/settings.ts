// Settings of the node agent. Paths that are left empty follow from the mesh's directory and the node's name.
import { join } from 'node:path'
import { type ParsedSettings, parseSettings, type SettingRow, type Settings } from '../kit/settings.ts'
import { cgroup2Root } from '../linux/cgroup.ts'
import { parseIp } from '../model/address.ts'
import { isRedirectWish } from './redirect/redirect.ts'

/** The table; parser, help, docs and dump come from it. */
export const SETTINGS = {
  node: { env: 'NODE_NAME', flag: '--node', type: 'text', default: undefined, help: 'name of this node' },
  meshDir: { env: 'WEFT_MESH_DIR', flag: '--mesh-dir', type: 'text', default: '/run/weft/default', help: "the mesh's directory" },
  source: {
    env: 'WEFT_SOURCE',
    flag: '--source',
    type: 'text',
    default: 'store',
    help: 'where objects are: store = the local runtime, kubernetes',
  },
  kubeconfig: {
    env: 'KUBECONFIG_PATH',
    flag: '--kubeconfig',
    type: 'text',
    default: '',
    help: "kubernetes: kubeconfig file; unset = the pod's service account",
  },
  ownNamespace: {
    env: 'POD_NAMESPACE',
    flag: '--own-namespace',
    type: 'text',
    default: 'weft-system',
    help: "kubernetes: where the mesh's own pods are; ztunnel is known by it",
  },
  ztunnelAccount: {
    env: 'WEFT_ZTUNNEL_ACCOUNT',
    flag: '--ztunnel-account',
    type: 'text',
    default: 'ztunnel',
    help: "kubernetes: service account of ztunnel's pods",
  },
  areServicesServed: {
    env: 'WEFT_SERVE_SERVICES',
    flag: '--serve-services',
    type: 'switch',
    default: true,
    help: 'virtual addresses are translated for pods outside the mesh; off where kube-proxy does it',
  },
  apiSocket: { env: 'WEFT_API_SOCKET', flag: '--api-socket', type: 'text', default: '', help: 'object API; unset = MESH/api.sock' },
  nodeCgroup: {
    env: 'WEFT_NODE_CGROUP',
    flag: '--cgroup',
    type: 'text',
    default: '',
    help: "cgroup above the node's pods, absolute path; unset on kubernetes = root of cgroup2",
  },
  ztunnelCgroup: {
    env: 'WEFT_ZTUNNEL_CGROUP',
    flag: '--ztunnel-cgroup',
    type: 'text',
    default: '',
    help: 'store: cgroup of the ztunnel; unset = NODE CGROUP/ztunnel',
  },
  probeCgroup: {
    env: 'WEFT_PROBE_CGROUP',
    flag: '--probe-cgroup',
    type: 'text',
    default: '',
    help: "cgroup whose connects to pods are probes; unset = NODE CGROUP/kubelet; kubernetes: unset = auto, the kubelet's",
  },
  redirect: {
    env: 'WEFT_REDIRECT',
    flag: '--redirect',
    type: 'text',
    default: 'ebpf',
    help: 'how connections are led to ztunnel: ebpf, nftables, or auto = ebpf where the kernel can',
  },
  bpffsDir: {
    env: 'WEFT_BPFFS_DIR',
    flag: '--bpffs-dir',
    type: 'text',
    default: '',
    help: "the node's pins; unset = MESH/bpf/NODE; kubernetes: /sys/fs/bpf/weft",
  },
  zdsPath: {
    env: 'INPOD_UDS',
    flag: '--zds',
    type: 'text',
    default: '',
    help: 'socket for ztunnel; unset = MESH/nodes/NODE/zds.sock; kubernetes: /run/weft/node/zds.sock',
  },
  cniPath: {
    env: 'WEFT_CNI_SOCKET',
    flag: '--cni-socket',
    type: 'text',
    default: '',
    help: 'socket for the CNI plugin; unset = MESH/nodes/NODE/cni.sock; kubernetes: /run/weft/node/cni.sock',
  },
  stateDir: {
    env: 'WEFT_CNI_STATE',
    flag: '--state-dir',
    type: 'text',
    default: '',
    help: 'one file per pod; unset = MESH/nodes/NODE/cni; kubernetes: /run/weft/node/cni',
  },
  cniConfDir: {
    env: 'WEFT_CNI_CONF_DIR',
    flag: '--cni-conf-dir',
    type: 'text',
    default: '',
    help: "the runtime's network configuration, where the plugin is kept; unset = not installed",
  },
  cniBinDir: {
    env: 'WEFT_CNI_BIN_DIR',
    flag: '--cni-bin-dir',
    type: 'text',
    default: '/opt/cni/bin',
    help: "the runtime's plugins",
  },
  daemonSet: {
    env: 'WEFT_DAEMONSET',
    flag: '--daemonset',
    type: 'text',
    default: '',
    help: 'kubernetes: DaemonSet of this agent; when it is deleted, the end of the agent is the end of the mesh on the node; unset = never',
  },
  beside: {
    env: 'WEFT_BESIDE',
    flag: '--beside',
    type: 'text',
    default: '',
    help: 'kubernetes: others that the agent starts beside all the same: istio, socket-lb (commas)',
  },
  netnsDir: { env: 'WEFT_NETNS_DIR', flag: '--netns-dir', type: 'text', default: '/run/netns', help: 'where named network namespaces are' },
  excludedNamespaces: {
    env: 'EXCLUDE_NAMESPACES',
    flag: '--exclude-namespaces',
    type: 'text',
    default: 'kube-system,weft-system',
    help: 'pods of these are never enrolled',
  },
  isDnsRequired: {
    env: 'ISTIO_META_DNS_CAPTURE',
    flag: '--dns',
    type: 'switch',
    default: true,
    help: "pods' DNS goes to ztunnel, which must serve 15053 before a pod is enrolled",
  },
  releaseWaitMs: {
    env: 'WEFT_RELEASE_WAIT',
    flag: '--release-wait',
    type: 'duration',
    default: 2_000,
    help: 'between "no longer HBONE" and the end of capture',
  },
  reconcileMs: {
    env: 'WEFT_RECONCILE_INTERVAL',
    flag: '--reconcile-interval',
    type: 'duration',
    default: 30_000,
    help: 'kernel state is compared with what it should be every',
  },
  cmdaddTimeoutMs: {
    env: 'WEFT_CMDADD_TIMEOUT',
    flag: '--cmdadd-timeout',
    type: 'duration',
    default: 8_000,
    help: 'a pod that is not enrolled in this time does not start',
  },
  monitoringPort: {
    env: 'WEFT_MONITORING_PORT',
    flag: '--monitoring-port',
    type: 'count',
    default: 15_014,
    help: 'metrics and readiness on 127.0.0.1',
  },
  metricsPort: {
    env: 'WEFT_METRICS_PORT',
    flag: '--metrics-port',
    type: 'count',
    default: 0,
    help: '/metrics, and nothing else, for others than this node; 0 = not served',
  },
  metricsIp: {
    env: 'WEFT_METRICS_IP',
    flag: '--metrics-ip',
    type: 'text',
    default: '',
    help: 'address of --metrics-port; unset = every address',
  },
  log: { env: 'WEFT_LOG', flag: '--log', type: 'text', default: 'info', help: 'LEVEL or LEVEL,area=LEVEL,…' },
} as const satisfies Record<string, SettingRow>

/** The values, no path empty. */
export type AgentSettings = Settings<typeof SETTINGS>

/** The same on every node of Kubernetes: each has its own /run. The plugin and the chart know them. */
const KUBERNETES_NODE_DIR = '/run/weft/node'
const KUBERNETES_BPFFS_DIR = '/sys/fs/bpf/weft'

/** Reads the settings and fills in the paths; every fault at once. @param cgroupRoot where cgroup2 is mounted */
export function readSettings(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  cgroupRoot: () => string = cgroup2Root,
): ParsedSettings<typeof SETTINGS> {
  const parsed = parseSettings(SETTINGS, args, env)
  if (!parsed.ok) return parsed
  const { value } = parsed
  const errors: string[] = []
  if (!/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/.test(value.node))
    errors.push(`${SETTINGS.node.flag}: ${JSON.stringify(value.node)} is not a node name`)
  const isKubernetes = value.source === 'kubernetes'
  const nodeCgroup = value.nodeCgroup === '' && isKubernetes ? cgroupRoot() : value.nodeCgroup
  if (!isKubernetes && value.source !== 'store')
    errors.push(`${SETTINGS.source.flag}: ${JSON.stringify(value.source)} is neither store nor kubernetes`)
  if (!nodeCgroup.startsWith('/')) errors.push(`${SETTINGS.nodeCgroup.flag}: an absolute path is needed`)
  if (value.monitoringPort > 65_535) errors.push(`${SETTINGS.monitoringPort.flag}: ${value.monitoringPort} is not a port`)
  if (value.metricsPort > 65_535) errors.push(`${SETTINGS.metricsPort.flag}: ${value.metricsPort} is not a port`)
  if (value.metricsIp !== '' && parseIp(value.metricsIp) === undefined)
    errors.push(`${SETTINGS.metricsIp.flag}: ${JSON.stringify(value.metricsIp)} is not an address`)
  if (!isRedirectWish(value.redirect))
    errors.push(`${SETTINGS.redirect.flag}: ${JSON.stringify(value.redirect)} is none of ebpf, nftables, auto`)
  if (value.reconcileMs < 100) errors.push(`${SETTINGS.reconcileMs.flag}: at least 100ms`)
  if (errors.length > 0) return { ok: false, errors }
  const nodeDir = isKubernetes ? KUBERNETES_NODE_DIR : join(value.meshDir, 'nodes', value.node)
  const filled: AgentSettings = {
    ...value,
    nodeCgroup,
    apiSocket: value.apiSocket || join(value.meshDir, 'api.sock'),
    ztunnelCgroup: value.ztunnelCgroup || join(nodeCgroup, 'ztunnel'),
    probeCgroup: value.probeCgroup || (isKubernetes ? 'auto' : join(nodeCgroup, 'kubelet')),
    bpffsDir: value.bpffsDir || (isKubernetes ? KUBERNETES_BPFFS_DIR : join(value.meshDir, 'bpf', value.node)),
    zdsPath: value.zdsPath || join(nodeDir, 'zds.sock'),
    cniPath: value.cniPath || join(nodeDir, 'cni.sock'),
    stateDir: value.stateDir || join(nodeDir, 'cni'),
  }
  return { ok: true, value: filled }
}
