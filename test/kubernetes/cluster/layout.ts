// Names, addresses and paths of one test cluster. They follow from its name and its number, so that several clusters live beside
// each other: the number gives the networks (and with them addresses to bind to), the name everything that is listed by name.
import { homedir } from 'node:os'
import { join } from 'node:path'

/** What a cluster is called and how big it is. */
export interface ClusterOptions {
  /** Begins the names of namespaces, links and cgroups: 1 to 9 letters and digits. */
  readonly id: string
  /** 0 to 63: picks networks that no other cluster uses. */
  readonly number: number
  /** Kubelets; 0 = control plane only. */
  readonly nodes: number
  /** Mode of kube-proxy; undefined = none runs, ClusterIPs are left to the mesh. */
  readonly proxy?: 'nftables' | 'iptables' | undefined
  /** Whether CoreDNS runs behind the cluster's DNS address. */
  readonly hasDns?: boolean | undefined
}

/** Everything that follows from the options. */
export interface ClusterLayout extends ClusterOptions {
  /** All state; removed with the cluster. */
  readonly dir: string
  readonly logDir: string
  readonly pidDir: string
  readonly pkiDir: string
  /** For kubectl and clients: cluster administrator. */
  readonly kubeconfig: string
  readonly auditLog: string
  readonly bridge: string
  /** Three numbers of four, `10.89.0`: `.1` is the API server, `.11` the first node. */
  readonly nodeNet: string
  readonly apiIp: string
  readonly apiPort: number
  readonly podCidr: string
  readonly serviceCidr: string
  readonly apiServiceIp: string
  readonly dnsIp: string
  /** Loopback address of etcd. */
  readonly etcdIp: string
}

/** One node's names and paths. */
export interface NodeLayout {
  readonly number: number
  readonly name: string
  readonly netns: string
  readonly link: string
  readonly ip: string
  readonly dir: string
  readonly kubeconfig: string
  /** Group of kubelet, runtime and pods, below every hierarchy: `weft-node1`. */
  readonly cgroup: string
}

const STATE_DIR = '/tmp/weft-kubernetes'
const MOST_CLUSTERS = 64

/** @throws Error when name or number cannot be had */
export function clusterLayout(options: ClusterOptions): ClusterLayout {
  const { id, number } = options
  if (!/^[a-z][a-z0-9]{0,8}$/.test(id)) throw new Error(`--id ${id}: 1 to 9 small letters and digits, a letter first`)
  if (!Number.isInteger(number) || number < 0 || number >= MOST_CLUSTERS) throw new Error(`--number ${number}: 0 to ${MOST_CLUSTERS - 1}`)
  const dir = join(STATE_DIR, id)
  const nodeNet = `10.89.${number}`
  return {
    ...options,
    dir,
    logDir: join(dir, 'log'),
    pidDir: join(dir, 'pid'),
    pkiDir: join(dir, 'pki'),
    kubeconfig: join(dir, 'admin.conf'),
    auditLog: join(dir, 'log', 'audit.log'),
    bridge: `${id}-br`,
    nodeNet,
    apiIp: `${nodeNet}.1`,
    apiPort: 6443,
    podCidr: `10.${160 + number}.0.0/16`,
    serviceCidr: '10.96.0.0/16',
    apiServiceIp: '10.96.0.1',
    dnsIp: '10.96.0.10',
    etcdIp: `127.89.${number}.1`,
  }
}

/** @param number of the node, from 1 */
export function nodeLayout(cluster: ClusterLayout, number: number): NodeLayout {
  const name = `node${number}`
  return {
    number,
    name,
    netns: `${cluster.id}-n${number}`,
    link: `${cluster.id}-v${number}`,
    ip: `${cluster.nodeNet}.${10 + number}`,
    dir: join(cluster.dir, name),
    kubeconfig: join(cluster.dir, `${name}.conf`),
    cgroup: `${cluster.id}-${name}`,
  }
}

/** Where things that are expensive to make are kept, outside the checkout. */
export function cacheDir(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'weft')
}
