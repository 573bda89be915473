// Routes that let the proxy reach an app in its own namespace from the client's address (source IP kept): packets with
// the mark, and answers of sockets that a marked SYN opened, stay in the namespace. Spoken to the kernel in rtnetlink
// (raw messages, linux/fib_rules.h and rtnetlink.h), so that the image needs no `ip`. Called when a pod is steered.
import { writeFileSync } from 'node:fs'
import { linuxFailure } from './ffi.ts'
import { askNetlink, NETLINK, NETLINK_ERROR, NETLINK_HEADER_BYTES } from './netlink.ts'
import { inNetns } from './netns.ts'
import { AF_INET, AF_INET6 } from './sockaddr.ts'

/** SO_MARK of the proxy's other connections (Istio's value): rules of nftables let them pass. It exempts nothing in bpf/. */
export const PROXY_MARK = 0x539

/** SO_MARK of connections whose source is kept (Istio's value); it routes, and exempts nothing. */
export const SOURCE_MARK = 0x111

/**
 * In the pod's namespace: `net.ipv4.tcp_fwmark_accept=1` (an accepted socket takes the SYN's mark, so that its answers
 * route alike), `fwmark_reflect=1` (answers without a socket too), `ip rule fwmark 0x111/0xfff lookup 100`,
 * `ip route local default dev lo table 100`, all for both families.
 * May be repeated. Its loopback device must be up.
 * @throws MeshError SYSCALL_FAILED, RTNETLINK_REFUSED with `errno`
 */
export function keepSourceRouting(netnsFd: number): void {
  inNetns(netnsFd, () => {
    // The RST of a closed port answers no socket: it must carry the SYN's mark to find the way back.
    for (const family of ['ipv4', 'ipv6']) writeFileSync(`/proc/sys/net/${family}/fwmark_reflect`, '1')
    writeFileSync('/proc/sys/net/ipv4/tcp_fwmark_accept', '1') // /proc/sys/net shows the calling thread's namespace
    askBoth(RTM_NEWRULE, REQUEST_ACK_EXCL_CREATE, ruleMessage)
    askBoth(RTM_NEWROUTE, REQUEST_ACK_EXCL_CREATE, routeMessage)
  })
}

/** Undoes keepSourceRouting; what is not there is fine. @throws MeshError SYSCALL_FAILED, RTNETLINK_REFUSED with `errno` */
export function removeSourceRouting(netnsFd: number): void {
  inNetns(netnsFd, () => {
    for (const [type, message] of [
      [RTM_DELRULE, ruleMessage],
      [RTM_DELROUTE, routeMessage],
    ] as const)
      askBoth(type, REQUEST_ACK, message)
    for (const family of ['ipv4', 'ipv6']) writeFileSync(`/proc/sys/net/${family}/fwmark_reflect`, '0')
    writeFileSync('/proc/sys/net/ipv4/tcp_fwmark_accept', '0')
  })
}

/**
 * `net.ipv4.tcp_tw_reuse=1` in this thread's namespace: a port in TIME_WAIT serves a new connection after 1 s. (The
 * default reuses on 127/8 only; a pod's captured connects all go to one address and would run out of ports at 470/s.)
 */
export function reuseTimeWait(): void {
  writeFileSync('/proc/sys/net/ipv4/tcp_tw_reuse', '1')
}

const RTM_NEWROUTE = 24
const RTM_DELROUTE = 25
const RTM_NEWRULE = 32
const RTM_DELRULE = 33
const REQUEST_ACK = 0x1 | 0x4
const REQUEST_ACK_EXCL_CREATE = REQUEST_ACK | 0x200 | 0x400
const RTN_LOCAL = 2
const RTPROT_STATIC = 4
const RT_SCOPE_HOST = 254
const RTA_OIF = 4
const FR_ACT_TO_TBL = 1
const FRA_PRIORITY = 6
const FRA_FWMARK = 10
const FRA_TABLE = 15
const FRA_FWMASK = 16
const LO_IFINDEX = 1 // in every namespace
const TABLE = 100
const MARK_MASK = 0xfff
const RULE_PRIORITY = 32764 // as Istio: before the main table
// ENOENT, ESRCH, EEXIST, EAFNOSUPPORT: what is there already, what is gone already, and an absent IPv6 are no faults.
const FINE_WHEN_MADE: ReadonlySet<number> = new Set([0, 17, 97])
const FINE_WHEN_REMOVED: ReadonlySet<number> = new Set([0, 2, 3, 97])

function ruleMessage(family: number): Buffer {
  // struct fib_rule_hdr { family, dst_len, src_len, tos, table, res1, res2, action; u32 flags }
  const head = Buffer.from([family, 0, 0, 0, TABLE, 0, 0, FR_ACT_TO_TBL, 0, 0, 0, 0])
  const fields = [attribute(FRA_PRIORITY, RULE_PRIORITY), attribute(FRA_FWMARK, SOURCE_MARK), attribute(FRA_FWMASK, MARK_MASK)]
  return Buffer.concat([head, ...fields, attribute(FRA_TABLE, TABLE)])
}

function routeMessage(family: number): Buffer {
  // struct rtmsg { family, dst_len, src_len, tos, table, protocol, scope, type; u32 flags }
  const head = Buffer.from([family, 0, 0, 0, TABLE, RTPROT_STATIC, RT_SCOPE_HOST, RTN_LOCAL, 0, 0, 0, 0])
  return Buffer.concat([head, attribute(RTA_OIF, LO_IFINDEX)])
}

/** struct rtattr { u16 length, type } and one u32. */
function attribute(type: number, value: number): Buffer {
  const out = Buffer.alloc(8)
  out.writeUInt16LE(8, 0)
  out.writeUInt16LE(type, 2)
  out.writeUInt32LE(value, 4)
  return out
}

/** One request per family, in this thread's namespace. */
function askBoth(type: number, flags: number, message: (family: number) => Buffer): void {
  for (const family of [AF_INET, AF_INET6]) request(type, flags, message(family))
}

/** Sends one request and waits for its acknowledgement. */
function request(type: number, flags: number, body: Buffer): void {
  const answer = askNetlink(NETLINK.ROUTE, type, flags, body)
  if (answer.length < NETLINK_HEADER_BYTES + 4 || answer.readUInt16LE(4) !== NETLINK_ERROR)
    throw linuxFailure('RTNETLINK_REFUSED', { type, errno: 0 })
  const errno = -answer.readInt32LE(NETLINK_HEADER_BYTES)
  const fine = flags === REQUEST_ACK ? FINE_WHEN_REMOVED : FINE_WHEN_MADE
  if (!fine.has(errno)) throw linuxFailure('RTNETLINK_REFUSED', { type, errno })
}
