// What was made of objects, kept while the object and everything else that went in are the same. One malformed object must not
// stop all others: making never throws.
import { messageOf } from '../../kit/error.ts'
import type { MeshObject } from '../../model/object.ts'
import { noteFor, type ObjectFault } from './mesh.ts'

interface Memo {
  readonly inputs: readonly unknown[]
  readonly value: unknown
  readonly faults: readonly ObjectFault[]
}

/** Values by object, from run to run; what a run did not ask for is dropped at its end. */
export class ObjectMemos {
  #memos = new Map<object, Memo>()
  #next = new Map<object, Memo>()

  /** The value of the last run while the inputs are the same; undefined = the object cannot be translated at all. */
  get<T>(object: MeshObject, inputs: readonly unknown[], faults: ObjectFault[], make: (faults: ObjectFault[]) => T): T | undefined {
    let memo = this.#memos.get(object)
    if (memo === undefined || memo.inputs.length !== inputs.length || !memo.inputs.every((input, i) => input === inputs[i])) {
      const own: ObjectFault[] = []
      memo = { inputs, value: attempt(object, own, make), faults: own }
    }
    this.#next.set(object, memo)
    faults.push(...memo.faults)
    return memo.value as T | undefined
  }

  endRun(): void {
    this.#memos = this.#next
    this.#next = new Map()
  }
}

/** The value while the list of inputs is the same, reference by reference. */
export class LastValue<T> {
  #last: { readonly inputs: readonly unknown[]; readonly value: T } | undefined

  get(inputs: readonly unknown[], make: () => T): T {
    const last = this.#last
    if (last?.inputs.length === inputs.length && last.inputs.every((input, i) => input === inputs[i])) return last.value
    const value = make()
    this.#last = { inputs, value }
    return value
  }
}

/** @returns undefined when the object cannot be read; that is noted */
export function attempt<T>(object: MeshObject, faults: ObjectFault[], make: (faults: ObjectFault[]) => T): T | undefined {
  try {
    return make(faults)
  } catch (error) {
    noteFor(object, faults)('', `the object cannot be read: ${messageOf(error)}`)
    return undefined
  }
}
