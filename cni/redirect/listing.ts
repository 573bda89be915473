// Reads nft's JSON listing of one of our tables, pure. The pod may have written into its table: nothing is believed, and a
// listing that is anything but what was sealed is not intact.
import { createHash } from 'node:crypto'

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

/** Chains whose names say what a table was written as, and what the kernel then listed. */
export const WANT = 'want-'
/** See WANT. */
export const SEEN = 'seen-'

/** @param listing output of `nft -j list table`; @returns what it says; never throws */
export function judgeListing(listing: string): SeenTable {
  const objects = objectsOf(listing)
  const names = objects.flatMap((object) => nameOfChain(object) ?? [])
  const note = names.find((each) => each.startsWith(WANT))?.slice(WANT.length)
  const seals = names.filter((each) => each.startsWith(SEEN))
  return { note, isIntact: seals.length === 1 && seals[0] === `${SEEN}${sealOf(listing)}`, elements: objects.flatMap(elementsOf) }
}

/** Hash of everything that says what a table does: no handles, no seal. */
export function sealOf(listing: string): string {
  const objects = objectsOf(listing).filter((object) => !('metainfo' in object) && nameOfChain(object)?.startsWith(SEEN) !== true)
  return hashOf(JSON.stringify(objects, (key, value: unknown) => (key === 'handle' ? undefined : value)))
}

/** Short, for names and notes. */
export function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 24)
}

/** Elements of a set that carry a comment. */
function elementsOf(object: object): Element[] {
  if (!('set' in object) || typeof object.set !== 'object' || object.set === null) return []
  if (!('elem' in object.set) || !Array.isArray(object.set.elem)) return []
  return object.set.elem.flatMap((each: unknown) => elementOf(each) ?? [])
}

/** `{ "elem": { "val": "10.0.0.1", "comment": "…" } }`; elements of sets without comments are bare values. */
function elementOf(each: unknown): Element | undefined {
  const inner: unknown = typeof each === 'object' && each !== null && 'elem' in each ? each.elem : undefined
  if (typeof inner !== 'object' || inner === null || !('val' in inner) || !('comment' in inner)) return undefined
  return typeof inner.val === 'string' && typeof inner.comment === 'string' ? { value: inner.val, comment: inner.comment } : undefined
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
