// Addresses that cannot be mixed up: branded strings in canonical form, made only by the parsers here.
// IPv4-mapped IPv6 addresses are always turned into IPv4, so one host has one spelling.
import ipaddr from 'ipaddr.js'

/** A type that is the same value at run time but cannot be passed where another brand is asked for. */
export type Brand<T, B extends string> = T & { readonly __brand: B }

/** One IP address: `10.0.0.7` or the RFC 5952 form `fd00::7`; never IPv4-mapped, never with a zone. */
export type IpAddress = Brand<string, 'IpAddress'>

/** An address and a TCP/UDP port. */
export interface Endpoint {
  readonly ip: IpAddress
  /** 0…65535 */
  readonly port: number
}

/** Where an app dialled to, before any rewriting: `10.0.0.7:8080` or `[fd00::7]:8080`. */
export type OriginalDst = Brand<string, 'OriginalDst'>

/** An address block. */
export interface Cidr {
  readonly ip: IpAddress
  /** 0…32 or 0…128 */
  readonly prefix: number
}

/** @returns the canonical address, or undefined when `text` is not one strict IPv4 or IPv6 address. */
export function parseIp(text: string): IpAddress | undefined {
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return ipaddr.IPv4.parse(text).toString() as IpAddress
  if (!text.includes(':') || text.includes('%') || !ipaddr.IPv6.isValid(text)) return undefined
  const six = ipaddr.IPv6.parse(text)
  return (six.isIPv4MappedAddress() ? six.toIPv4Address().toString() : six.toRFC5952String()) as IpAddress
}

/** @returns the address of 4 or 16 network-order bytes; undefined for any other length. */
export function ipFromBytes(bytes: Uint8Array): IpAddress | undefined {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}` as IpAddress
  if (bytes.length !== 16) return undefined
  return parseIp(new ipaddr.IPv6([...bytes]).toString())
}

/** @returns 4 or 16 bytes in network order. */
export function ipToBytes(ip: IpAddress): Uint8Array {
  return Uint8Array.from(ipaddr.parse(ip).toByteArray())
}

/** Whether it is IPv6; what is not is IPv4, since mapped addresses never occur. */
export function isIpv6(ip: IpAddress): boolean {
  return ip.includes(':')
}

/** Loopback (127/8, ::1) or unspecified (0.0.0.0, ::), which connect() takes as "this host". */
export function isLocal(ip: IpAddress): boolean {
  return ip.startsWith('127.') || ip === '::1' || ip === '0.0.0.0' || ip === '::'
}

const NOT_ONE_HOST: ReadonlySet<string> = new Set(['unspecified', 'loopback', 'linkLocal', 'multicast', 'broadcast'])

/** Whether the address names one host that others can reach: not this host, its link (cloud metadata is there) or a group. */
export function isReachable(ip: IpAddress): boolean {
  return !NOT_ONE_HOST.has(ipaddr.parse(ip).range())
}

/** @returns `10.0.0.7:80` or `[fd00::7]:80`. */
export function formatEndpoint(endpoint: Endpoint): string {
  return isIpv6(endpoint.ip) ? `[${endpoint.ip}]:${endpoint.port}` : `${endpoint.ip}:${endpoint.port}`
}

/** @returns the endpoint of strict `ip:port` or `[ip6]:port` text; undefined otherwise (a name, no port, port > 65535). */
export function parseEndpoint(text: string): Endpoint | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]{2,45})\]|([0-9.]{7,15})):(\d{1,5})$/.exec(text)
  if (match === null) return undefined
  const ip = parseIp(match[1] ?? match[2] ?? '')
  const port = Number(match[3])
  return ip === undefined || port > 65535 ? undefined : { ip, port }
}

/** @returns the block of `10.0.0.0/8` or of a single address; host bits may be set. Undefined when malformed. */
export function parseCidr(text: string): Cidr | undefined {
  const [address = '', length, ...rest] = text.split('/')
  const ip = parseIp(address)
  if (ip === undefined || rest.length > 0) return undefined
  const longest = isIpv6(ip) ? 128 : 32
  if (length === undefined) return { ip, prefix: longest }
  if (!/^\d{1,3}$/.test(length) || Number(length) > longest) return undefined
  return { ip, prefix: Number(length) }
}

/** Whether two blocks have an address in common. */
export function cidrsOverlap(a: Cidr, b: Cidr): boolean {
  return a.prefix <= b.prefix ? cidrContains(a, b.ip) : cidrContains(b, a.ip)
}

/** Whether the block holds the address; families never match each other. */
export function cidrContains(cidr: Cidr, ip: IpAddress): boolean {
  if (isIpv6(cidr.ip) !== isIpv6(ip)) return false
  const block = ipToBytes(cidr.ip)
  const bytes = ipToBytes(ip)
  const whole = cidr.prefix >> 3
  for (let i = 0; i < whole; i++) if (block[i] !== bytes[i]) return false
  const mask = 0xff00 >> (cidr.prefix & 7)
  return ((block[whole] ?? 0) & mask & 0xff) === ((bytes[whole] ?? 0) & mask & 0xff)
}
