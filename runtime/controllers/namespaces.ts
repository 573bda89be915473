// Namespaces: each has a service account `default`; one that is going away takes its objects along. Objects whose owner is
// gone go, too.
import type { MeshObject } from '../../model/object.ts'
import { KINDS } from '../../objects/kinds.ts'
import type { ObjectStore } from '../store.ts'

/** Service account `default` in every namespace; phase Active. */
export function defaultAccounts(store: ObjectStore): void {
  for (const namespace of store.list('namespaces')) {
    const { name, deletionTimestamp } = namespace.metadata
    if (deletionTimestamp !== undefined) continue
    if (namespace.status === undefined) store.put({ ...namespace, status: { phase: 'Active' } })
    if (store.find('serviceaccounts', name, 'default') === undefined)
      store.put({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default', namespace: name } })
  }
}

/** Empties namespaces that are going away, then removes them. */
export function terminatingNamespaces(store: ObjectStore): void {
  for (const namespace of store.list('namespaces')) {
    const { name, deletionTimestamp } = namespace.metadata
    if (deletionTimestamp === undefined) continue
    if ((namespace.status as { phase?: string } | undefined)?.phase !== 'Terminating')
      store.put({ ...namespace, status: { phase: 'Terminating' } })
    let left = 0
    for (const row of KINDS)
      if (row.isNamespaced)
        for (const object of store.list(row.plural, name)) {
          if (object.metadata.deletionTimestamp === undefined) store.delete(row.plural, name, object.metadata.name)
          if (store.find(row.plural, name, object.metadata.name) !== undefined) left++
        }
    if (left === 0) store.delete('namespaces', undefined, name, 0)
  }
}

/** Deletes objects whose controlling owner does not exist any more. */
export function garbage(store: ObjectStore): void {
  const uids = new Set<string>()
  const owned: { plural: string; object: MeshObject }[] = []
  for (const row of KINDS)
    for (const object of store.list(row.plural)) {
      if (object.metadata.uid !== undefined) uids.add(object.metadata.uid)
      if (object.metadata.ownerReferences !== undefined) owned.push({ plural: row.plural, object })
    }
  for (const { plural, object } of owned) {
    const owners = object.metadata.ownerReferences ?? []
    if (owners.length === 0 || owners.some((owner) => uids.has(owner.uid)) || object.metadata.deletionTimestamp !== undefined) continue
    store.delete(plural, object.metadata.namespace, object.metadata.name)
  }
}
