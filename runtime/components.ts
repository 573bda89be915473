// Which processes a mesh consists of, where they run and with which settings. The only place that knows the other
// components' flags (their settings.ts).
import { join } from 'node:path'
import { CLUSTER_DOMAIN, type MeshLayout, type NodeLayout, POD_CIDR, SERVICE_CIDR, SYSTEM_NAMESPACE } from './layout.ts'
import type { MeshOptions } from './mesh.ts'
import type { ComponentSpec } from './supervisor.ts'
import { componentPodName } from './system-objects.ts'

const ROOT = join(import.meta.dirname, '..')
/** Young generations grow to this under load only: an idle process stays small. */
const NODE_FLAGS = ['--max-semi-space-size=4']

/**
 * glibc keeps what a storm of connections has freed: arenas per thread, thresholds that grow. With these a proxy gives it back
 * (glibc malloc(3), mallopt(3)); V8's own heap does not grow.
 */
const MALLOC_ENV = { MALLOC_ARENA_MAX: '2', MALLOC_TRIM_THRESHOLD_: '131072', MALLOC_MMAP_THRESHOLD_: '131072' }

/** Processes of the control namespace. */
export function controlComponents(mesh: MeshLayout, options: MeshOptions): ComponentSpec[] {
  const dns = program('runtime/dns/main.ts', ['--mesh', mesh.name], options.componentArgs?.['cluster-dns'])
  const clusterDns: ComponentSpec = { name: 'cluster-dns', netns: mesh.controlNetns, cgroup: mesh.controlCgroup, command: dns }
  if (!options.hasMesh) return [clusterDns]
  const args = controlplaneArgs(mesh)
  const command = program('controlplane/main.ts', args, options.componentArgs?.controlplane)
  return [{ name: 'controlplane', netns: mesh.controlNetns, cgroup: mesh.controlCgroup, command }, clusterDns]
}

/** Processes of one node. */
export function nodeComponents(mesh: MeshLayout, node: NodeLayout, options: MeshOptions): ComponentSpec[] {
  const on = (kind: string, cgroup: string, file: string, args: readonly string[]): ComponentSpec => ({
    name: `${kind}-${node.name}`,
    node: node.name,
    netns: node.netns,
    cgroup: join(node.cgroup, cgroup),
    command: program(file, args, options.componentArgs?.[kind], options.nodeFlags?.[kind]),
  })
  const kubeletArgs = [
    '--mesh',
    mesh.name,
    '--node-index',
    String(node.index),
    '--images',
    JSON.stringify(options.images),
    `--cni=${options.hasMesh}`,
  ]
  const kubelet = on('kubelet', 'kubelet', 'runtime/kubelet/main.ts', kubeletArgs)
  if (!options.hasMesh) return [kubelet]
  if (options.stockZtunnel?.nodes.includes(node.name) === true) {
    const ours = on('ztunnel', 'ztunnel', 'ztunnel/main.ts', [])
    const command = ['sh', '-c', WHEN_FILE_IS_THERE, 'sh', join(mesh.dir, 'root-cert.pem'), options.stockZtunnel.path]
    const stock = { ...ours, command, env: stockZtunnelEnv(mesh, node) }
    return [stock, on('cni', 'agent', 'cni/main.ts', [...cniArgs(mesh, node), '--dns=false']), kubelet]
  }
  return [
    { ...on('ztunnel', 'ztunnel', 'ztunnel/main.ts', ztunnelArgs(mesh, node)), env: MALLOC_ENV },
    on('cni', 'agent', 'cni/main.ts', cniArgs(mesh, node)),
    kubelet,
  ]
}

/** Istio's ztunnel reads the roots once: on Kubernetes they are mounted before it starts. */
const WHEN_FILE_IS_THERE = 'until [ -s "$1" ]; do sleep 0.1; done; shift; exec "$@"'

/** Settings of Istio's ztunnel (istio/ztunnel:src/config.rs); same places and identity as ours. */
function stockZtunnelEnv(mesh: MeshLayout, node: NodeLayout): Record<string, string> {
  const root = join(mesh.dir, 'root-cert.pem')
  const address = `https://${mesh.controlIp.v4}:15012`
  return {
    XDS_ADDRESS: address,
    CA_ADDRESS: address,
    ALT_XDS_HOSTNAME: 'istiod.istio-system.svc',
    ALT_CA_HOSTNAME: 'istiod.istio-system.svc',
    XDS_ROOT_CA: root,
    CA_ROOT_CA: root,
    AUTH_TOKEN: join(node.dir, 'token'),
    INPOD_UDS: node.zdsSocket,
    NODE_NAME: node.name,
    POD_NAME: componentPodName('ztunnel', node),
    POD_NAMESPACE: SYSTEM_NAMESPACE,
    SERVICE_ACCOUNT: 'ztunnel',
    INSTANCE_IP: node.ip.v4,
    CLUSTER_ID: 'Kubernetes',
    CLUSTER_DOMAIN,
    ISTIO_META_DNS_CAPTURE: 'false',
    LOG_FORMAT: 'json',
  }
}

function controlplaneArgs(mesh: MeshLayout): string[] {
  return [
    ['--api-socket', mesh.apiSocket],
    ['--ca-dir', join(mesh.dir, 'ca')],
    ['--root-cert-file', join(mesh.dir, 'root-cert.pem')],
    ['--serving-ips', `${mesh.controlIp.v4},${mesh.controlIp.v6}`],
    ['--metrics-listen', '127.0.0.1:15014'], // pods reach the control namespace
    ['--cluster-domain', CLUSTER_DOMAIN],
    ['--waypoint-discovery', `${mesh.controlIp.v4}:15012`],
    ['--cidrs', [POD_CIDR.v4, POD_CIDR.v6, SERVICE_CIDR.v4, SERVICE_CIDR.v6].join(',')],
  ].flat()
}

function cniArgs(mesh: MeshLayout, node: NodeLayout): string[] {
  return ['--mesh-dir', mesh.dir, '--api-socket', mesh.apiSocket, '--node', node.name, '--cgroup', node.cgroup, '--bpffs-dir', node.bpfDir]
}

function ztunnelArgs(mesh: MeshLayout, node: NodeLayout): string[] {
  return [
    ['--xds-address', `${mesh.controlIp.v4}:15012`],
    ['--ca-address', `${mesh.controlIp.v4}:15012`],
    ['--root-cert', join(mesh.dir, 'root-cert.pem')],
    ['--token', join(node.dir, 'token')],
    ['--zds', node.zdsSocket],
    ['--bpffs-dir', node.bpfDir],
    ['--node', node.name],
    ['--pod-name', componentPodName('ztunnel', node)],
    ['--pod-namespace', SYSTEM_NAMESPACE],
    ['--instance-ip', node.ip.v4],
    ['--monitoring-ip', '127.0.0.1'], // pods reach the node's addresses
    ['--cluster-domain', CLUSTER_DOMAIN],
    ['--dns-upstreams', `${mesh.controlIp.v4}:53`],
  ].flat()
}

function program(file: string, args: readonly string[], more: readonly string[] = [], flags: readonly string[] = []): string[] {
  return [process.execPath, ...NODE_FLAGS, ...flags, join(ROOT, file), ...args, ...more]
}
