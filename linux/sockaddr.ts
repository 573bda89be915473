// struct sockaddr_in and sockaddr_in6 as bytes, and back into model addresses (IPv4-mapped becomes IPv4).
import type { Endpoint, IpAddress } from '../model/address.ts'
import { ipFromBytes, ipToBytes, isIpv6 } from '../model/address.ts'

/** Address families. */
export const AF_INET = 2
export const AF_INET6 = 10
/** Room for either form. */
export const SOCKADDR_BYTES = 28

/** @returns AF_INET or AF_INET6 */
export function familyOf(ip: IpAddress): typeof AF_INET | typeof AF_INET6 {
  return isIpv6(ip) ? AF_INET6 : AF_INET
}

/** @returns 16 or 28 bytes as connect() and bind() take them; no flow label, no scope. */
export function encodeSockaddr(endpoint: Endpoint): Buffer {
  const family = familyOf(endpoint.ip)
  const out = Buffer.alloc(family === AF_INET6 ? 28 : 16)
  out.writeUInt16LE(family, 0)
  out.writeUInt16BE(endpoint.port, 2)
  out.set(ipToBytes(endpoint.ip), family === AF_INET6 ? 8 : 4)
  return out
}

/** @returns undefined when the bytes are of another family or too short. */
export function decodeSockaddr(bytes: Buffer): Endpoint | undefined {
  if (bytes.length < 16) return undefined
  const family = bytes.readUInt16LE(0)
  const isSix = family === AF_INET6 && bytes.length >= 24
  if (family !== AF_INET && !isSix) return undefined
  const ip = ipFromBytes(isSix ? bytes.subarray(8, 24) : bytes.subarray(4, 8))
  return ip === undefined ? undefined : { ip, port: bytes.readUInt16BE(2) }
}
