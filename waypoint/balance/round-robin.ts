// Round robin with weights, as stride scheduling: each member has a next turn on an endless line, the earliest is served and
// moves on by 1 / weight. Heavy members come often and evenly spaced, never in bursts. Turns live in the members and so
// outlast updates of the endpoint list.
import type { Member } from './member.ts'
import type { Picker } from './picker.ts'
import type { SlowStart } from './slow-start.ts'

/** Members in turn. */
export class RoundRobin implements Picker {
  readonly #members: readonly Member[]
  readonly #slowStart: SlowStart
  readonly #random: () => number
  /** Open members as a binary heap, the earliest turn first; undefined = to be made. */
  #heap: Member[] | undefined

  constructor(members: readonly Member[], slowStart: SlowStart, random: () => number) {
    this.#members = members
    this.#slowStart = slowStart
    this.#random = random
  }

  refresh(): void {
    this.#heap = undefined
  }

  pick(_hash: number, exclude: ReadonlySet<string>, nowMs: number): Member | undefined {
    this.#heap ??= this.#arrange(nowMs)
    const heap = this.#heap
    const index = exclude.size === 0 ? 0 : earliest(heap, exclude)
    const member = heap[index]
    if (member === undefined) return undefined
    member.turn += 1 / this.#slowStart.weightOf(member, nowMs)
    sink(heap, index)
    return member
  }

  /** Newcomers get a random place in the present round: proxies that start together do not begin with the same endpoint. */
  #arrange(nowMs: number): Member[] {
    const heap = this.#members.filter((member) => member.isOpen)
    let now = Number.POSITIVE_INFINITY
    for (const { turn } of heap) if (turn < now) now = turn
    if (now === Number.POSITIVE_INFINITY) now = 0
    for (const member of heap) {
      if (Number.isNaN(member.turn)) member.turn = now + this.#random() / this.#slowStart.weightOf(member, nowMs)
    }
    return heap.sort((a, b) => a.turn - b.turn) // a sorted list is a heap
  }
}

/** Index of the earliest member outside `exclude`; -1 = there is none. */
function earliest(heap: readonly Member[], exclude: ReadonlySet<string>): number {
  let best = -1
  let turn = Number.POSITIVE_INFINITY
  for (const [index, member] of heap.entries()) {
    if (member.turn >= turn || exclude.has(member.uid)) continue
    best = index
    turn = member.turn
  }
  return best
}

/** Puts the member at `index`, whose turn has become later, where it belongs. */
function sink(heap: Member[], index: number): void {
  const member = heap[index]
  if (member === undefined) return
  let at = index
  for (;;) {
    let child = 2 * at + 1
    let next = heap[child]
    const right = heap[child + 1]
    if (next !== undefined && right !== undefined && right.turn < next.turn) {
      child += 1
      next = right
    }
    if (next === undefined || next.turn >= member.turn) break
    heap[at] = next
    at = child
  }
  heap[at] = member
}
