// Virtual addresses for hosts that have none: from 240.240.0.0/16 and, in a mesh with IPv6, 2001:2::/48, as Istio's allocator does.
// An address that the status names stays; a new one follows from the host's name, so that every replica gives the same before the
// status is written.
import { hash } from 'node:crypto'
import { type Cidr, cidrContains, type IpAddress, isIpv6, parseCidr, parseIp } from '../../../model/address.ts'
import type { ServiceEntry } from '../../../model/service-entry.ts'

/** Blocks that addresses are given from; reserved ones that nobody routes. */
export const ALLOCATED_BLOCKS: readonly Cidr[] = ['240.240.0.0/16', '2001:2::/48']
  .map((text) => parseCidr(text))
  .filter((block) => block !== undefined)

/** A host that wants addresses. */
export interface Wanting {
  /** `namespace/name/host`: what a new address follows from. */
  readonly key: string
  readonly host: string
  readonly object: ServiceEntry
}

/** Attempts for one host in a block: beyond it counts as full. */
const MAX_TRIES = 256

/**
 * @param hosts oldest entry first
 * @returns addresses by key; a host that finds no free one is absent
 */
export function allocate(hosts: readonly Wanting[], hasIpv6: boolean): Map<string, readonly IpAddress[]> {
  const families = hasIpv6 ? ([4, 6] as const) : ([4] as const)
  const taken = new Set<IpAddress>()
  const kept = new Map<string, IpAddress>()
  for (const { key, host, object } of hosts) {
    for (const ip of statusAddresses(object, host)) {
      const place = `${isIpv6(ip) ? 6 : 4} ${key}`
      if (taken.has(ip) || kept.has(place)) continue
      taken.add(ip)
      kept.set(place, ip)
    }
  }
  const given = new Map<string, readonly IpAddress[]>()
  for (const { key } of hosts) {
    const ips = families.map((family) => kept.get(`${family} ${key}`) ?? freeAddress(key, family, taken)).filter((ip) => ip !== undefined)
    for (const ip of ips) taken.add(ip)
    if (ips.length > 0) given.set(key, ips)
  }
  return given
}

/** A status is anybody's text until it is parsed; what lies outside of the blocks was not given by an allocator. */
function statusAddresses({ status }: ServiceEntry, host: string): IpAddress[] {
  const list: unknown = (status as { readonly addresses?: unknown } | null | undefined)?.addresses
  if (!Array.isArray(list)) return []
  return list.slice(0, 1024).flatMap((entry: { readonly value?: unknown; readonly host?: unknown } | null) => {
    if (entry?.host !== host || typeof entry.value !== 'string') return []
    const ip = parseIp(entry.value)
    return ip !== undefined && ALLOCATED_BLOCKS.some((block) => cidrContains(block, ip)) ? [ip] : []
  })
}

function freeAddress(key: string, family: 4 | 6, taken: ReadonlySet<IpAddress>): IpAddress | undefined {
  const start = Number.parseInt(hash('sha256', key, 'hex').slice(0, 8), 16)
  for (let i = 0; i < MAX_TRIES; i++) {
    const ip = family === 4 ? address4(start + i) : address6(start + i)
    if (ip !== undefined && !taken.has(ip)) return ip
  }
  return undefined
}

/** Neither the first nor the last address of the block. */
function address4(number: number): IpAddress | undefined {
  const host = 1 + (number % 0xfffe)
  return parseIp(`240.240.${host >> 8}.${host & 0xff}`)
}

function address6(number: number): IpAddress | undefined {
  const host = 1 + (number % 0xfffffffe)
  return parseIp(`2001:2::${(host >>> 16).toString(16)}:${(host & 0xffff).toString(16)}`)
}
