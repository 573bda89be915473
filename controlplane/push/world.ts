// The objects of a source as translation takes them. The casts are here and nowhere else: the API has validated the objects.
import type { Gateway, GrpcRoute, HttpRoute } from '../../model/gateway-api.ts'
import type { DestinationRule, RateLimitPolicy, VirtualService } from '../../model/istio-networking.ts'
import type { AuthorizationPolicy, PeerAuthentication } from '../../model/istio-security.ts'
import type { EndpointSlice, Namespace, Node, Pod, Service, ServiceAccount, ServiceCidr } from '../../model/object.ts'
import type { ServiceEntry } from '../../model/service-entry.ts'
import type { ConfigSource } from '../source/source.ts'
import type { World } from '../translate/mesh.ts'

/** A list of the source's objects per kind, as translation passes over some of them twice; pods, 50,000 perhaps, are not copied. */
export function worldOf(source: Pick<ConfigSource, 'objects'>, settling: ReadonlySet<string>): World {
  return {
    pods: { [Symbol.iterator]: () => source.objects('pods')[Symbol.iterator]() as Iterator<Pod> },
    namespaces: [...source.objects('namespaces')] as Namespace[],
    nodes: [...source.objects('nodes')] as Node[],
    services: [...source.objects('services')] as Service[],
    endpointSlices: [...source.objects('endpointslices')] as EndpointSlice[],
    gateways: [...source.objects('gateways')] as Gateway[],
    httpRoutes: [...source.objects('httproutes')] as HttpRoute[],
    grpcRoutes: [...source.objects('grpcroutes')] as GrpcRoute[],
    virtualServices: [...source.objects('virtualservices')] as VirtualService[],
    destinationRules: [...source.objects('destinationrules')] as DestinationRule[],
    serviceEntries: [...source.objects('serviceentries')] as ServiceEntry[],
    rateLimitPolicies: [...source.objects('ratelimitpolicies')] as RateLimitPolicy[],
    authorizationPolicies: [...source.objects('authorizationpolicies')] as AuthorizationPolicy[],
    peerAuthentications: [...source.objects('peerauthentications')] as PeerAuthentication[],
    serviceCidrs: [...source.objects('servicecidrs')] as ServiceCidr[],
    serviceAccounts: [...source.objects('serviceaccounts')] as ServiceAccount[],
    settling,
  }
}
