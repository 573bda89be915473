// A table that knows whether somebody has changed it. Its own listing is the only exact text of it (it differs between versions
// of nft), so two empty chains carry hashes in their names: of what was asked for, and of what the kernel then listed.
// They are in the kernel, thus a restarted agent compares with the truth.
import { createHash } from 'node:crypto'
import { codeOf } from '../../kit/error.ts'
import { applyRules, listTable } from './nft.ts'

/** An element of a set. */
export interface Element {
  readonly value: string
  readonly comment: string
}

/** What the kernel has. */
export interface SeenTable {
  /** The note that it was written with; undefined when it cannot be read. */
  readonly note: string | undefined
  /** False = somebody changed something in it. */
  readonly isIntact: boolean
  /** Of all its sets. */
  readonly elements: readonly Element[]
}

/** A table that is full of somebody's rubbish lists as this. */
const UNREADABLE: SeenTable = { note: undefined, isIntact: false, elements: [] }
const WANT = 'want-'
const SEEN = 'seen-'

/**
 * Replaces a table in one transaction, connections not disturbed, then seals it.
 * @param text `table inet NAME { … }`
 * @param note short word of [a-z0-9-] that readTable gives back
 * @throws MeshError NFT_REFUSED, NFT_MISSING, NFT_FAILED
 */
export function writeTable(netnsFd: number | undefined, name: string, text: string, note: string): void {
  const want = `add chain inet ${name} ${WANT}${note}\n`
  applyRules(netnsFd, `add table inet ${name}\ndelete table inet ${name}\n${text}${want}`)
  const listing = listTable(netnsFd, name) ?? ''
  applyRules(netnsFd, `add chain inet ${name} ${SEEN}${hashOf(canonical(listing))}\n`)
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
  if (listing === undefined) return undefined
  const names = chainNames(listing)
  const note = names.find((each) => each.startsWith(WANT))?.slice(WANT.length)
  const seen = names.filter((each) => each.startsWith(SEEN))
  return { note, isIntact: seen.length === 1 && seen[0] === `${SEEN}${hashOf(canonical(listing))}`, elements: elementsOf(listing) }
}

/** Removes a table; one that is not there is fine. @throws MeshError NFT_REFUSED, NFT_MISSING, NFT_FAILED */
export function dropTable(netnsFd: number | undefined, name: string): void {
  applyRules(netnsFd, `add table inet ${name}\ndelete table inet ${name}\n`)
}

/** Elements of all sets of a listing that carry a comment. */
function elementsOf(listing: string): Element[] {
  return objectsOf(listing).flatMap((object) => {
    if (!('set' in object) || typeof object.set !== 'object' || object.set === null) return []
    if (!('elem' in object.set) || !Array.isArray(object.set.elem)) return []
    return object.set.elem.flatMap((each: unknown) => elementOf(each) ?? [])
  })
}

/** `{ "elem": { "val": "10.0.0.1", "comment": "…" } }`; elements of sets without comments are bare values. */
function elementOf(each: unknown): Element | undefined {
  const inner: unknown = typeof each === 'object' && each !== null && 'elem' in each ? each.elem : undefined
  if (typeof inner !== 'object' || inner === null || !('val' in inner) || !('comment' in inner)) return undefined
  return typeof inner.val === 'string' && typeof inner.comment === 'string' ? { value: inner.val, comment: inner.comment } : undefined
}

/** Short, for names and notes. */
export function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 24)
}

/** Everything of a listing that says what the table does: no handles, no counters, no seal. */
function canonical(listing: string): string {
  return JSON.stringify(
    objectsOf(listing).filter((object) => !('metainfo' in object) && !isSeal(object)),
    (key, value: unknown) => (key === 'handle' ? undefined : value),
  )
}

function chainNames(listing: string): string[] {
  return objectsOf(listing).flatMap((object) => nameOfChain(object) ?? [])
}

function isSeal(object: object): boolean {
  return nameOfChain(object)?.startsWith(SEEN) === true
}

function nameOfChain(object: object): string | undefined {
  if (!('chain' in object) || typeof object.chain !== 'object' || object.chain === null || !('name' in object.chain)) return undefined
  return typeof object.chain.name === 'string' ? object.chain.name : undefined
}

/** nft's JSON; what is something else has no objects. */
function objectsOf(listing: string): object[] {
  let value: unknown
  try {
    value = JSON.parse(listing)
  } catch {
    return [] // cut off or not JSON: then nothing in it counts, and the seal does not fit
  }
  if (typeof value !== 'object' || value === null || !('nftables' in value) || !Array.isArray(value.nftables)) return []
  return value.nftables.filter((each: unknown) => typeof each === 'object' && each !== null)
}
