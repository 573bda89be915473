// What a captured connection dialled: the kernel's (or bpf/'s emulated) SO_ORIGINAL_DST. A connection without one was not
// captured: somebody dialled port 15001 itself. Inbound ones keep what was dialled as their own address where sk_lookup steers
// them; where nftables redirects them they have the listener's, and are asked likewise.
import { originalDst } from '../../linux/socket.ts'
import { isIpv6 } from '../../model/address.ts'
import type { Endpoint } from '../../model/address.ts'
import { ztunnelFailure } from '../errors.ts'

/**
 * @param local address of the accepted socket, which says the family
 * @throws MeshError NO_ORIGINAL_DST; also when the "original" destination is the listener itself
 */
export function readOriginalDst(fd: number, local: Endpoint): Endpoint {
  const original = originalDst(fd, isIpv6(local.ip) ? 6 : 4)
  if (original === undefined) throw ztunnelFailure('NO_ORIGINAL_DST')
  if (original.ip === local.ip && original.port === local.port) throw ztunnelFailure('NO_ORIGINAL_DST')
  return original
}

/**
 * What an inbound plaintext connection dialled; the listener's own port if somebody dialled that.
 * @param local address of the accepted socket
 */
export function readInboundDst(fd: number, local: Endpoint): Endpoint {
  return local.port === PLAINTEXT_PORT ? (originalDst(fd, isIpv6(local.ip) ? 6 : 4) ?? local) : local
}

const PLAINTEXT_PORT = 15_006
