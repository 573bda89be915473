// Structs of include/layout.h as TypeScript values <-> bytes. Alignment follows C; a test compares every offset with
// the BTF of the committed objects. Integers are little-endian (both supported machines are); addresses network order.
import type { IpAddress } from '../model/address.ts'
import { ipFromBytes, ipToBytes, isIpv6 } from '../model/address.ts'

/** One C type: its size and alignment in bytes, and how a value is written and read at an offset. */
export interface Codec<T> {
  readonly bytes: number
  readonly align: number
  write(value: T, into: Buffer, at: number): void
  read(from: Buffer, at: number): T
}

/** A struct; `offsets` in bytes, by field. `encode` gives a fresh zero-padded buffer. */
export interface Layout<T> extends Codec<T> {
  readonly name: string
  readonly offsets: Readonly<Record<string, number>>
  encode(value: T): Buffer
  decode(from: Buffer): T
}

type Values<Fields> = { readonly [Name in keyof Fields]: Fields[Name] extends Codec<infer T> ? T : never }

/** `__u16` */
export const u16: Codec<number> = {
  bytes: 2,
  align: 2,
  write: (value, into, at) => void into.writeUInt16LE(value, at),
  read: (from, at) => from.readUInt16LE(at),
}

/** `__u32` */
export const u32: Codec<number> = {
  bytes: 4,
  align: 4,
  write: (value, into, at) => void into.writeUInt32LE(value, at),
  read: (from, at) => from.readUInt32LE(at),
}

/** `__u64` */
export const u64: Codec<bigint> = {
  bytes: 8,
  align: 8,
  write: (value, into, at) => void into.writeBigUInt64LE(value, at),
  read: (from, at) => from.readBigUInt64LE(at),
}

/** `__u32 ip[4]` in IPv6 form, IPv4 mapped. */
export const ip: Codec<IpAddress> = {
  bytes: 16,
  align: 4,
  write(value, into, at) {
    if (!isIpv6(value)) into.writeUInt16BE(0xffff, at + 10)
    into.set(ipToBytes(value), isIpv6(value) ? at : at + 12)
  },
  read: (from, at) => ipOf(from.subarray(at, at + 16)),
}

/** `__u32 ip4`; zero = undefined. */
const ip4: Codec<IpAddress | undefined> = {
  bytes: 4,
  align: 4,
  write: (value, into, at) => void (value !== undefined && into.set(ipToBytes(value), at)),
  read: (from, at) => (from.readUInt32LE(at) === 0 ? undefined : ipOf(from.subarray(at, at + 4))),
}

/** `__u32 ip6[4]`, never mapped; zero = undefined. */
const ip6: Codec<IpAddress | undefined> = {
  bytes: 16,
  align: 4,
  write: (value, into, at) => void (value !== undefined && into.set(ipToBytes(value), at)),
  read: (from, at) => (from.subarray(at, at + 16).every((byte) => byte === 0) ? undefined : ipOf(from.subarray(at, at + 16))),
}

/** @param name the struct's name in C; @param fields in C's order; trailing padding is added, other padding is an error there */
export function layout<Fields extends Record<string, Codec<unknown>>>(name: string, fields: Fields): Layout<Values<Fields>> {
  const offsets: Record<string, number> = {}
  const codecs = Object.entries(fields)
  const align = Math.max(...codecs.map(([, codec]) => codec.align))
  let end = 0
  for (const [field, codec] of codecs) {
    end = roundUp(end, codec.align)
    offsets[field] = end
    end += codec.bytes
  }
  const bytes = roundUp(end, align)
  const write = (value: Values<Fields>, into: Buffer, at: number): void => {
    for (const [field, codec] of codecs) codec.write(value[field as keyof Fields], into, at + (offsets[field] ?? 0))
  }
  const read = (from: Buffer, at: number): Values<Fields> =>
    Object.fromEntries(codecs.map(([field, codec]) => [field, codec.read(from, at + (offsets[field] ?? 0))])) as Values<Fields>
  return {
    name,
    bytes,
    align,
    offsets,
    write,
    read,
    encode(value) {
      const out = Buffer.alloc(bytes)
      write(value, out, 0)
      return out
    },
    decode: (from) => read(from, 0),
  }
}

/** A value that is no struct (a plain `__u32` key, …) as a Layout. */
export function plain<T>(codec: Codec<T>): Layout<T> {
  return {
    ...codec,
    name: '',
    offsets: {},
    encode(value) {
      const out = Buffer.alloc(codec.bytes)
      codec.write(value, out, 0)
      return out
    },
    decode: (from) => codec.read(from, 0),
  }
}

/** The structs of include/, by their C names (`pod` and `guarded` hold no address of a family that the pod has not). */
export const addr = layout('addr', { ip, port: u32 })
export const podRecord = layout('pod', { ip4, ip6, flags: u32 })
export const podIp = layout('pod_ip', { ip })
export const guarded = layout('guarded', { netns: u64, pod: podRecord })
export const drops = layout('drops', { source: u64, syn: u64, other: u64 })
export const source = layout('source', { netns: u64, from: addr, pad: u32 })
export const tuple = layout('tuple', { netns: u64, from: addr, to: addr })
export const listener = layout('listener', { netns: u64, family: u16, port: u16, protocol: u16, slot: u16 })
export const serviceKey = layout('service_key', { ip, port: u32, protocol: u32 })
export const service = layout('service', { id: u32, count: u32 })
export const backendKey = layout('backend_key', { id: u32, index: u32 })

/** A struct's value type: `ValueOf<typeof tuple>`. */
export type ValueOf<L> = L extends Layout<infer T> ? T : never

function roundUp(value: number, to: number): number {
  return Math.ceil(value / to) * to
}

function ipOf(bytes: Buffer): IpAddress {
  const address = ipFromBytes(bytes)
  if (address === undefined) throw new RangeError('an address has 4 or 16 bytes')
  return address
}
