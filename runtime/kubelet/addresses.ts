// Addresses of a node's pods: one number gives the IPv4 and the IPv6 address. Numbers are given out in a circle, so that a
// freed address rests for as long as possible (caches of neighbours and clients still know it).
import { runtimeFailure } from '../errors.ts'

const FIRST = 10
const LAST = 250

/** Addresses of one pod, without prefix length. */
export interface PodAddresses {
  readonly v4: string
  readonly v6: string
}

/** Gives out and takes back addresses of one node. */
export class AddressPool {
  readonly #index: number
  readonly #used = new Set<number>()
  #next = FIRST

  /** @param nodeIndex number of the node, from 1 */
  constructor(nodeIndex: number) {
    this.#index = nodeIndex
  }

  /** @throws MeshError NO_ADDRESS_LEFT */
  take(): PodAddresses {
    for (let tries = FIRST; tries <= LAST; tries++) {
      const number = this.#next
      this.#next = number === LAST ? FIRST : number + 1
      if (this.#used.has(number)) continue
      this.#used.add(number)
      return { v4: `10.244.${this.#index}.${number}`, v6: `fd00:10:244:${this.#index.toString(16)}::${number.toString(16)}` }
    }
    throw runtimeFailure('NO_ADDRESS_LEFT', { limit: LAST - FIRST + 1 })
  }

  release(addresses: PodAddresses): void {
    this.#used.delete(Number(addresses.v4.split('.')[3]))
  }
}
