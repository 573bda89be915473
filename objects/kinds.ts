// The kinds that the object API knows: plural, scope, accepted versions, short names. One row per kind.
// The plural is the name in paths, in file names of the store and in `weft get`.

/** One kind. */
export interface KindRow {
  readonly kind: string
  /** Lower-case plural, used in paths. */
  readonly plural: string
  readonly apiVersions: readonly string[]
  readonly isNamespaced: boolean
  /** Other names that `weft get` takes. */
  readonly short: readonly string[]
}

const ISTIO_NETWORKING = ['networking.istio.io/v1', 'networking.istio.io/v1beta1', 'networking.istio.io/v1alpha3']

/** Every kind, in the order in which a directory is applied. */
export const KINDS: readonly KindRow[] = [
  row('Namespace', 'namespaces', ['v1'], false, ['ns']),
  row('Node', 'nodes', ['v1'], false, ['no']),
  row('ServiceCIDR', 'servicecidrs', ['networking.k8s.io/v1'], false, []),
  row('ServiceAccount', 'serviceaccounts', ['v1'], true, ['sa']),
  row('ConfigMap', 'configmaps', ['v1'], true, ['cm']),
  row('Secret', 'secrets', ['v1'], true, []),
  row('PeerAuthentication', 'peerauthentications', ['security.istio.io/v1', 'security.istio.io/v1beta1'], true, ['pa']),
  row('AuthorizationPolicy', 'authorizationpolicies', ['security.istio.io/v1', 'security.istio.io/v1beta1'], true, ['ap']),
  row('GatewayClass', 'gatewayclasses', ['gateway.networking.k8s.io/v1', 'gateway.networking.k8s.io/v1beta1'], false, ['gc']),
  row('Gateway', 'gateways', ['gateway.networking.k8s.io/v1', 'gateway.networking.k8s.io/v1beta1'], true, ['gtw']),
  row('HTTPRoute', 'httproutes', ['gateway.networking.k8s.io/v1', 'gateway.networking.k8s.io/v1beta1'], true, []),
  row('GRPCRoute', 'grpcroutes', ['gateway.networking.k8s.io/v1'], true, []),
  row('ReferenceGrant', 'referencegrants', ['gateway.networking.k8s.io/v1beta1', 'gateway.networking.k8s.io/v1'], true, ['refgrant']),
  row('DestinationRule', 'destinationrules', ISTIO_NETWORKING, true, ['dr']),
  row('VirtualService', 'virtualservices', ISTIO_NETWORKING, true, ['vs']),
  row('ServiceEntry', 'serviceentries', ISTIO_NETWORKING, true, ['se']),
  row('RateLimitPolicy', 'ratelimitpolicies', ['weft.dev/v1alpha1'], true, ['rlp']),
  row('Service', 'services', ['v1'], true, ['svc']),
  row('EndpointSlice', 'endpointslices', ['discovery.k8s.io/v1'], true, []),
  row('Deployment', 'deployments', ['apps/v1'], true, ['deploy']),
  row('PodDisruptionBudget', 'poddisruptionbudgets', ['policy/v1'], true, ['pdb']),
  row('Pod', 'pods', ['v1'], true, ['po']),
  row('Event', 'events', ['v1'], true, ['ev']),
]

/** Kinds that mean something on Kubernetes only: what the chart installs, and what replicas agree by. The local store takes none. */
export const CLUSTER_KINDS: readonly KindRow[] = [
  row('CustomResourceDefinition', 'customresourcedefinitions', ['apiextensions.k8s.io/v1'], false, ['crd']),
  row('ClusterRole', 'clusterroles', ['rbac.authorization.k8s.io/v1'], false, []),
  row('ClusterRoleBinding', 'clusterrolebindings', ['rbac.authorization.k8s.io/v1'], false, []),
  row('Role', 'roles', ['rbac.authorization.k8s.io/v1'], true, []),
  row('RoleBinding', 'rolebindings', ['rbac.authorization.k8s.io/v1'], true, []),
  row('PriorityClass', 'priorityclasses', ['scheduling.k8s.io/v1'], false, ['pc']),
  row('NetworkPolicy', 'networkpolicies', ['networking.k8s.io/v1'], true, ['netpol']),
  row('ResourceQuota', 'resourcequotas', ['v1'], true, ['quota']),
  row('Lease', 'leases', ['coordination.k8s.io/v1'], true, []),
  row('DaemonSet', 'daemonsets', ['apps/v1'], true, ['ds']),
  row('StatefulSet', 'statefulsets', ['apps/v1'], true, ['sts']),
  row('ReplicaSet', 'replicasets', ['apps/v1'], true, ['rs']),
  row('Job', 'jobs', ['batch/v1'], true, []),
  row('ServiceMonitor', 'servicemonitors', ['monitoring.coreos.com/v1'], true, ['smon']),
  row('PodMonitor', 'podmonitors', ['monitoring.coreos.com/v1'], true, ['pmon']),
]

/** @returns the row of a kind as objects write it (`Pod`) whose apiVersion is accepted; undefined when unknown. */
export function kindOf(apiVersion: string, kind: string): KindRow | undefined {
  return KINDS.find((entry) => entry.kind === kind && entry.apiVersions.includes(apiVersion))
}

/** @returns the row of a kind that a cluster may have: of KINDS or of CLUSTER_KINDS; `test` chooses. */
export function findKind(test: (row: KindRow) => boolean): KindRow | undefined {
  return KINDS.find(test) ?? CLUSTER_KINDS.find(test)
}

/** @returns the row of a path segment (`pods`). */
export function kindByPlural(plural: string): KindRow | undefined {
  return KINDS.find((entry) => entry.plural === plural)
}

/** @returns the row of what a user types: `Pod`, `pod`, `pods`, `po`. */
export function kindByAnyName(name: string): KindRow | undefined {
  const lower = name.toLowerCase()
  return KINDS.find((entry) => entry.plural === lower || entry.kind.toLowerCase() === lower || entry.short.includes(lower))
}

function row(kind: string, plural: string, apiVersions: readonly string[], isNamespaced: boolean, short: readonly string[]): KindRow {
  return { kind, plural, apiVersions, isNamespaced, short }
}
