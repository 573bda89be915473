// Address blocks made ready for many comparisons: bytes are taken out of the text once per list, not once per connection.
import { ipToBytes } from '../model/address.ts'
import type { Cidr } from '../model/address.ts'

interface Block {
  readonly bytes: Uint8Array
  readonly wholeBytes: number
  /** Of the byte after the whole ones; 0 = it does not count. */
  readonly mask: number
}

/** Lists are immutable values, so what was made of one stays true as long as it lives. */
const prepared = new WeakMap<readonly Cidr[], readonly Block[]>()

/** Whether one of the blocks holds the address, given as 4 or 16 bytes; families never match each other. */
export function anyBlockContains(list: readonly Cidr[], ip: Uint8Array): boolean {
  let blocks = prepared.get(list)
  if (blocks === undefined) {
    blocks = list.map(prepare)
    prepared.set(list, blocks)
  }
  for (const block of blocks) if (contains(block, ip)) return true
  return false
}

function prepare({ ip, prefix }: Cidr): Block {
  return { bytes: ipToBytes(ip), wholeBytes: prefix >> 3, mask: (0xff00 >> (prefix & 7)) & 0xff }
}

function contains({ bytes, wholeBytes, mask }: Block, ip: Uint8Array): boolean {
  if (bytes.length !== ip.length) return false
  for (let i = 0; i < wholeBytes; i++) if (bytes[i] !== ip[i]) return false
  return mask === 0 || ((bytes[wholeBytes] ?? 0) & mask) === ((ip[wholeBytes] ?? 0) & mask)
}
