// The status of a ServiceEntry: what is in force of it, its waypoint, and the addresses that its hosts were given. The list of
// addresses is replaced as a whole; entries that another allocator wrote for other hosts stay.
import { isDeepStrictEqual } from 'node:util'
import { cidrContains, parseIp } from '../../model/address.ts'
import type { Condition } from '../../model/object.ts'
import type { EntryAddress, ServiceEntry, ServiceEntryStatus } from '../../model/service-entry.ts'
import type { Finding } from '../translate/gateway/finding.ts'
import { ALLOCATED_BLOCKS } from '../translate/service-entry/allocate.ts'
import { mergeConditions } from './merge.ts'

/**
 * @param findings of the types in `own`; a condition of these types that is not among them is taken back
 * @param now RFC 3339
 * @returns the status to write; undefined = it says so already
 */
export function entryStatus(
  object: ServiceEntry,
  findings: readonly Finding[],
  own: ReadonlySet<string>,
  allocated: readonly EntryAddress[],
  now: string,
): ServiceEntryStatus | undefined {
  const given: { readonly conditions?: unknown; readonly addresses?: unknown } = object.status ?? {}
  const before: readonly Condition[] = Array.isArray(given.conditions) ? given.conditions : []
  const conditions = mergeConditions(before, findings, own, { generation: object.metadata.generation ?? 0, now })
  const known: readonly EntryAddress[] = Array.isArray(given.addresses) ? given.addresses : []
  const hosts = new Set(allocated.map(({ host }) => host))
  const addresses = [...known.filter((entry) => !hosts.has(entry?.host) && isWanted(object, entry)), ...allocated]
  const isSame = conditions === before && isDeepStrictEqual(addresses, known)
  if (isSame) return undefined
  // Server-side apply takes back what is left out; merging leaves alone what is not named.
  return { conditions, ...(addresses.length + known.length > 0 && { addresses }) }
}

/** An address of a host that the entry no longer has is nobody's, and what lies in our blocks is what we say now. */
function isWanted(object: ServiceEntry, entry: EntryAddress | null): boolean {
  const hosts: unknown = object.spec?.hosts
  if (entry === null || !Array.isArray(hosts) || !hosts.includes(entry.host)) return false
  const ip = typeof entry.value === 'string' ? parseIp(entry.value) : undefined
  return ip !== undefined && !ALLOCATED_BLOCKS.some((block) => cidrContains(block, ip))
}
