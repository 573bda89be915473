// What every way of choosing offers: one picker per group of endpoints that are equally near.
import type { Member } from './member.ts'

/** Chooses among the members of one group. Tables are built at the first pick after a change. */
export interface Picker {
  /** Which members are open has changed; the members are the same. */
  refresh(): void
  /**
   * @param hash 32 bit; only hashing pickers look at it
   * @param exclude uids that must not be chosen
   * @param nowMs monotonic; matters only while members warm up
   * @returns an open member, or undefined when there is none besides `exclude`
   */
  pick(hash: number, exclude: ReadonlySet<string>, nowMs: number): Member | undefined
}
