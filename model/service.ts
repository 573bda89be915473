// A service as the proxies know it. Mirrors istio.workload.Service (istio/ztunnel:proto/workload.proto).
import type { Cidr } from './address.ts'
import type { GatewayAddress, PortPair, ServiceKey } from './workload.ts'

export type RoutingScope = 'REGION' | 'ZONE' | 'SUBZONE' | 'NODE' | 'CLUSTER' | 'NETWORK'
export type LoadBalancingMode = 'UNSPECIFIED' | 'STRICT' | 'FAILOVER' | 'PASSTHROUGH'
export type AppProtocol = 'UNKNOWN' | 'HTTP11' | 'HTTP2' | 'GRPC' | 'TCP' | 'TLS'
export type IpFamilies = 'AUTOMATIC' | 'IPV4_ONLY' | 'IPV6_ONLY' | 'DUAL'

export interface LoadBalancing {
  readonly routingPreference: readonly RoutingScope[]
  readonly mode: LoadBalancingMode
  /** Endpoints that are not ready count too (publishNotReadyAddresses). */
  readonly allowsUnhealthy: boolean
}

export interface ServicePort extends PortPair {
  readonly appProtocol: AppProtocol
}

/** A virtual address of a service, on one network; a single address has the full prefix. */
export interface ServiceVip {
  readonly network: string
  readonly cidr: Cidr
}

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
}

/** @returns `namespace/hostname`, the name of the service as an xDS resource. */
export function serviceKeyOf(service: Pick<Service, 'namespace' | 'hostname'>): ServiceKey {
  return `${service.namespace}/${service.hostname}`
}
