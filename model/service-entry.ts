// Istio's ServiceEntry (networking.istio.io/v1) as translation reads it: hosts that are no Services of Kubernetes. Made by objects/
// after validation by objects/schema/service-entry.ts.
import type { Condition, MeshObject, StringMap } from './object.ts'

/** How a host's endpoints are found; NONE (the default) = they are whatever address the client dials. */
export type EntryResolution = 'NONE' | 'STATIC' | 'DNS' | 'DNS_ROUND_ROBIN' | 'DYNAMIC_DNS'

/** One port of the hosts. `protocol`: HTTP, HTTP2, GRPC, TLS, TCP, …; absent = the name says it, else it is found out. */
export interface EntryPort {
  readonly number: number
  readonly name: string
  readonly protocol?: string
  /** Default: `number`. */
  readonly targetPort?: number
}

/** An endpoint that is written in the entry. */
export interface EntryEndpoint {
  /** An IP address, or (resolution DNS) a host name. */
  readonly address: string
  /** By the port's name; default: the port's own target. */
  readonly ports?: Readonly<Record<string, number>>
  readonly labels?: StringMap
  readonly network?: string
  /** `region/zone/subzone` */
  readonly locality?: string
  readonly weight?: number
  readonly serviceAccount?: string
}

/** What a ServiceEntry says. */
export interface ServiceEntrySpec {
  readonly hosts: readonly string[]
  readonly addresses?: readonly string[]
  readonly ports?: readonly EntryPort[]
  readonly location?: 'MESH_EXTERNAL' | 'MESH_INTERNAL'
  readonly resolution?: EntryResolution
  readonly endpoints?: readonly EntryEndpoint[]
  /** Pods of the entry's namespace. */
  readonly workloadSelector?: { readonly labels?: StringMap }
  readonly exportTo?: readonly string[]
  readonly subjectAltNames?: readonly string[]
}

/** A virtual address that was given to a host. */
export interface EntryAddress {
  readonly value: string
  readonly host?: string
}

/** What controllers say of it. */
export interface ServiceEntryStatus {
  readonly conditions?: readonly Condition[]
  readonly addresses?: readonly EntryAddress[]
}

/** Hosts outside of Kubernetes' Services. */
export type ServiceEntry = MeshObject<ServiceEntrySpec, ServiceEntryStatus>
