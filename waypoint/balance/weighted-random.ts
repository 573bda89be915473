// Random: members by weight, whatever their load.
import type { Member } from './member.ts'
import type { Picker } from './picker.ts'
import type { SlowStart } from './slow-start.ts'
import { WeightTable } from './weight-table.ts'

/** Independent draws by weight. */
export class WeightedRandom implements Picker {
  readonly #table: WeightTable

  constructor(members: readonly Member[], slowStart: SlowStart, random: () => number) {
    this.#table = new WeightTable(members, slowStart, random)
  }

  refresh(): void {
    this.#table.refresh()
  }

  pick(_hash: number, exclude: ReadonlySet<string>, nowMs: number): Member | undefined {
    return this.#table.draw(exclude, nowMs)
  }
}
