// The taint with which a node may be registered, so that no pod is scheduled there before the mesh can take it. Only ever
// removed here; `kubelet --register-with-taints` or a node pool's template sets it.
import type { Node } from '../../model/object.ts'
import type { ObjectApi } from '../../objects/api.ts'

/** Key of the taint. */
export const NOT_READY_TAINT = 'weft.dev/agent-not-ready'

interface Tainted {
  readonly spec?: { readonly taints?: readonly { readonly key: string }[] }
}

/** Whether the node has the taint. */
export function isTainted(node: Node | undefined): boolean {
  return (node as Tainted | undefined)?.spec?.taints?.some(({ key }) => key === NOT_READY_TAINT) ?? false
}

/** Takes it off. @throws MeshError CONFLICT when the node has changed meanwhile (look again), FORBIDDEN, API_UNREACHABLE */
export async function removeTaint(api: Pick<ObjectApi, 'patch'>, node: Node): Promise<void> {
  const taints = ((node as Tainted).spec?.taints ?? []).filter(({ key }) => key !== NOT_READY_TAINT)
  const { name, resourceVersion } = node.metadata
  // the list is replaced whole: the version keeps us from dropping what somebody else added just now
  await api.patch('nodes', undefined, name, { metadata: { resourceVersion }, spec: { taints: taints.length === 0 ? null : taints } })
}
