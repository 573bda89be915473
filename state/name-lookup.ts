// Look-ups of names.ts over the network: c-ares asks the name servers of the process, or those that are given. A and AAAA together;
// the shorter life counts.
import { Resolver } from 'node:dns/promises'
import { codeOf } from '../kit/error.ts'
import type { Endpoint } from '../model/address.ts'
import { formatEndpoint, parseIp } from '../model/address.ts'
import type { LookUp, NameAnswer } from './names.ts'

const TIMEOUT_MS = 1_500
const TRIES = 2
/** There is no such name, or it has no address of this family. */
const ABSENT: ReadonlySet<string> = new Set(['ENOTFOUND', 'ENODATA'])
/** How long an answer without addresses holds, ms. */
const ABSENT_TTL_MS = 5_000

/** @param servers asked in turn; none = those of /etc/resolv.conf */
export function nameLookUp(servers: readonly Endpoint[]): LookUp {
  const resolver = new Resolver({ timeout: TIMEOUT_MS, tries: TRIES })
  if (servers.length > 0) resolver.setServers(servers.map(formatEndpoint))
  return async (hostname) => {
    const both = await Promise.all([
      one(() => resolver.resolve4(hostname, { ttl: true })),
      one(() => resolver.resolve6(hostname, { ttl: true })),
    ])
    const answers = both.filter((answer) => answer !== undefined)
    if (answers.length === 0) return undefined
    const found = answers.filter(({ addresses }) => addresses.length > 0)
    // One family that nobody answered for is not one that is gone, but what was found is good.
    if (found.length === 0 && answers.length < both.length) return undefined
    const ttlMs = Math.min(...(found.length > 0 ? found : answers).map((answer) => answer.ttlMs))
    return { addresses: found.flatMap(({ addresses }) => addresses), ttlMs }
  }
}

async function one(ask: () => Promise<readonly { readonly address: string; readonly ttl: number }[]>): Promise<NameAnswer | undefined> {
  try {
    const records = await ask()
    const addresses = records.map(({ address }) => parseIp(address)).filter((ip) => ip !== undefined)
    return { addresses, ttlMs: Math.min(...records.map(({ ttl }) => ttl * 1000)) }
  } catch (error) {
    return ABSENT.has(codeOf(error)) ? { addresses: [], ttlMs: ABSENT_TTL_MS } : undefined
  }
}
