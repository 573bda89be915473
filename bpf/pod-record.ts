// A pod's addresses as the programs know it: at most one of each family, at least one.
import type { IpAddress } from '../model/address.ts'
import { isIpv6 } from '../model/address.ts'
import { bpfFailure } from './errors.ts'
import type { podRecord, ValueOf } from './layout.ts'

/** struct pod */
export type PodRecord = ValueOf<typeof podRecord>

/** @throws MeshError TOO_MANY_ADDRESSES */
export function recordOf(ips: readonly IpAddress[], flags: number): PodRecord {
  const four = ips.filter((ip) => !isIpv6(ip))
  const six = ips.filter(isIpv6)
  if (four.length > 1 || six.length > 1 || ips.length === 0) throw bpfFailure('TOO_MANY_ADDRESSES', { ips: ips.join(' ') })
  return { ip4: four[0], ip6: six[0], flags }
}

/** Whether both have the same addresses (flags aside). */
export function isSameRecord(a: PodRecord, b: PodRecord): boolean {
  return a.ip4 === b.ip4 && a.ip6 === b.ip6
}
