// The rules of redirect mode `nftables` as text, pure. They are Istio's in-pod rules (istio/istio:cni/pkg/nftables) with two
// changes: only a SYN is redirected, so that connections which are older than the rules go on; and DNS is sent to the pod's own
// address, from which our name server answers. One table in each enrolled pod, one in the node's namespace.
import type { IpAddress } from '../../model/address.ts'
import { isIpv6 } from '../../model/address.ts'

/** Table of family inet in an enrolled pod's namespace. */
export const POD_TABLE = 'weft-pod'
/** Table of family inet in the node's namespace. */
export const NODE_TABLE = 'weft-node'
/** Where probes of the node seem to come from in an enrolled pod; Istio's addresses. */
export const PROBE_SOURCES = { v4: '169.254.7.127', v6: 'fd16:9254:7127:1337:ffff:ffff:ffff:ffff' } as const

/** What a pod's table does. */
export interface PodRules {
  readonly inbound: boolean
  readonly outbound: boolean
}

/** What the rules depend on besides. */
export interface RuleOptions {
  readonly ips: readonly IpAddress[]
  readonly capturesDns: boolean
}

/** Bits of a mark that are Istio's. */
const MASK = '0x00000fff'
const OTHERS = '0xfffff000'
/** Sockets of the proxy: Istio's ztunnel marks with the first, ours with the second where it keeps the client's address. */
const PROXY = `meta mark & ${MASK} { 0x539, 0x111 }`
const SYN = 'tcp flags & (fin | syn | rst | ack) == syn'

/**
 * A pod's whole table. Both chains of type nat are always there: without one the kernel would stop translating the packets
 * of connections that were redirected before.
 */
export function podTable(rules: PodRules, options: RuleOptions): string {
  const chains = [
    // Whatever answers the proxy must come back to the proxy, also where it dialled from the client's address.
    chain('mark-in', 'filter hook prerouting priority -150', [`meta l4proto tcp ${PROXY} ct mark set ct mark & ${OTHERS} | 0x111`]),
    chain('mark-out', 'route hook output priority -150', [
      `meta l4proto tcp ct mark & ${MASK} == 0x111 meta mark set meta mark & ${OTHERS} | 0x111`,
    ]),
    chain('inbound', 'nat hook prerouting priority -100', rules.inbound ? inboundRules() : []),
    chain('outbound', 'nat hook output priority -100', rules.outbound ? outboundRules(options) : []),
  ]
  return `table inet ${POD_TABLE} {\n${chains.join('')}}\n`
}

function inboundRules(): string[] {
  return [
    `ip saddr ${PROBE_SOURCES.v4} meta l4proto tcp accept`,
    `ip6 saddr ${PROBE_SOURCES.v6} meta l4proto tcp accept`,
    `${PROXY} accept`,
    'tcp dport 15008 accept',
    `${SYN} redirect to :15006`,
  ]
}

/** The pod calling itself goes over `lo` and is left alone, as is 127.0.0.0/8; so are link-local addresses, as with bpf/. */
function outboundRules({ ips, capturesDns }: RuleOptions): string[] {
  const dns = ips.map((ip) =>
    isIpv6(ip) ? `meta nfproto ipv6 udp dport 53 dnat ip6 to [${ip}]:15053` : `meta nfproto ipv4 udp dport 53 dnat ip to ${ip}:15053`,
  )
  return [
    `${PROXY} accept`,
    'oif lo accept',
    'ip daddr 169.254.0.0/16 accept',
    'ip6 daddr fe80::/10 accept',
    ...(capturesDns ? [...dns, `tcp dport 53 ${SYN} redirect to :15053`] : []),
    `${SYN} redirect to :15001`,
  ]
}

/** A pod whose probes are recognised: its addresses, marked with the cookie of its namespace. */
export interface ProbedPod {
  readonly cookie: bigint
  readonly ips: readonly IpAddress[]
}

/**
 * The node's whole table: what root's processes in the node's own namespace send to an enrolled pod (the kubelet's probes) seems
 * to come from an address that no peer has. It runs before other source NAT (priority 100): the first that translates wins.
 */
export function nodeTable(pods: readonly ProbedPod[]): string {
  const elements = (isSix: boolean): string =>
    pods.flatMap(({ cookie, ips }) => ips.filter((ip) => isIpv6(ip) === isSix).map((ip) => `${ip} comment "${cookie}"`)).join(', ')
  const set = (name: string, type: string, inside: string): string =>
    `set ${name} { type ${type}; ${inside === '' ? '' : `elements = { ${inside} }`} }\n`
  return [
    `table inet ${NODE_TABLE} {\n`,
    set('probed4', 'ipv4_addr', elements(false)),
    set('probed6', 'ipv6_addr', elements(true)),
    chain('probes', 'nat hook postrouting priority 90', [
      `meta skuid 0 ip daddr @probed4 ${SYN} snat ip to ${PROBE_SOURCES.v4}`,
      `meta skuid 0 ip6 daddr @probed6 ${SYN} snat ip6 to ${PROBE_SOURCES.v6}`,
    ]),
    '}\n',
  ].join('')
}

function chain(name: string, hook: string, rules: readonly string[]): string {
  return `chain ${name} { type ${hook}; policy accept;\n${rules.map((rule) => `${rule}\n`).join('')}}\n`
}
