// The progress line of `weft up`: what the mesh waits for. At first only how much of what; reasons once it takes longer.
import type { ComponentStatus, MeshStatus } from '../runtime/status.ts'

const MOST_REASONS = 3

/**
 * @param withReasons name each component and pod with its reason, at most three; else `ztunnel (2), cni and 7 pods`
 * @returns a line without its end; undefined when nothing is waited for
 */
export function describeWaiting(status: Pick<MeshStatus, 'components' | 'pods'>, withReasons: boolean): string | undefined {
  const components = status.components.filter((one) => one.state !== 'running' || one.unready !== undefined)
  const pods = status.pods.filter((pod) => !pod.ready && pod.phase !== 'Succeeded')
  if (components.length + pods.length === 0) return undefined
  if (!withReasons) return `waiting for ${inWords([...kinds(components), ...(pods.length === 0 ? [] : [countOf(pods.length, 'pod')])])}`
  const all = [
    ...components.map((one) => `${one.name} (${reasonOf(one)})`),
    ...pods.map((pod) => `pod ${pod.namespace}/${pod.name} (${pod.phase === 'Running' ? 'not ready' : pod.phase})`),
  ]
  const rest = all.length - MOST_REASONS
  return `waiting for ${inWords([...all.slice(0, MOST_REASONS), ...(rest > 0 ? [`${rest} more`] : [])])}`
}

function reasonOf(component: ComponentStatus): string {
  if (component.state !== 'running') return component.lastExit === undefined ? component.state : `ended: ${component.lastExit}`
  return component.unready ?? component.state
}

/** `ztunnel-node-1`, `ztunnel-node-2` -> `ztunnel (2)` */
function kinds(components: readonly ComponentStatus[]): string[] {
  const counts = new Map<string, number>()
  for (const { name, node } of components) {
    const kind = node === undefined ? name : name.slice(0, -node.length - 1)
    counts.set(kind, (counts.get(kind) ?? 0) + 1)
  }
  return [...counts].map(([kind, count]) => (count === 1 ? kind : `${kind} (${count})`))
}

function countOf(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`
}

function inWords(parts: readonly string[]): string {
  return parts.length < 2 ? parts.join('') : `${parts.slice(0, -1).join(', ')} and ${parts.at(-1)}`
}
