// The node's table: which pods' probes are recognised. The kernel's list is the only one; it is read, changed and written whole.
import { parseIp } from '../../model/address.ts'
import { hashOf, type SeenTable } from './listing.ts'
import { NODE_TABLE, nodeTable, type ProbedPod } from './rules.ts'
import { SeenTables } from './seen-tables.ts'
import { dropTable, writeTable } from './table.ts'

/** The node's namespace among those that SeenTables knows. */
const NODE = 0n

/** The pods in the node's table. */
export class NodeProbes {
  readonly #tables = new SeenTables(NODE_TABLE)

  /** Whether exactly these addresses are in force. @throws MeshError NFT_MISSING, NFT_REFUSED */
  has({ cookie, ips }: ProbedPod): boolean {
    const found = this.#read().find((pod) => pod.cookie === cookie)
    return found !== undefined && found.ips.length === ips.length && ips.every((ip) => found.ips.includes(ip))
  }

  /** Cookies of all pods. */
  cookies(): bigint[] {
    return this.#read().map((pod) => pod.cookie)
  }

  /** An address that was another pod's is this one's now. @throws MeshError NFT_MISSING, NFT_REFUSED, NFT_FAILED */
  set(pod: ProbedPod): void {
    if (this.has(pod)) return
    const others = this.#read().filter(({ cookie, ips }) => cookie !== pod.cookie && !ips.some((ip) => pod.ips.includes(ip)))
    this.#write([...others, { cookie: pod.cookie, ips: pod.ips }])
  }

  /** The table goes with its last pod. @throws MeshError NFT_MISSING, NFT_REFUSED, NFT_FAILED */
  delete(cookie: bigint): void {
    const pods = this.#read()
    if (pods.some((pod) => pod.cookie === cookie)) this.#write(pods.filter((pod) => pod.cookie !== cookie))
  }

  #write(pods: readonly ProbedPod[]): void {
    const text = nodeTable(pods)
    if (pods.length > 0) writeTable(undefined, NODE_TABLE, text, hashOf(text))
    else dropTable(undefined, NODE_TABLE)
  }

  /** What somebody has changed counts as not there: repair then writes it pod by pod. */
  #read(): readonly ProbedPod[] {
    const table = this.#tables.read(NODE, undefined)
    return table?.isIntact === true ? podsOf(table.elements) : []
  }
}

function podsOf(elements: SeenTable['elements']): ProbedPod[] {
  const pods = new Map<bigint, ProbedPod>()
  for (const { value, comment } of elements) {
    const ip = parseIp(value)
    if (ip === undefined || !/^\d{1,20}$/.test(comment)) continue
    const cookie = BigInt(comment)
    pods.set(cookie, { cookie, ips: [...(pods.get(cookie)?.ips ?? []), ip] })
  }
  return [...pods.values()]
}
