// Nodes, ServiceCIDR objects and settings -> the address blocks of the mesh.
import { type Cidr, parseCidr } from '../../model/address.ts'
import type { Node, ServiceCidr } from '../../model/object.ts'
import { type MeshNames, type Note, noteFor, type ObjectFault } from './mesh.ts'

/** Every block once, sorted as text. */
export function translateNetworks(
  nodes: Iterable<Node>,
  serviceCidrs: Iterable<ServiceCidr>,
  names: MeshNames,
  faults: ObjectFault[],
): Cidr[] {
  const blocks = new Map<string, Cidr>()
  const add = (text: string, note: Note, field: string): void => {
    const block = parseCidr(text)
    // A block of everything would turn each unknown destination into a refusal.
    if (block === undefined || block.prefix === 0) note(field, `${JSON.stringify(text)} is not an address block`)
    else blocks.set(`${block.ip}/${block.prefix}`, block)
  }
  for (const node of nodes) {
    const own = node.spec?.podCIDR === undefined ? [] : [node.spec.podCIDR]
    for (const text of textsOf(node.spec?.podCIDRs ?? own)) add(text, noteFor(node, faults), 'spec.podCIDRs')
  }
  for (const object of serviceCidrs) for (const text of textsOf(object.spec?.cidrs)) add(text, noteFor(object, faults), 'spec.cidrs')
  const settings: Note = (field, message) => faults.push({ kind: 'Settings', namespace: '', name: 'controlplane', field, message })
  for (const text of names.cidrs) add(text, settings, 'cidrs')
  return [...blocks].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, block]) => block)
}

function textsOf(list: unknown): readonly string[] {
  return Array.isArray(list) ? list.map(String) : []
}
