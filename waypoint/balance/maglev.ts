// Maglev (Eisenbud and others, NSDI 2016): a table in which each member claims slots in an order of its own; a key's slot names
// its member. Look-ups cost one read, shares are even to a slot, and few keys move when members come and go.
import { mix } from './hash.ts'
import type { Member } from './member.ts'
import type { Picker } from './picker.ts'

const LARGEST_TABLE = 1_000_003 // 4 MB; Istio's default is 65,537
const OFFSET_SALT = 0x9e3779b9
const SKIP_SALT = 0x85157af5
const PROBE_SALT = 0xb5297a4d
const PROBES = 32

/** Keys to members by a table. */
export class Maglev implements Picker {
  readonly #members: readonly Member[]
  readonly #tableSize: number
  /** Index of a member per slot; undefined = to be built, which takes some ms for a thousand members. */
  #table: Uint32Array | undefined

  /** @param tableSize slots; raised to the next prime and at least the number of members, and bounded */
  constructor(members: readonly Member[], tableSize: number) {
    this.#members = [...members].sort((a, b) => (a.uid < b.uid ? -1 : 1)) // the order decides who claims first
    this.#tableSize = tableSize
  }

  /** The table holds all members, open or not: keys of those that are not are moved by probing. */
  refresh(): void {
    // nothing depends on who is open
  }

  pick(hash: number, exclude: ReadonlySet<string>): Member | undefined {
    if (this.#members.length === 0) return undefined
    this.#table ??= tableOf(this.#members, primeFrom(Math.max(Math.min(this.#tableSize, LARGEST_TABLE), this.#members.length)))
    const table = this.#table
    let probe = hash
    for (let i = 0; i < PROBES; i++) {
      const member = this.#members[table[probe % table.length] ?? 0]
      if (member !== undefined && isFree(member, exclude)) return member
      probe = mix(probe ^ PROBE_SALT)
    }
    const start = hash % this.#members.length
    for (let i = 0; i < this.#members.length; i++) {
      const member = this.#members[(start + i) % this.#members.length]
      if (member !== undefined && isFree(member, exclude)) return member
    }
    return undefined
  }
}

/** The members claim free slots in turn; a lighter one sits out turns in proportion. */
function tableOf(members: readonly Member[], size: number): Uint32Array {
  const table = new Uint32Array(size)
  const isTaken = new Uint8Array(size)
  const heaviest = members.reduce((most, member) => Math.max(most, member.endpoint.weight), 0)
  const share = Float64Array.from(members, (member) => member.endpoint.weight / heaviest)
  const credit = new Float64Array(members.length)
  const slot = Uint32Array.from(members, (member) => mix(member.hash ^ OFFSET_SALT) % size)
  const skip = Uint32Array.from(members, (member) => (mix(member.hash ^ SKIP_SALT) % (size - 1)) + 1)
  for (let filled = 0; filled < size; ) {
    for (let index = 0; index < members.length && filled < size; index++) {
      const due = (credit[index] ?? 0) + (share[index] ?? 0)
      credit[index] = due >= 1 ? due - 1 : due
      if (due < 1) continue
      let at = slot[index] ?? 0
      while (isTaken[at] === 1) at = (at + (skip[index] ?? 1)) % size // a prime size: every slot is met
      table[at] = index
      isTaken[at] = 1
      slot[index] = at
      filled += 1
    }
  }
  return table
}

function isFree(member: Member, exclude: ReadonlySet<string>): boolean {
  return member.isOpen && !exclude.has(member.uid)
}

/** @returns the least prime that is at least `number` and at least 3 */
export function primeFrom(number: number): number {
  let candidate = Math.max(3, Math.ceil(number))
  while (!isPrime(candidate)) candidate += 1
  return candidate
}

function isPrime(number: number): boolean {
  if (number % 2 === 0) return number === 2
  for (let divisor = 3; divisor * divisor <= number; divisor += 2) if (number % divisor === 0) return false
  return true
}
