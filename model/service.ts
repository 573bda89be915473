// A service as the proxies know it. Mirrors istio.workload.Service (istio/ztunnel:proto/workload.proto).
import type { Cidr } from './address.ts'
import type { GatewayAddress, PortPair, ServiceKey } from './workload.ts'

/** What an endpoint must share with the caller to be preferred, from far to near. */
export type RoutingScope = 'REGION' | 'ZONE' | 'SUBZONE' | 'NODE' | 'CLUSTER' | 'NETWORK'
/** STRICT = only endpoints that share every scope; FAILOVER = those that share most; PASSTHROUGH = the address dialled. */
export type LoadBalancingMode = 'UNSPECIFIED' | 'STRICT' | 'FAILOVER' | 'PASSTHROUGH'
/** What the app speaks on a port, as the Service says (appProtocol or the port's name). */
export type AppProtocol = 'UNKNOWN' | 'HTTP11' | 'HTTP2' | 'GRPC' | 'TCP' | 'TLS'
/** Families of the service's addresses; AUTOMATIC = not said. */
export type IpFamilies = 'AUTOMATIC' | 'IPV4_ONLY' | 'IPV6_ONLY' | 'DUAL'

/** How endpoints of a service are chosen; absent = any healthy one. */
export interface LoadBalancing {
  readonly routingPreference: readonly RoutingScope[]
  readonly mode: LoadBalancingMode
  /** Endpoints that are not ready count too (publishNotReadyAddresses). */
  readonly allowsUnhealthy: boolean
}

/** A port of a service with its protocol. */
export interface ServicePort extends PortPair {
  readonly appProtocol: AppProtocol
}

/** A virtual address of a service, on one network; a single address has the full prefix. */
export interface ServiceVip {
  readonly network: string
  readonly cidr: Cidr
}

/** A name with virtual addresses in front of workloads; the workloads say which services they belong to. */
export interface Service {
  readonly name: string
  readonly namespace: string
  /** `NAME.NAMESPACE.svc.CLUSTER-DOMAIN` or a ServiceEntry's host. */
  readonly hostname: string
  readonly vips: readonly ServiceVip[]
  readonly ports: readonly ServicePort[]
  readonly subjectAltNames: readonly string[]
  readonly waypoint: GatewayAddress | undefined
  readonly loadBalancing: LoadBalancing | undefined
  readonly ipFamilies: IpFamilies
  /** Of several services with one hostname the one that answers lookups from other namespaces. */
  readonly isCanonical: boolean
  /** Only clients of its own namespace find it, by host or address. */
  readonly isPrivate: boolean
}

/** @returns `namespace/hostname`, the name of the service as an xDS resource. */
export function serviceKeyOf(service: Pick<Service, 'namespace' | 'hostname'>): ServiceKey {
  return `${service.namespace}/${service.hostname}`
}
