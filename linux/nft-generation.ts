// The kernel's count of changes to the nftables rules of a network namespace: as long as it is the same, nothing has changed.
// It spares the node agent a run of `nft` per pod and comparison.
import { inNetns } from './netns.ts'
import { askNetlink, NETLINK, NETLINK_HEADER_BYTES } from './netlink.ts'

/**
 * @param netnsFd undefined = this process's namespace
 * @returns undefined when the kernel does not say (no nf_tables)
 * @throws MeshError SYSCALL_FAILED
 */
export function nftGeneration(netnsFd: number | undefined): number | undefined {
  const ask = (): Buffer => askNetlink(NETLINK.NETFILTER, GET_GENERATION, NLM_F_REQUEST, Buffer.alloc(NFGENMSG_BYTES))
  return readGeneration(netnsFd === undefined ? ask() : inNetns(netnsFd, ask))
}

/** Reads the answer: struct nlmsghdr, struct nfgenmsg, attributes. */
export function readGeneration(answer: Buffer): number | undefined {
  const first = NETLINK_HEADER_BYTES + NFGENMSG_BYTES
  if (answer.length < first || answer.readUInt16LE(4) !== NEW_GENERATION) return undefined
  for (let at = first; at + 4 <= answer.length; ) {
    const length = answer.readUInt16LE(at)
    if (length < 4 || at + length > answer.length) return undefined
    if ((answer.readUInt16LE(at + 2) & TYPE_MASK) === GENERATION_ID && length >= 8) return answer.readUInt32BE(at + 4)
    at += (length + 3) & ~3
  }
  return undefined
}

const NLM_F_REQUEST = 1
const NFGENMSG_BYTES = 4
const NF_TABLES = 10 << 8 // NFNL_SUBSYS_NFTABLES
const NEW_GENERATION = NF_TABLES | 15
const GET_GENERATION = NF_TABLES | 16
const GENERATION_ID = 1 // NFTA_GEN_ID
const TYPE_MASK = 0x3fff
