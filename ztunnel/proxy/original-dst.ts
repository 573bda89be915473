// What a captured connection dialled: the kernel's (or bpf/'s emulated) SO_ORIGINAL_DST. A connection without one was not
// captured: somebody dialled port 15001 itself.
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
