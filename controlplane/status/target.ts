// How a status is written. On the local runtime: merged into the object. On Kubernetes: server-side apply on the status subresource
// under a manager of our own, so that the API server knows which conditions are ours. Lists that it merges by key are sent with our
// entries only; lists that it replaces as a whole (routes' parents, conditions of Istio's kinds) are sent with everybody's, on the
// condition that nobody wrote meanwhile.
import type { Condition, MeshObject } from '../../model/object.ts'
import type { ConfigSource, SourceKind } from '../source/source.ts'
import type { StatusWrite } from './queue.ts'

/** Who writes, in `managedFields`. */
export const STATUS_MANAGER = 'weft.dev/controlplane'

/** Takes one write. Rejects with CONFLICT when the object has changed and NOT_FOUND when it is gone. */
export type StatusTarget = (write: StatusWrite) => Promise<void>

/** Server-side apply of the status subresource, with force. */
export interface StatusApi {
  applyStatus(object: MeshObject, options: { readonly fieldManager: string }): Promise<MeshObject>
}

/** Our condition types, where `status.conditions` is a list with the key `type`. */
const KEYED: Partial<Record<SourceKind, ReadonlySet<string>>> = {
  services: new Set(['istio.io/WaypointBound']),
  gateways: new Set(['Accepted', 'Programmed']),
  gatewayclasses: new Set(['Accepted']),
}

/** Merges into the object, as the local runtime's API does. */
export function patchTarget(source: Pick<ConfigSource, 'patchStatus'>): StatusTarget {
  return ({ kind, object: { metadata }, status }) =>
    source.patchStatus(kind, metadata.namespace, metadata.name, status, metadata.resourceVersion)
}

/** Applies on Kubernetes. */
export function applyTarget(api: StatusApi): StatusTarget {
  return async (write) => {
    await api.applyStatus(appliedObject(write), { fieldManager: STATUS_MANAGER })
  }
}

/** The object that is sent. */
export function appliedObject({ kind, object, status }: StatusWrite): MeshObject {
  const { apiVersion, kind: objectKind, metadata } = object
  const { name, namespace, resourceVersion } = metadata
  const own = KEYED[kind]
  return {
    apiVersion,
    kind: objectKind,
    metadata: { name, ...(namespace !== undefined && { namespace }), ...(resourceVersion !== undefined && { resourceVersion }) },
    status: own === undefined ? status : withOwnConditions(status, own),
  }
}

function withOwnConditions(status: object, own: ReadonlySet<string>): object {
  if (!('conditions' in status) || !Array.isArray(status.conditions)) return status
  return { ...status, conditions: (status.conditions as readonly Condition[]).filter(({ type }) => own.has(type)) }
}
