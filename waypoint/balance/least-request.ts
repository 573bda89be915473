// Least request: of two members drawn by weight, the one with fewer active requests for its weight. Needs no list in order of
// load, and proxies that do not know of each other do not all run to the same endpoint.
import type { Member } from './member.ts'
import type { Picker } from './picker.ts'
import type { SlowStart } from './slow-start.ts'
import { WeightTable } from './weight-table.ts'

/** Power of two choices. */
export class LeastRequest implements Picker {
  readonly #table: WeightTable
  readonly #slowStart: SlowStart

  constructor(members: readonly Member[], slowStart: SlowStart, random: () => number) {
    this.#table = new WeightTable(members, slowStart, random)
    this.#slowStart = slowStart
  }

  refresh(): void {
    this.#table.refresh()
  }

  pick(_hash: number, exclude: ReadonlySet<string>, nowMs: number): Member | undefined {
    const one = this.#table.draw(exclude, nowMs)
    if (one === undefined || one.active === 0) return one // nobody can have fewer
    const other = this.#table.draw(exclude, nowMs)
    if (other === undefined || other === one) return one
    const isLess = other.active * this.#slowStart.weightOf(one, nowMs) < one.active * this.#slowStart.weightOf(other, nowMs)
    return isLess ? other : one
  }
}
