// Ring hash: every member owns many points on a ring of 32 bits; a key belongs to the next point. When a member goes, only its
// keys move. Unlike Envoy's, the number of a member's points does not depend on how many others there are (until the ring is
// full), since each such change would move keys of everybody.
import { mix } from './hash.ts'
import type { Member } from './member.ts'
import type { Picker } from './picker.ts'

const FULL_RING_POINTS = 1 << 15 // built in about 5 ms; a larger ring only when it is asked for
const LARGEST_RING_POINTS = 1 << 18
const FEWEST_POINTS = 32 // per member; shares differ by 18 % then (standard deviation), and more with fewer
const INDEX_SPAN = 2 ** 21 // point and member index share one double: 32 + 21 bits

interface Ring {
  /** Ascending. */
  readonly points: Uint32Array
  /** Index of the member of each point. */
  readonly owners: Uint32Array
}

/** Keys to members by a ring. */
export class RingHash implements Picker {
  readonly #members: readonly Member[]
  readonly #minimumSize: number
  #ring: Ring | undefined

  /** @param minimumSize points of the whole ring, at least; bounded */
  constructor(members: readonly Member[], minimumSize: number) {
    this.#members = members
    this.#minimumSize = minimumSize
  }

  /** The ring holds all members, open or not: those that are not are walked past. */
  refresh(): void {
    // nothing depends on who is open
  }

  pick(hash: number, exclude: ReadonlySet<string>): Member | undefined {
    this.#ring ??= ringOf(this.#members, this.#minimumSize)
    const { points, owners } = this.#ring
    const start = firstAtOrAfter(points, hash)
    const owner = this.#members[owners[start] ?? 0]
    if (owner === undefined || isFree(owner, exclude)) return owner
    if (!this.#members.some((member) => isFree(member, exclude))) return undefined
    for (let step = 1; step < points.length; step++) {
      const next = this.#members[owners[(start + step) % points.length] ?? 0]
      if (next !== undefined && isFree(next, exclude)) return next
    }
    return undefined
  }
}

/** Points per unit of weight: as many as asked for, halved until the ring is not too large. */
function pointsPerWeight(members: readonly Member[], minimumSize: number): number {
  const weight = members.reduce((sum, member) => sum + member.endpoint.weight, 0)
  const largest = Math.min(LARGEST_RING_POINTS, Math.max(FULL_RING_POINTS, minimumSize, members.length * FEWEST_POINTS))
  let perWeight = Math.min(largest, Math.max(FEWEST_POINTS, minimumSize))
  while (perWeight * weight > largest) perWeight /= 2
  return perWeight
}

function ringOf(members: readonly Member[], minimumSize: number): Ring {
  const perWeight = pointsPerWeight(members, minimumSize)
  const counts = members.map((member) => Math.max(1, Math.round(member.endpoint.weight * perWeight)))
  const keys = new Float64Array(counts.reduce((sum, count) => sum + count, 0))
  let at = 0
  for (const [index, member] of members.entries()) {
    const count = counts[index] ?? 0
    for (let i = 1; i <= count; i++) keys[at++] = mix(member.hash ^ mix(i)) * INDEX_SPAN + index
  }
  keys.sort()
  const points = new Uint32Array(keys.length)
  const owners = new Uint32Array(keys.length)
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i] ?? 0
    points[i] = Math.floor(key / INDEX_SPAN)
    owners[i] = key % INDEX_SPAN
  }
  return { points, owners }
}

/** Index of the first point ≥ `hash`, or 0 past the last one. */
function firstAtOrAfter(points: Uint32Array, hash: number): number {
  let low = 0
  let high = points.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((points[middle] ?? 0) < hash) low = middle + 1
    else high = middle
  }
  return low === points.length ? 0 : low
}

function isFree(member: Member, exclude: ReadonlySet<string>): boolean {
  return member.isOpen && !exclude.has(member.uid)
}
