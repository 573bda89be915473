// The groups that a cluster chooses from at present: made when the endpoints change, weighed again when one is ejected or
// comes back.
import type { Member } from './member.ts'
import type { Picker } from './picker.ts'
import { sharesOf } from './shares.ts'
import type { Neighbourhood } from './locality.ts'

interface Group {
  readonly near: Neighbourhood
  readonly picker: Picker
  share: number
}

/** Groups of usable members with the share of each. */
export class Plan {
  readonly #groups: readonly Group[]
  readonly #minHealthPercent: number
  #isPanicking = false

  /**
   * @param parts nearest first; their members are usable
   * @param newPicker makes the picker of one part
   * @param minHealthPercent see sharesOf
   */
  constructor(parts: readonly Neighbourhood[], newPicker: (members: readonly Member[]) => Picker, minHealthPercent: number) {
    this.#groups = parts.map((near) => ({ near, picker: newPicker(near.members), share: 0 }))
    this.#minHealthPercent = minHealthPercent
    this.weigh()
  }

  /** Whether ejections are ignored somewhere. */
  get isPanicking(): boolean {
    return this.#isPanicking
  }

  /** Whether there are several groups, so that `part` matters to `pick`. */
  get isSplit(): boolean {
    return this.#groups.length > 1
  }

  /** Takes over which members are ejected. */
  weigh(): void {
    const health = this.#groups.map(({ near: { level, weight, members } }) => {
      const healthy = members.reduce((count, member) => count + (member.isEjected ? 0 : 1), 0)
      return { level, weight, total: members.length, healthy }
    })
    const shares = sharesOf(health, this.#minHealthPercent)
    this.#isPanicking = shares.some((share) => share.isPanicking)
    for (const [index, group] of this.#groups.entries()) {
      group.share = shares[index]?.share ?? 0
      const isPanicking = shares[index]?.isPanicking ?? false
      for (const member of group.near.members) {
        member.isOpen = isPanicking || !member.isEjected
        if (!member.isOpen) member.turn = Number.NaN
      }
      group.picker.refresh()
    }
  }

  /**
   * Chooses a group by share, then a member of it. When all its members are excluded, one of another group, also of a farther
   * level; when there is none either, an excluded one.
   * @param part 0…1, which group
   * @returns undefined when no member is open
   */
  pick(part: number, hash: number, exclude: ReadonlySet<string>, nowMs: number): Member | undefined {
    const group = this.#groupAt(part)
    if (group === undefined) return undefined
    const member = group.picker.pick(hash, exclude, nowMs)
    if (member !== undefined || exclude.size === 0) return member
    for (const other of this.#groups) {
      const spare = other === group ? undefined : other.picker.pick(hash, exclude, nowMs)
      if (spare !== undefined) return spare
    }
    return group.picker.pick(hash, NOBODY, nowMs)
  }

  #groupAt(part: number): Group | undefined {
    let left = part
    let last: Group | undefined
    for (const group of this.#groups) {
      if (group.share === 0) continue
      if (left < group.share) return group
      left -= group.share
      last = group
    }
    return last // only rounding leads here
  }
}

const NOBODY: ReadonlySet<string> = new Set()
