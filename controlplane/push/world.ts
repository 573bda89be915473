// The objects of a source as translation takes them. The casts are here and nowhere else: the API has validated the objects.
import type {
  AuthorizationPolicy,
  EndpointSlice,
  Gateway,
  Namespace,
  Node,
  PeerAuthentication,
  Pod,
  Service,
  ServiceCidr,
} from '../../model/object.ts'
import type { ConfigSource } from '../source/source.ts'
import type { World } from '../translate/mesh.ts'

/** A view of the source's objects, not a copy. */
export function worldOf(source: Pick<ConfigSource, 'objects'>, settling: ReadonlySet<string>): World {
  return {
    pods: source.objects('pods') as Iterable<Pod>,
    namespaces: source.objects('namespaces') as Iterable<Namespace>,
    nodes: source.objects('nodes') as Iterable<Node>,
    services: source.objects('services') as Iterable<Service>,
    endpointSlices: source.objects('endpointslices') as Iterable<EndpointSlice>,
    gateways: source.objects('gateways') as Iterable<Gateway>,
    authorizationPolicies: source.objects('authorizationpolicies') as Iterable<AuthorizationPolicy>,
    peerAuthentications: source.objects('peerauthentications') as Iterable<PeerAuthentication>,
    serviceCidrs: source.objects('servicecidrs') as Iterable<ServiceCidr>,
    settling,
  }
}
