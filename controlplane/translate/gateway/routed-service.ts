// What routes need to know of a service, whether Kubernetes' Service or a host of a ServiceEntry stands behind it.
import type { Service as KubeService, ServicePort } from '../../../model/object.ts'
import { namespaceOf } from '../mesh.ts'
import { tcpPorts } from '../service.ts'

/** One TCP port. */
export type RoutedPort = Pick<ServicePort, 'port' | 'name' | 'appProtocol'>

/** A service whose requests can be routed; the same value while it says the same. */
export interface RoutedService {
  readonly namespace: string
  readonly ports: readonly RoutedPort[]
}

const MADE = new WeakMap<KubeService, RoutedService>()

/** Of a Service; an object that does not change gives the same value. */
export function routedService(service: KubeService): RoutedService {
  const known = MADE.get(service)
  if (known !== undefined) return known
  const made = { namespace: namespaceOf(service), ports: tcpPorts(service) }
  MADE.set(service, made)
  return made
}
