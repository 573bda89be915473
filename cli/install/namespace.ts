// The namespace of the mesh, made before helm runs: helm keeps its own records there.
import type { AnyObject } from '../cluster/any-objects.ts'
import { NAMESPACE } from './helm.ts'
import { MANAGED_LABEL } from './leftovers.ts'

/** @param isOurs it is made by us, and removed by us; else only what its pods need is set */
export function namespaceObject(isOurs: boolean): AnyObject & { readonly apiVersion: string; readonly kind: string } {
  const labels = {
    'pod-security.kubernetes.io/enforce': 'privileged', // the node agent is
    'istio.io/dataplane-mode': 'none',
    ...(isOurs ? { [MANAGED_LABEL]: 'weft' } : {}),
  }
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE, labels } }
}
