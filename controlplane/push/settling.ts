// Live enrolment under STRICT: a pod that turns HBONE is still dialled in plaintext by nodes that have not heard of it. Such a
// pod settles: STRICT reaches it when every connected node has accepted the change, and after a deadline in any case.
import type { Workload } from '../../model/workload.ts'

/** Longest time that a pod settles. */
export const SETTLE_LIMIT_MS = 2000

/** Uids that settle now. */
export class Settling {
  readonly #uids = new Set<string>()
  #protocols = new Map<string, Workload['protocol']>()

  get uids(): ReadonlySet<string> {
    return this.#uids
  }

  /**
   * Compares with the last translation. A pod that appears as HBONE does not settle: a node that does not know it yet holds or
   * refuses connections to it and sends no plaintext.
   * @returns uids that have just turned from plaintext to HBONE
   */
  observe(workloads: ReadonlyMap<string, Workload>): readonly string[] {
    const turned: string[] = []
    const next = new Map<string, Workload['protocol']>()
    for (const [uid, { protocol }] of workloads) {
      next.set(uid, protocol)
      if (protocol === 'HBONE' && this.#protocols.get(uid) === 'NONE') turned.push(uid)
    }
    for (const uid of this.#uids) if (next.get(uid) !== 'HBONE') this.#uids.delete(uid)
    this.#protocols = next
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
