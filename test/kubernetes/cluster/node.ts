// One node of a test cluster: a network namespace with a veth to the bridge, a mount namespace with directories of its own,
// a cgroup in every hierarchy, containerd and a kubelet. On cgroup2 kubelet and runtime have groups of their own beside the pods'.
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Binaries } from './binaries.ts'
import { cgroupHierarchies, type Hierarchy } from './cgroups.ts'
import { containerdConfig, kubeletConfig, nodeScript } from './node-files.ts'
import { type ClusterLayout, type NodeLayout, nodeLayout } from './layout.ts'
import { makeNodePki } from './pki.ts'
import { attempt, pidOf, run, startDaemon, until } from './processes.ts'

const READY_MS = 120_000
/** Bound over the usual paths inside the node: two nodes share one file system. */
export const PRIVATE_DIRS = [
  'var/lib/kubelet',
  'var/lib/containerd',
  'var/lib/cni',
  'etc/cni/net.d',
  'var/log/pods',
  'var/log/containers',
  'opt/cni/bin',
  'run',
] as const

/** Starts a node, imports the images, and waits until it is Ready. */
export async function startNode(cluster: ClusterLayout, number: number, binaries: Binaries, images: readonly string[]): Promise<void> {
  const node = nodeLayout(cluster, number)
  await makeNodePki(cluster, node)
  await makeNetwork(cluster, node)
  makeCgroups(node)
  makeFiles(cluster, node, binaries)
  await startContainerd(cluster, node, binaries)
  for (const image of images) await importImage(cluster, number, binaries, image)
  startKubelet(cluster, node, binaries)
  if (cluster.proxy !== undefined) startKubeProxy(cluster, node, binaries, cluster.proxy)
  const podCidr = await podCidrOf(cluster, node, binaries)
  await addRoutes(cluster, node, podCidr)
  writeFileSync(join(node.dir, 'etc/cni/net.d/10-bridge.conflist'), JSON.stringify(bridgeConf(podCidr)))
  await untilReady(cluster, node, binaries)
}

/** A command line that runs inside a node's namespaces (not its cgroup). The node runs. */
export function inNode(cluster: ClusterLayout, number: number, command: readonly string[]): string[] {
  const pid = pidOf(cluster, `node${number}-containerd`)
  if (pid === undefined) throw new Error(`node ${number} of ${cluster.id} does not run`)
  return ['nsenter', '-t', String(pid), '-m', '-n', ...command]
}

/** Gives the node's runtime the images of an OCI archive. */
export async function importImage(cluster: ClusterLayout, number: number, binaries: Binaries, archive: string): Promise<void> {
  const [program = '', ...args] = inNode(cluster, number, [
    binaries.path('ctr'),
    '-n',
    'k8s.io',
    'images',
    'import',
    '--local',
    resolve(archive),
  ])
  await run(program, args)
}

