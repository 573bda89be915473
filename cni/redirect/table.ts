// A table that knows whether somebody has changed it. Its own listing is the only exact text of it (it differs between versions
// of nft), so two empty chains carry hashes in their names: of what was asked for, and of what the kernel then listed.
// They are in the kernel, thus a restarted agent compares with the truth.
import { codeOf } from '../../kit/error.ts'
import { nftGeneration } from '../../linux/nft-generation.ts'
import { cniFailure } from '../errors.ts'
import { judgeListing, SEEN, type SeenTable, sealOf, WANT } from './listing.ts'
import { applyRules, listTable } from './nft.ts'

/** A table that is full of somebody's rubbish lists as this. */
const UNREADABLE: SeenTable = { note: undefined, isIntact: false, elements: [] }

/** How often a table is written again because somebody changed rules between the write and the listing. */
const MAX_TRIES = 5

/**
 * Replaces a table in one transaction, connections not disturbed, then seals it. What is sealed is what was written: the kernel
 * counts changes, and one more than ours means that the listing may hold somebody else's.
 * @param text `table inet NAME { … }`
 * @param note short word of [a-z0-9-] that readTable gives back
 * @throws MeshError NFT_REFUSED, NFT_MISSING, NFT_FAILED
 */
export function writeTable(netnsFd: number | undefined, name: string, text: string, note: string): void {
  const want = `add chain inet ${name} ${WANT}${note}\n`
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const before = nftGeneration(netnsFd)
    applyRules(netnsFd, `add table inet ${name}\ndelete table inet ${name}\n${text}${want}`)
    const listing = listTable(netnsFd, name) ?? ''
    if (before !== undefined && nftGeneration(netnsFd) !== before + 1) continue
    applyRules(netnsFd, `add chain inet ${name} ${SEEN}${sealOf(listing)}\n`)
    return
  }
  throw cniFailure('NFT_FAILED', { table: name, reason: 'somebody keeps changing rules meanwhile' })
}

/** @returns undefined when there is no such table. @throws MeshError NFT_MISSING, NFT_REFUSED */
export function readTable(netnsFd: number | undefined, name: string): SeenTable | undefined {
  let listing: string | undefined
  try {
    listing = listTable(netnsFd, name)
  } catch (error) {
    if (codeOf(error) !== 'NFT_FAILED') throw error
    return UNREADABLE
  }
  return listing === undefined ? undefined : judgeListing(listing)
}

/** Removes a table; one that is not there is fine. @throws MeshError NFT_REFUSED, NFT_MISSING, NFT_FAILED */
export function dropTable(netnsFd: number | undefined, name: string): void {
  applyRules(netnsFd, `add table inet ${name}\ndelete table inet ${name}\n`)
}
