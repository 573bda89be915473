// What translation works on: the objects of one moment and the mesh's own names. And what it says about objects that are wrong.
import type { Gateway, GrpcRoute, HttpRoute } from '../../model/gateway-api.ts'
import type { DestinationRule, RateLimitPolicy, VirtualService } from '../../model/istio-networking.ts'
import type { AuthorizationPolicy, PeerAuthentication } from '../../model/istio-security.ts'
import type { EndpointSlice, MeshObject, Namespace, Node, Pod, Service, ServiceAccount, ServiceCidr } from '../../model/object.ts'
import type { ServiceEntry } from '../../model/service-entry.ts'

/** Names that hold for the whole mesh. */
export interface MeshNames {
  readonly clusterId: string
  readonly network: string
  readonly trustDomain: string
  /** `cluster.local`, without a leading dot. */
  readonly clusterDomain: string
  /** Namespace whose policies hold for the whole mesh. */
  readonly rootNamespace: string
  /** Further blocks of pods and services, as text. */
  readonly cidrs: readonly string[]
}

/** All objects of one moment. Objects are never changed in place: an equal reference means an equal object. */
export interface World {
  /** Looked at only when it is not known which of them have changed. */
  readonly pods: Iterable<Pod>
  readonly namespaces: readonly Namespace[]
  readonly nodes: readonly Node[]
  readonly services: readonly Service[]
  readonly endpointSlices: readonly EndpointSlice[]
  readonly gateways: readonly Gateway[]
  readonly httpRoutes: readonly HttpRoute[]
  readonly grpcRoutes: readonly GrpcRoute[]
  readonly virtualServices: readonly VirtualService[]
  readonly destinationRules: readonly DestinationRule[]
  readonly serviceEntries: readonly ServiceEntry[]
  readonly rateLimitPolicies: readonly RateLimitPolicy[]
  readonly authorizationPolicies: readonly AuthorizationPolicy[]
  readonly peerAuthentications: readonly PeerAuthentication[]
  readonly serviceCidrs: readonly ServiceCidr[]
  readonly serviceAccounts: readonly ServiceAccount[]
  /** Uids of workloads that have just become HBONE and are not known as such everywhere: STRICT waits for them. */
  readonly settling: ReadonlySet<string>
}

/** Something wrong in one object; everything else stays in force. */
export interface ObjectFault {
  readonly kind: string
  readonly namespace: string
  readonly name: string
  /** Path inside the object. */
  readonly field: string
  readonly message: string
}

/** Notes faults of one object. */
export type Note = (field: string, message: string) => void

/** @returns a Note that adds to `list`, at most 16 faults per object */
export function noteFor(object: MeshObject, list: ObjectFault[]): Note {
  let left = 16
  return (field, message) => {
    if (left-- <= 0) return
    const { namespace = '', name } = object.metadata
    list.push({ kind: object.kind, namespace, name, field, message })
  }
}

/** The object's namespace; empty for cluster-scoped ones. */
export function namespaceOf(object: MeshObject): string {
  return object.metadata.namespace ?? ''
}

/** Host name of a Kubernetes service. */
export function hostnameOf(names: MeshNames, namespace: string, name: string): string {
  return `${name}.${namespace}.svc.${names.clusterDomain}`
}

/** Whether labels satisfy a policy's `matchLabels`; an absent or empty selector matches nothing here: scope says it. */
export function labelsMatch(want: Readonly<Record<string, string>>, labels: Readonly<Record<string, string>> | undefined): boolean {
  return Object.entries(want).every(([key, value]) => labels !== undefined && Object.hasOwn(labels, key) && labels[key] === value)
}

/** Groups objects by a key. */
export function groupBy<T>(items: Iterable<T>, keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const item of items) {
    const key = keyOf(item)
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [item])
    else group.push(item)
  }
  return groups
}
