// Names, paths and addresses of a local mesh: everything follows from its name and the node's number, so that `down` and the
// CLI can find what a dead `up` made. Addresses are the same in every mesh; nothing of them is visible to the host.
import { createHash } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { codeOf } from '../kit/error.ts'
import { cgroup2Root } from '../linux/cgroup.ts'

/** Addresses and prefix of one kind of attachment. */
export interface Dual {
  readonly v4: string
  readonly v6: string
}

/** One node. `index` begins with 1. */
export interface NodeLayout {
  readonly index: number
  readonly name: string
  readonly netns: string
  /** `/run/weft/NAME/nodes/NODE` */
  readonly dir: string
  readonly bpfDir: string
  readonly cgroup: string
  /** On the node network, without prefix length. */
  readonly ip: Dual
  /** With prefix length. */
  readonly podCidr: Dual
  readonly gateway: Dual
  /** Host side of the node's link, a port of the mesh's bridge. */
  readonly hostLink: string
  readonly zdsSocket: string
  readonly cniSocket: string
}

/** One mesh. */
export interface MeshLayout {
  readonly name: string
  readonly dir: string
  readonly apiSocket: string
  readonly objectsDir: string
  readonly bpfDir: string
  readonly logsDir: string
  readonly podsDir: string
  readonly stateFile: string
  /** In the host's namespace. */
  readonly bridge: string
  readonly controlNetns: string
  readonly controlLink: string
  readonly controlIp: Dual
  readonly controlCgroup: string
  readonly cgroup: string
  node(index: number): NodeLayout
}

/** State of all meshes; one directory each. */
export const RUN_DIR = '/run/weft'
/** Where iproute2 keeps named network namespaces. */
export const NETNS_DIR = '/run/netns'
/** Addresses of services. */
export const SERVICE_CIDR: Dual = { v4: '10.96.0.0/16', v6: 'fd00:10:96::/112' }
/** Addresses of all pods; each node has a part. */
export const POD_CIDR: Dual = { v4: '10.244.0.0/16', v6: 'fd00:10:244::/48' }
/** Service address of cluster DNS. */
export const DNS_VIP: Dual = { v4: '10.96.0.10', v6: 'fd00:10:96::a' }
/** Namespace of the mesh's own objects, and root namespace of policies. */
export const SYSTEM_NAMESPACE = 'weft-system'
/** Annotation of pod objects that stand for the mesh's own processes; no kubelet runs them. */
export const COMPONENT_ANNOTATION = 'weft.dev/component'
/** DNS domain of services. */
export const CLUSTER_DOMAIN = 'cluster.local'
/** Node numbers fit the node network's last byte and the pod networks' third. */
export const MAX_NODES = 32

/** A mesh's name: part of paths, interface and cgroup names. */
export function isMeshName(name: string): boolean {
  return /^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$/.test(name)
}

/** Where pods of the mesh keep their sandbox: `/run/weft/NAME/pods/UID`. */
export function podDir(mesh: MeshLayout, uid: string): string {
  return join(mesh.podsDir, uid)
}

/** Name of a pod's namespace below /run/netns. */
export function podNetns(mesh: string, uid: string): string {
  return `weft-${mesh}-pod-${uid.slice(0, 8)}`
}

/** @throws MeshError CGROUP2_MISSING */
export function meshLayout(name: string): MeshLayout {
  const dir = join(RUN_DIR, name)
  const short = createHash('sha256').update(name).digest('hex').slice(0, 8)
  const bridge = `weft-${name}`
  const cgroup = join(cgroup2Root(), 'weft', name)
  return {
    name,
    dir,
    apiSocket: join(dir, 'api.sock'),
    objectsDir: join(dir, 'objects'),
    bpfDir: join(dir, 'bpf'),
    logsDir: join(dir, 'logs'),
    podsDir: join(dir, 'pods'),
    stateFile: join(dir, 'state.json'),
    bridge: bridge.length <= 15 ? bridge : `weft-${short}`,
    controlNetns: `weft-${name}-control`,
    controlLink: `wv${short}-c`,
    controlIp: { v4: '172.30.0.2', v6: 'fd30::2' },
    controlCgroup: join(cgroup, 'control'),
    cgroup,
    node: (index) => nodeLayout(name, short, dir, cgroup, index),
  }
}

function nodeLayout(mesh: string, short: string, meshDir: string, meshCgroup: string, index: number): NodeLayout {
  const name = `node-${index}`
  const dir = join(meshDir, 'nodes', name)
  return {
    index,
    name,
    netns: `weft-${mesh}-${name}`,
    dir,
    bpfDir: join(meshDir, 'bpf', name),
    cgroup: join(meshCgroup, name),
    ip: { v4: `172.30.0.${10 + index}`, v6: `fd30::${(10 + index).toString(16)}` },
    podCidr: { v4: `10.244.${index}.0/24`, v6: `fd00:10:244:${index.toString(16)}::/64` },
    gateway: { v4: `10.244.${index}.1`, v6: `fd00:10:244:${index.toString(16)}::1` },
    hostLink: `wv${short}-${index}`,
    zdsSocket: join(dir, 'zds.sock'),
    cniSocket: join(dir, 'cni.sock'),
  }
}

/** Names in a directory; one that does not exist holds none. */
export function listDir(path: string): string[] {
  try {
    return readdirSync(path)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return []
    throw error
  }
}
