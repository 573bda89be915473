// What the kernel has of our tables, listed again only when the rules of the namespace have changed: an nft run takes 10 ms, the
// kernel's count of changes 0.05 ms, and a node compares a hundred pods at a time.
import { nftGeneration } from '../../linux/nft-generation.ts'
import type { SeenTable } from './listing.ts'
import { readTable } from './table.ts'

interface Remembered {
  readonly generation: number
  readonly table: SeenTable | undefined
}

/** Namespaces that are remembered at most: more than pods fit on a node. */
const MAX_REMEMBERED = 4096

/** Tables of one name in many namespaces. */
export class SeenTables {
  readonly #name: string
  readonly #generationOf: typeof nftGeneration
  readonly #read: typeof readTable
  readonly #remembered = new Map<bigint, Remembered>()

  constructor(name: string, generationOf = nftGeneration, read = readTable) {
    this.#name = name
    this.#generationOf = generationOf
    this.#read = read
  }

  /**
   * @param cookie of the namespace (0 = the node's): never used twice
   * @returns undefined when there is no such table. @throws MeshError NFT_MISSING, NFT_REFUSED, SYSCALL_FAILED
   */
  read(cookie: bigint, netnsFd: number | undefined): SeenTable | undefined {
    const generation = this.#generationOf(netnsFd) // before the listing: a change in between is seen the next time
    const known = this.#remembered.get(cookie)
    if (known !== undefined && known.generation === generation) return known.table
    const table = this.#read(netnsFd, this.#name)
    this.#remembered.delete(cookie)
    if (generation === undefined) return table
    if (this.#remembered.size >= MAX_REMEMBERED) this.#remembered.clear()
    this.#remembered.set(cookie, { generation, table })
    return table
  }

  forget(cookie: bigint): void {
    this.#remembered.delete(cookie)
  }
}
