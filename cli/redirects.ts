// How each node leads its pods' connections to ztunnel, and why so: asked of the node agents, shown by `weft status` and `weft check`.
import { messageOf } from '../kit/error.ts'
import type { Finding } from './check.ts'
import type { Target } from './connect.ts'
import { type NodeDump, readNodeDumps } from './node-dumps.ts'

const AGENT = { component: 'cni', port: 15_014 } as const
const MOST_NODES = 3

/** `mode`: ebpf or nftables. `reason`: `asked for`, or what `auto` went by. */
export interface Redirection {
  readonly mode: string
  readonly reason: string
}

/** By the node's name; a text = why it is not known. */
export type Redirections = ReadonlyMap<string, Redirection | string>

/** Never rejects for a single node. @throws as readNodeDumps, when no agent can be found */
export async function readRedirections(target: Target, namespace: string): Promise<Redirections> {
  const dumps = await readNodeDumps<{ readonly redirect?: unknown }>(target, namespace, AGENT, undefined)
  return new Map(dumps.map((one) => [one.node, redirectionOf(one)]))
}

/** `ebpf: the kernel has what it needs`; `-` when it is not known. */
export function describeRedirection(one: Redirection | undefined): string {
  return one === undefined ? '-' : `${one.mode}: ${one.reason}`
}

/** One finding for each way that nodes go. What only nftables' rules hold back is weaker: that is worth a warning where nobody chose it. */
export function redirectionFindings(all: Redirections): Finding[] {
  const groups = new Map<string, { readonly nodes: string[]; readonly isGood: boolean; readonly wayOut: string }>()
  for (const [node, one] of all) {
    const isKnown = typeof one !== 'string'
    const seen = isKnown ? describeRedirection(one) : `not known: ${one}`
    const isGood = isKnown && (one.mode !== 'nftables' || one.reason === 'asked for')
    const wayOut = isKnown ? 'docs/redirect.md says what nftables cannot do' : 'does the agent run? see weft status'
    const group = groups.get(seen) ?? { nodes: [], isGood, wayOut }
    group.nodes.push(node)
    groups.set(seen, group)
  }
  return [...groups].map(([seen, { nodes, isGood, wayOut }]) => ({
    what: 'redirection',
    isGood,
    isNeeded: false,
    seen: `${seen} (${namesOf(nodes)})`,
    wayOut,
  }))
}

function redirectionOf(one: NodeDump<{ readonly redirect?: unknown }>): Redirection | string {
  if (!('dump' in one)) return messageOf(one.failure)
  const { mode, reason } = (one.dump.redirect ?? {}) as Readonly<Record<string, unknown>>
  if (typeof mode !== 'string' || typeof reason !== 'string') return 'the agent does not say'
  return { mode: mode.slice(0, 40), reason: reason.slice(0, 300) }
}

function namesOf(nodes: readonly string[]): string {
  return nodes.length <= MOST_NODES ? nodes.join(', ') : `${nodes.slice(0, MOST_NODES).join(', ')} and ${nodes.length - MOST_NODES} more`
}
