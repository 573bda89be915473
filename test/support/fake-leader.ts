// A leader that a test makes and deposes.
import type { Leader } from '../../controlplane/leader/leader.ts'

/** Leads from the beginning on, until told otherwise. */
export class FakeLeader implements Leader {
  readonly #listeners: ((isLeader: boolean) => void)[] = []
  isLeader = true

  onChange(tell: (isLeader: boolean) => void): void {
    this.#listeners.push(tell)
  }

  set(isLeader: boolean): void {
    this.isLeader = isLeader
    for (const tell of this.#listeners) tell(isLeader)
  }
}
