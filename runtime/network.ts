// The wires of a mesh: a bridge without an address in the host's namespace (a tap there sees what nodes say to each other),
// a namespace per node and one for the control plane, routes between the pod networks. IPv4 and IPv6, no address detection wait.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inNetns, openNetns } from '../linux/netns.ts'
import { ipBatch } from './command.ts'
import { type Dual, type MeshLayout, NETNS_DIR, type NodeLayout } from './layout.ts'

/** Interface of nodes and of the control namespace on the node network. */
export const NODE_INTERFACE = 'eth0'
/** Bridge that joins a node's pods. */
export const POD_BRIDGE = 'cni0'

const NODE_PREFIX: Dual = { v4: '24', v6: '64' }
// Read when a link is made: no wait for duplicate addresses (0.5–2 s per link), no answers by another link's address.
const SYSCTLS: readonly (readonly [string, string])[] = [
  ['net/ipv6/conf/all/accept_dad', '0'],
  ['net/ipv6/conf/default/accept_dad', '0'],
  ['net/ipv6/conf/default/router_solicitations', '0'],
  ['net/ipv4/conf/all/rp_filter', '0'],
  ['net/ipv4/conf/default/rp_filter', '0'],
]
const FORWARDING: readonly (readonly [string, string])[] = [
  ['net/ipv4/ip_forward', '1'],
  ['net/ipv6/conf/all/forwarding', '1'],
  ['net/ipv6/conf/default/forwarding', '1'],
]

/**
 * Makes bridge, namespaces, links, addresses and routes; the caller has recorded them before.
 * @throws MeshError COMMAND_FAILED; what was made until then stays for the clean-up
 */
export async function makeNetwork(mesh: MeshLayout, nodes: readonly NodeLayout[]): Promise<void> {
  const ends = [
    { netns: mesh.controlNetns, link: mesh.controlLink, ip: mesh.controlIp },
    ...nodes.map((node) => ({ netns: node.netns, link: node.hostLink, ip: node.ip })),
  ]
  await ipBatch([
    `link add name ${mesh.bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`,
    `link set dev ${mesh.bridge} addrgenmode none`, // not even a link-local address: the host has no way in
    `link set dev ${mesh.bridge} up`,
    ...ends.map((end) => `netns add ${end.netns}`),
  ])
  for (const end of ends) setSysctls(end.netns, end.netns === mesh.controlNetns ? SYSCTLS : [...SYSCTLS, ...FORWARDING])
  await ipBatch(ends.flatMap((end) => hostLines(end, mesh.bridge)))
  await Promise.all([
    ipBatch([...addressLines(mesh.controlIp), ...routeLines(nodes)], mesh.controlNetns),
    ...nodes.map((node) => ipBatch([...addressLines(node.ip), ...podBridgeLines(node), ...routeLines(nodes, node)], node.netns)),
  ])
}

/** Writes sysctls of a namespace by its name below /run/netns. */
export function setSysctls(netns: string, values: readonly (readonly [name: string, value: string])[]): void {
  using handle = openNetns(join(NETNS_DIR, netns))
  inNetns(handle.fd, () => {
    for (const [name, value] of values) writeFileSync(join('/proc/sys', name), value) // follows the thread's namespace
  })
}

/** What a pod's namespace needs before its link is made. */
export const POD_SYSCTLS: readonly (readonly [string, string])[] = [...SYSCTLS, ['net/ipv4/ip_unprivileged_port_start', '0']]

function hostLines(end: { netns: string; link: string }, bridge: string): string[] {
  return [
    `link add ${end.link} type veth peer name ${NODE_INTERFACE} netns ${end.netns}`,
    `link set dev ${end.link} addrgenmode none`,
    `link set dev ${end.link} master ${bridge} up`,
  ]
}

function addressLines(ip: Dual): string[] {
  return [
    'link set dev lo up',
    `addr add ${ip.v4}/${NODE_PREFIX.v4} dev ${NODE_INTERFACE}`,
    `addr add ${ip.v6}/${NODE_PREFIX.v6} dev ${NODE_INTERFACE} nodad`,
    `link set dev ${NODE_INTERFACE} up`,
  ]
}

function podBridgeLines(node: NodeLayout): string[] {
  return [
    `link add name ${POD_BRIDGE} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`,
    `addr add ${node.gateway.v4}/24 dev ${POD_BRIDGE}`,
    `addr add ${node.gateway.v6}/64 dev ${POD_BRIDGE} nodad`,
    `link set dev ${POD_BRIDGE} up`,
  ]
}

function routeLines(nodes: readonly NodeLayout[], self?: NodeLayout): string[] {
  return nodes
    .filter((node) => node !== self)
    .flatMap((node) => [`route add ${node.podCidr.v4} via ${node.ip.v4}`, `route add ${node.podCidr.v6} via ${node.ip.v6}`])
}