async function makeNetwork(cluster: ClusterLayout, { netns, link, ip }: NodeLayout): Promise<void> {
  await run('ip', ['netns', 'add', netns])
  await run('ip', ['link', 'add', link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', netns])
  await run('ip', ['link', 'set', link, 'master', cluster.bridge, 'up'])
  const batch = ['link set lo up', `addr add ${ip}/24 dev eth0`, 'link set eth0 up', `route add default via ${cluster.apiIp}`]
  await run('ip', ['-n', netns, '-batch', '-'], { input: batch.join('\n') })
  const sysctls = ['net.ipv4.ip_forward=1', 'net.ipv4.conf.all.rp_filter=0', 'net.ipv4.conf.default.rp_filter=0']
  await run('ip', ['netns', 'exec', netns, 'sysctl', '-qw', ...sysctls])
}

/** The kubelet refuses a root that is missing in one hierarchy; v1 cpusets begin empty. */
function makeCgroups({ cgroup }: NodeLayout): void {
  for (const { path, version } of cgroupHierarchies()) {
    const own = join(path, cgroup)
    mkdirSync(own, { recursive: true })
    if (version === 2) makeUnifiedGroups(path, own)
    else if (existsSync(join(path, 'cpuset.cpus'))) {
      for (const file of ['cpuset.cpus', 'cpuset.mems']) writeFileSync(join(own, file), readFileSync(join(path, file)))
    }
  }
}

function makeUnifiedGroups(path: string, own: string): void {
  for (const name of ['kubelet', 'containerd']) mkdirSync(join(own, name), { recursive: true })
  if (cgroupHierarchies().some(({ version }) => version === 1)) return // v1 has the controllers
  const controllers = readFileSync(join(path, 'cgroup.controllers'), 'utf8').trim().split(' ')
  for (const group of [path, own]) writeFileSync(join(group, 'cgroup.subtree_control'), controllers.map((name) => `+${name}`).join(' '))
}

function makeFiles(cluster: ClusterLayout, node: NodeLayout, binaries: Binaries): void {
  for (const path of [...PRIVATE_DIRS, 'run/netns']) {
    mkdirSync(join(node.dir, path), { recursive: true })
    mkdirSync(join('/', path), { recursive: true })
  }
  const plugins = binaries.path('cni')
  for (const plugin of readdirSync(plugins)) copyFileSync(join(plugins, plugin), join(node.dir, 'opt/cni/bin', plugin))
  writeFileSync(join(node.dir, 'containerd.toml'), containerdConfig(binaries))
  writeFileSync(join(node.dir, 'resolv.conf'), `nameserver ${cluster.dnsIp}\n`)
  writeFileSync(join(node.dir, 'kubelet.yaml'), JSON.stringify(kubeletConfig(cluster, node)))
  writeFileSync(join(node.dir, 'enter.sh'), nodeScript(node, PRIVATE_DIRS), { mode: 0o755 })
}

/** containerd holds the mount namespace; everything else joins it by its pid. */
async function startContainerd(cluster: ClusterLayout, node: NodeLayout, binaries: Binaries): Promise<void> {
  const command = [
    ...['nsenter', `--net=/run/netns/${node.netns}`, 'unshare', '--mount', '--propagation', 'private'],
    ...[join(node.dir, 'enter.sh'), binaries.path('containerd'), '-c', join(node.dir, 'containerd.toml')],
  ]
  startDaemon(
    cluster,
    `${node.name}-containerd`,
    ['env', `PATH=${binaries.dir}:${process.env.PATH}`, ...command],
    [groupOf(node, 'containerd')],
  )
  await until(`${node.name}: containerd answers`, READY_MS, async () => {
    const [program = '', ...args] = inNode(cluster, node.number, [binaries.path('ctr'), 'version'])
    return (await attempt(program, args)).status === 0
  })
}

/** Starts (again) the node's kubelet. */
export function startKubelet(cluster: ClusterLayout, node: NodeLayout, binaries: Binaries): void {
  const flags = [
    ...['--config', join(node.dir, 'kubelet.yaml'), '--kubeconfig', node.kubeconfig],
    ...['--hostname-override', node.name, '--node-ip', node.ip, '--root-dir', '/var/lib/kubelet', '--v', '2'],
  ]
  const command = inNode(cluster, node.number, [binaries.path('kubelet'), ...flags])
  startDaemon(cluster, `${node.name}-kubelet`, command, [groupOf(node, 'kubelet')])
}

/** Starts kube-proxy on a node, as the daemon NODE-kube-proxy. */
export function startKubeProxy(cluster: ClusterLayout, node: NodeLayout, binaries: Binaries, mode: 'nftables' | 'iptables'): void {
  const flags = [
    ...['--kubeconfig', join(cluster.dir, 'kube-proxy.conf'), '--hostname-override', node.name],
    ...['--proxy-mode', mode, '--cluster-cidr', cluster.podCidr],
    ...['--conntrack-max-per-core', '0'], // 0: leave the sysctls alone, they are the whole machine's
    ...['--conntrack-tcp-timeout-established', '0', '--conntrack-tcp-timeout-close-wait', '0'],
  ]
  startDaemon(cluster, `${node.name}-kube-proxy`, inNode(cluster, node.number, [binaries.path('kube-proxy'), ...flags]))
}

function groupOf(node: NodeLayout, name: string): string {
  const unified = cgroupHierarchies().find(({ version }: Hierarchy) => version === 2)
  if (unified === undefined) throw new Error('this machine has no cgroup2')
  return join(unified.path, node.cgroup, name)
}

async function podCidrOf(cluster: ClusterLayout, node: NodeLayout, binaries: Binaries): Promise<string> {
  let cidr = ''
  await until(`${node.name} has a pod CIDR`, READY_MS, async () => {
    const args = ['--kubeconfig', cluster.kubeconfig, 'get', 'node', node.name, '-o', 'jsonpath={.spec.podCIDR}']
    cidr = (await attempt(binaries.path('kubectl'), args)).stdout.trim()
    return cidr.includes('/')
  })
  return cidr
}

/** Every node and the host reach every node's pods. Nodes that start at once each add what is known when they do. */
async function addRoutes(cluster: ClusterLayout, node: NodeLayout, podCidr: string): Promise<void> {
  writeFileSync(join(node.dir, 'podcidr'), podCidr)
  await run('ip', ['route', 'replace', podCidr, 'via', node.ip])
  for (let number = 1; number <= cluster.nodes; number += 1) {
    const other = nodeLayout(cluster, number)
    const file = join(other.dir, 'podcidr')
    if (number === node.number || !existsSync(file)) continue
    await run('ip', ['-n', other.netns, 'route', 'replace', podCidr, 'via', node.ip])
    await run('ip', ['-n', node.netns, 'route', 'replace', readFileSync(file, 'utf8'), 'via', other.ip])
  }
}

function bridgeConf(podCidr: string): object {
  const ipam = { type: 'host-local', ranges: [[{ subnet: podCidr }]], routes: [{ dst: '0.0.0.0/0' }], dataDir: '/var/lib/cni' }
  const bridge = { type: 'bridge', bridge: 'cni0', isGateway: true, ipMasq: false, hairpinMode: true, mtu: 1500, ipam }
  return { cniVersion: '1.0.0', name: 'pods', plugins: [bridge] }
}

async function untilReady(cluster: ClusterLayout, node: NodeLayout, binaries: Binaries): Promise<void> {
  const args = ['--kubeconfig', cluster.kubeconfig, 'wait', '--for=condition=Ready', `node/${node.name}`, '--timeout=2s']
  await until(`${node.name} is ready`, READY_MS, async () => (await attempt(binaries.path('kubectl'), args)).status === 0)
}
