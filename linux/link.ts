// What the kernel says about a network device, asked in rtnetlink: which device is at the other end of a pod's veth.
// Used by the node agent, which knows the pod's side only.
import { linuxFailure } from './ffi.ts'
import { askNetlink, NETLINK, NETLINK_ERROR, NETLINK_HEADER_BYTES } from './netlink.ts'
import { inNetns } from './netns.ts'

/** A device, seen from inside its namespace. */
export interface LinkView {
  readonly index: number
  /** IFLA_LINK: index of the device at the other end, in that one's namespace; 0 = none. */
  readonly peerIndex: number
  /** IFLA_INFO_KIND: `veth`, `netkit`, `bridge`, …; empty for hardware and loopback. */
  readonly kind: string
}

/**
 * @param key name or index of the device in this thread's namespace
 * @returns undefined when there is none
 * @throws MeshError SYSCALL_FAILED, RTNETLINK_REFUSED
 */
export function viewLink(key: string | number): LinkView | undefined {
  return readAnswer(askNetlink(NETLINK.ROUTE, RTM_GETLINK, NLM_F_REQUEST, whichLink(key), ANSWER_BYTES))
}

/**
 * The host side of a pod's device. Both ends must name each other: a pod that was given another device on purpose, or a
 * device whose other end is in a third namespace, has none.
 * @param netnsFd the pod's; the calling thread is in the node's
 * @returns its index in the calling thread's namespace; 0 = none
 */
export function hostSideOf(netnsFd: number, name: string): number {
  const inside = inNetns(netnsFd, () => viewLink(name))
  if (inside === undefined || inside.peerIndex === 0) return 0
  const outside = viewLink(inside.peerIndex)
  return outside?.peerIndex === inside.index && outside.kind === inside.kind ? outside.index : 0
}

const NLM_F_REQUEST = 1
const RTM_NEWLINK = 16
const RTM_GETLINK = 18
const IFINFO_BYTES = 16 // struct ifinfomsg
const IFLA_IFNAME = 3
const IFLA_LINK = 5
const IFLA_LINKINFO = 18
const IFLA_EXT_MASK = 29
const IFLA_INFO_KIND = 1
const RTEXT_FILTER_SKIP_STATS = 8
const ATTRIBUTE_TYPE = 0x3fff // without NLA_F_NESTED
const ANSWER_BYTES = 32 * 1024
const ENODEV = 19

/** struct ifinfomsg and attributes. */
function whichLink(key: string | number): Buffer {
  const name = typeof key === 'string' ? attribute(IFLA_IFNAME, Buffer.from(`${key}\0`)) : Buffer.alloc(0)
  const mask = Buffer.alloc(4)
  mask.writeUInt32LE(RTEXT_FILTER_SKIP_STATS)
  const head = Buffer.alloc(IFINFO_BYTES)
  if (typeof key === 'number') head.writeInt32LE(key, 4)
  return Buffer.concat([head, name, attribute(IFLA_EXT_MASK, mask)])
}

/** struct rtattr { u16 length, type } and a value, padded to 4 bytes. */
function attribute(type: number, value: Buffer): Buffer {
  const out = Buffer.alloc(4 + Math.ceil(value.length / 4) * 4)
  out.writeUInt16LE(4 + value.length, 0)
  out.writeUInt16LE(type, 2)
  value.copy(out, 4)
  return out
}

function readAnswer(answer: Buffer): LinkView | undefined {
  const type = answer.length < NETLINK_HEADER_BYTES + 4 ? 0 : answer.readUInt16LE(4)
  if (type === NETLINK_ERROR) {
    const errno = -answer.readInt32LE(NETLINK_HEADER_BYTES)
    if (errno === ENODEV) return undefined
    throw linuxFailure('RTNETLINK_REFUSED', { type: RTM_GETLINK, errno })
  }
  if (type !== RTM_NEWLINK) throw linuxFailure('RTNETLINK_REFUSED', { type, errno: 0 })
  const attributes = attributesOf(answer.subarray(NETLINK_HEADER_BYTES + IFINFO_BYTES, answer.readUInt32LE(0)))
  const info = attributesOf(attributes.get(IFLA_LINKINFO) ?? Buffer.alloc(0))
  const kind = info.get(IFLA_INFO_KIND)?.toString('latin1').replace(/\0.*$/, '') ?? ''
  return { index: answer.readInt32LE(NETLINK_HEADER_BYTES + 4), peerIndex: attributes.get(IFLA_LINK)?.readInt32LE(0) ?? 0, kind }
}

function attributesOf(bytes: Buffer): Map<number, Buffer> {
  const found = new Map<number, Buffer>()
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = bytes.readUInt16LE(at)
    if (length < 4) break
    found.set(bytes.readUInt16LE(at + 2) & ATTRIBUTE_TYPE, bytes.subarray(at + 4, at + length))
    at += Math.ceil(length / 4) * 4
  }
  return found
}
