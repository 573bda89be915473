// Draws members at random by weight: least request and random are made of it.
import type { Member } from './member.ts'
import type { SlowStart } from './slow-start.ts'

const DRAWS = 6 // with this many tries an excluded member is nearly always avoided without a scan

/** Open members of a group with their running sum of weights. */
export class WeightTable {
  readonly #all: readonly Member[]
  readonly #slowStart: SlowStart
  readonly #random: () => number
  #open: readonly Member[] = []
  /** Running sums of weights; undefined = all weights are equal. */
  #sums: Float64Array | undefined
  /** From this time on the table has to be filled again. */
  #dueMs = Number.NEGATIVE_INFINITY

  constructor(members: readonly Member[], slowStart: SlowStart, random: () => number) {
    this.#all = members
    this.#slowStart = slowStart
    this.#random = random
  }

  /** Forgets which members are open. */
  refresh(): void {
    this.#dueMs = Number.NEGATIVE_INFINITY
  }

  /** @returns a member outside `exclude`, by weight; undefined when there is none */
  draw(exclude: ReadonlySet<string>, nowMs: number): Member | undefined {
    if (nowMs >= this.#dueMs) this.#fill(nowMs)
    if (this.#open.length === 0) return undefined
    for (let i = 0; i < DRAWS; i++) {
      const member = this.#open[this.#index()]
      if (member !== undefined && !exclude.has(member.uid)) return member
    }
    return this.#scan(exclude)
  }

  #fill(nowMs: number): void {
    const open = this.#all.filter((member) => member.isOpen)
    const sums = new Float64Array(open.length)
    let total = 0
    let isEven = true
    for (const [index, member] of open.entries()) {
      const weight = this.#slowStart.weightOf(member, nowMs)
      total += weight
      sums[index] = total
      if (weight !== sums[0]) isEven = false
    }
    this.#open = open
    this.#sums = isEven ? undefined : sums
    this.#dueMs = this.#slowStart.holdUntilMs(open, nowMs)
  }

  #index(): number {
    const sums = this.#sums
    if (sums === undefined) return Math.floor(this.#random() * this.#open.length)
    const last = sums.length - 1
    const wanted = this.#random() * (sums[last] ?? 0)
    let low = 0
    let high = last
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((sums[middle] ?? 0) > wanted) high = middle
      else low = middle + 1
    }
    return low
  }

  #scan(exclude: ReadonlySet<string>): Member | undefined {
    const count = this.#open.length
    const start = Math.floor(this.#random() * count)
    for (let i = 0; i < count; i++) {
      const member = this.#open[(start + i) % count]
      if (member !== undefined && !exclude.has(member.uid)) return member
    }
    return undefined
  }
}
