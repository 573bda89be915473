// Which source the control plane reads: the local runtime's store or Kubernetes.
import type { Clock } from '../../kit/clock.ts'
import type { Log } from '../../kit/log.ts'
import { openObjects, type ObjectsPlace } from '../../objects/api.ts'
import { KubernetesSource } from './kubernetes/kubernetes-source.ts'
import type { ConfigSource } from './source.ts'
import { StoreSource } from './store/store-source.ts'

/** Opens the source. @throws MeshError KUBECONFIG_INVALID when the file cannot be read, or outside a cluster without one */
export function openSource(place: ObjectsPlace, options: { readonly log: Log; readonly clock: Clock }): ConfigSource {
  return place.source === 'store'
    ? new StoreSource({ socketPath: place.socketPath, ...options })
    : new KubernetesSource({ api: openObjects(place), ...options })
}
