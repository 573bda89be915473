// One endpoint of the mesh as the proxies know it: a pod, or what else has an address. Mirrors istio.workload.Workload
// (istio/ztunnel:proto/workload.proto); the wire form is decoded in xds/resource/address.ts.
import type { Endpoint, IpAddress } from './address.ts'

/** `NONE` = plaintext; `HBONE` = mTLS to port 15008. */
export type TunnelProtocol = 'NONE' | 'HBONE'
/** Unhealthy endpoints get no new connections through a service, unless it allows them. */
export type WorkloadHealth = 'HEALTHY' | 'UNHEALTHY'
/** Kind of the object that made the pod; a label of the metrics. */
export type WorkloadType = 'DEPLOYMENT' | 'CRONJOB' | 'POD' | 'JOB'

/** How a proxy reaches a waypoint or gateway. Port = its HBONE port. */
export type GatewayAddress =
  | { readonly kind: 'address'; readonly network: string; readonly ip: IpAddress; readonly hbonePort: number }
  | { readonly kind: 'hostname'; readonly namespace: string; readonly hostname: string; readonly hbonePort: number }

/** Where a workload runs; empty = not known. */
export interface Locality {
  readonly region: string
  readonly zone: string
  readonly subzone: string
}

/** Port of a service and the port of an endpoint behind it; `targetPort` 0 = named, the endpoint's own value counts. */
export interface PortPair {
  readonly servicePort: number
  readonly targetPort: number
}

/** Key of a service: `namespace/hostname`. */
export type ServiceKey = string

/** One endpoint with all that a proxy must know to reach it or to be it. */
export interface Workload {
  /** `CLUSTER//Pod/NAMESPACE/NAME`; unique in the mesh. */
  readonly uid: string
  readonly name: string
  readonly namespace: string
  readonly addresses: readonly IpAddress[]
  readonly hostname: string
  readonly network: string
  readonly protocol: TunnelProtocol
  readonly trustDomain: string
  readonly serviceAccount: string
  readonly node: string
  readonly canonicalName: string
  readonly canonicalRevision: string
  readonly workloadType: WorkloadType
  readonly workloadName: string
  readonly health: WorkloadHealth
  readonly clusterId: string
  readonly locality: Locality
  readonly isHostNetwork: boolean
  /** Weight in load balancing, ≥ 0; 1 by default. */
  readonly capacity: number
  readonly services: ReadonlyMap<ServiceKey, readonly PortPair[]>
  /** `namespace/name` of the selector policies that apply. */
  readonly authorizationPolicies: readonly string[]
  readonly waypoint: GatewayAddress | undefined
  readonly networkGateway: GatewayAddress | undefined
  /** The app speaks HBONE itself. */
  readonly hasNativeTunnel: boolean
  readonly applicationTunnel: { readonly protocol: 'NONE' | 'PROXY'; readonly port: number } | undefined
  /** Labelled for the mesh but not captured (enrolment failed or capture lost): traffic to and from it is refused. */
  readonly isPending: boolean
}

/** What is the same of every endpoint that is no pod of the mesh. Never found by its address: it must not give a pod's another description. */
export const OUTSIDER = {
  protocol: 'NONE',
  workloadType: 'POD',
  isHostNetwork: true,
  authorizationPolicies: [],
  waypoint: undefined,
  networkGateway: undefined,
  hasNativeTunnel: false,
  applicationTunnel: undefined,
  isPending: false,
} as const satisfies Partial<Workload>

/** A workload's address and the port to reach, with the workload itself. */
export interface WorkloadEndpoint {
  readonly workload: Workload
  readonly endpoint: Endpoint
}
