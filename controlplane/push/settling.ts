// Live enrolment under STRICT: a pod that turns HBONE is still dialled in plaintext by nodes that have not heard of it. Such a
// pod settles: STRICT reaches it when every connected node has accepted the change, and after a deadline in any case.
import type { Workload } from '../../model/workload.ts'

/** Longest time that a pod settles. */
export const SETTLE_LIMIT_MS = 2000

/** Uids that settle now. */
export class Settling {
  readonly #uids = new Set<string>()

  get uids(): ReadonlySet<string> {
    return this.#uids
  }

  /**
   * Looks at what a translation has changed. A pod that appears as HBONE does not settle: a node that does not know it yet holds or
   * refuses connections to it and sends no plaintext.
   * @param changed workloads that are other values now, as they were before
   * @returns uids that have just turned from plaintext to HBONE
   */
  observe(workloads: ReadonlyMap<string, Workload>, changed: ReadonlyMap<string, Workload | undefined>): readonly string[] {
    const turned: string[] = []
    for (const [uid, before] of changed) if (before?.protocol === 'NONE' && workloads.get(uid)?.protocol === 'HBONE') turned.push(uid)
    for (const uid of this.#uids) if (workloads.get(uid)?.protocol !== 'HBONE') this.#uids.delete(uid)
    return turned
  }

  begin(uids: readonly string[]): void {
    for (const uid of uids) this.#uids.add(uid)
  }

  /** @returns whether any of them was still settling */
  end(uids: readonly string[]): boolean {
    return uids.map((uid) => this.#uids.delete(uid)).includes(true)
  }
}
