// Gives pods a node: one that the nodeSelector allows, with the fewest pods of the same owner, then the fewest pods.
import type { Node, Pod } from '../../model/object.ts'
import type { ObjectStore } from '../store.ts'

/** Sets `spec.nodeName` (and the service account's default) of pods that have none. */
export function scheduler(store: ObjectStore): void {
  const nodes = store.list('nodes') as Node[]
  const pods = store.list('pods') as Pod[]
  for (const pod of pods) {
    if (pod.spec === undefined || pod.metadata.deletionTimestamp !== undefined) continue
    const serviceAccountName = pod.spec.serviceAccountName ?? 'default'
    const node = pod.spec.nodeName ?? chooseNode(pod, nodes, store.list('pods') as Pod[])
    if (node === undefined || (node === pod.spec.nodeName && serviceAccountName === pod.spec.serviceAccountName)) continue
    const status = pod.status ?? { phase: 'Pending' as const }
    store.put({ ...pod, spec: { ...pod.spec, nodeName: node, serviceAccountName }, status })
  }
}

/** @returns name of the best node; undefined when none is allowed */
export function chooseNode(pod: Pod, nodes: readonly Node[], pods: readonly Pod[]): string | undefined {
  const wanted = Object.entries(pod.spec?.nodeSelector ?? {})
  const allowed = nodes.filter((node) => wanted.every(([key, value]) => node.metadata.labels?.[key] === value))
  const group = groupOf(pod)
  const load = allowed.map((node) => {
    const here = pods.filter((other) => other.spec?.nodeName === node.metadata.name && other.metadata.deletionTimestamp === undefined)
    return { name: node.metadata.name, same: here.filter((other) => groupOf(other) === group).length, all: here.length }
  })
  load.sort((a, b) => a.same - b.same || a.all - b.all || a.name.localeCompare(b.name, 'en', { numeric: true }))
  return load[0]?.name
}

function groupOf(pod: Pod): string {
  const owner = pod.metadata.ownerReferences?.[0]
  return owner === undefined ? `pod ${pod.metadata.uid}` : owner.uid
}
