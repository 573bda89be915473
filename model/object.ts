// Kubernetes objects as the mesh reads them: the fields it uses, no more. Unknown fields are kept in the store but not typed.
// Made by objects/ (after validation by objects/schema/), read by controlplane, cni, runtime and cli.
import type { Container, ContainerStatus, Volume } from './container.ts'

/** Labels or annotations. */
export type StringMap = Readonly<Record<string, string>>

/** Who made an object; the owned object dies with it. */
export interface OwnerReference {
  readonly apiVersion: string
  readonly kind: string
  readonly name: string
  readonly uid: string
  readonly controller?: boolean
  /** Foreground deletion of the owner waits until the owned object is gone. */
  readonly blockOwnerDeletion?: boolean
}

/** Metadata of a stored object. `namespace` is absent for cluster-scoped kinds; times are RFC 3339. */
export interface ObjectMeta {
  readonly name: string
  readonly namespace?: string
  readonly uid?: string
  /** Opaque; compare only for equality. */
  readonly resourceVersion?: string
  /** Grows with each change of `spec`. */
  readonly generation?: number
  readonly creationTimestamp?: string
  /** Set = the object is going away. */
  readonly deletionTimestamp?: string
  readonly deletionGracePeriodSeconds?: number
  readonly labels?: StringMap
  readonly annotations?: StringMap
  readonly ownerReferences?: readonly OwnerReference[]
}

/** Any object. Narrow by `kind` and cast at the one place that reads it. */
export interface MeshObject<Spec = unknown, Status = unknown> {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: ObjectMeta
  readonly spec?: Spec
  readonly status?: Status
  /** ConfigMap: text; Secret: base64. */
  readonly data?: StringMap
}

/** State of one aspect (`Ready`, `Accepted`, `ContainersReady`, …). */
export interface Condition {
  readonly type: string
  readonly status: 'True' | 'False' | 'Unknown'
  readonly reason?: string
  readonly message?: string
  readonly lastTransitionTime?: string
  readonly observedGeneration?: number
}

export interface LabelExpression {
  readonly key: string
  readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist'
  readonly values?: readonly string[]
}

/** `matchLabels` and `matchExpressions` must both match; an empty selector matches everything. */
export interface LabelSelector {
  readonly matchLabels?: StringMap
  readonly matchExpressions?: readonly LabelExpression[]
}

export interface TopologySpreadConstraint {
  readonly maxSkew: number
  readonly topologyKey: string
  readonly whenUnsatisfiable: 'DoNotSchedule' | 'ScheduleAnyway'
  readonly labelSelector?: LabelSelector
}

export interface PodSpec {
  readonly nodeName?: string
  readonly nodeSelector?: StringMap
  readonly hostNetwork?: boolean
  readonly serviceAccountName?: string
  readonly automountServiceAccountToken?: boolean
  readonly restartPolicy?: 'Always' | 'OnFailure' | 'Never'
  readonly terminationGracePeriodSeconds?: number
  readonly hostname?: string
  readonly subdomain?: string
  /** False = no variables about the namespace's services. */
  readonly enableServiceLinks?: boolean
  readonly priorityClassName?: string
  readonly imagePullSecrets?: readonly { readonly name: string }[]
  readonly topologySpreadConstraints?: readonly TopologySpreadConstraint[]
  readonly securityContext?: { readonly runAsUser?: number; readonly runAsGroup?: number }
  readonly initContainers?: readonly Container[]
  readonly containers: readonly Container[]
  readonly volumes?: readonly Volume[]
}

export type PodPhase = 'Pending' | 'Running' | 'Succeeded' | 'Failed' | 'Unknown'

export interface PodStatus {
  readonly phase?: PodPhase
  readonly conditions?: readonly Condition[]
  readonly hostIP?: string
  readonly hostIPs?: readonly { readonly ip: string }[]
  readonly podIP?: string
  readonly podIPs?: readonly { readonly ip: string }[]
  readonly startTime?: string
  readonly containerStatuses?: readonly ContainerStatus[]
  readonly initContainerStatuses?: readonly ContainerStatus[]
  readonly reason?: string
  readonly message?: string
}
export type Pod = MeshObject<PodSpec, PodStatus>

export type Namespace = MeshObject<unknown, { readonly phase?: 'Active' | 'Terminating' }>

export interface ServicePort {
  readonly name?: string
  readonly port: number
  readonly targetPort?: number | string
  readonly protocol?: 'TCP' | 'UDP' | 'SCTP'
  readonly appProtocol?: string
}

export interface ServiceSpec {
  readonly type?: 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalName'
  /** `None` = headless. */
  readonly clusterIP?: string
  readonly clusterIPs?: readonly string[]
  readonly ipFamilies?: readonly ('IPv4' | 'IPv6')[]
  readonly ipFamilyPolicy?: 'SingleStack' | 'PreferDualStack' | 'RequireDualStack'
  readonly selector?: StringMap
  readonly ports?: readonly ServicePort[]
  readonly externalName?: string
  readonly publishNotReadyAddresses?: boolean
  readonly trafficDistribution?: string
  readonly internalTrafficPolicy?: 'Cluster' | 'Local'
  readonly sessionAffinity?: string
}
export type Service = MeshObject<ServiceSpec>

export interface SliceEndpoint {
  readonly addresses: readonly string[]
  readonly conditions?: { readonly ready?: boolean; readonly serving?: boolean; readonly terminating?: boolean }
  readonly hostname?: string
  readonly nodeName?: string
  readonly zone?: string
  readonly targetRef?: { readonly kind: string; readonly namespace?: string; readonly name: string; readonly uid?: string }
}

/** Belongs to the service named by the label `kubernetes.io/service-name`. Fields are at the top, as Kubernetes has them. */
export interface EndpointSlice extends MeshObject {
  readonly addressType: 'IPv4' | 'IPv6' | 'FQDN'
  readonly endpoints?: readonly SliceEndpoint[]
  readonly ports?: readonly { readonly name?: string; readonly port?: number; readonly protocol?: string; readonly appProtocol?: string }[]
}

/** Name of the label that ties an EndpointSlice to its service. */
export const SERVICE_NAME_LABEL = 'kubernetes.io/service-name'

export interface PodTemplate {
  readonly metadata?: { readonly labels?: StringMap; readonly annotations?: StringMap }
  readonly spec: PodSpec
}

export interface DeploymentSpec {
  readonly replicas?: number
  readonly selector: LabelSelector
  readonly template: PodTemplate
  readonly strategy?: {
    readonly type?: 'RollingUpdate' | 'Recreate'
    readonly rollingUpdate?: { readonly maxSurge?: number | string; readonly maxUnavailable?: number | string }
  }
  readonly minReadySeconds?: number
}

export interface DeploymentStatus {
  readonly observedGeneration?: number
  readonly replicas?: number
  readonly updatedReplicas?: number
  readonly readyReplicas?: number
  readonly availableReplicas?: number
}
export type Deployment = MeshObject<DeploymentSpec, DeploymentStatus>

export interface NodeSpec {
  readonly podCIDR?: string
  readonly podCIDRs?: readonly string[]
}

export interface NodeStatus {
  readonly addresses?: readonly { readonly type: string; readonly address: string }[]
  readonly conditions?: readonly Condition[]
}
export type Node = MeshObject<NodeSpec, NodeStatus>

export type ServiceCidr = MeshObject<{ readonly cidrs: readonly string[] }>
export type ServiceAccount = MeshObject
export type ConfigMap = MeshObject
export type Secret = MeshObject & { readonly type?: string; readonly stringData?: StringMap }

/** `involvedObject`, `reason`, `message` as `kubectl describe` shows them. */
export interface Event extends MeshObject {
  readonly involvedObject: { readonly kind: string; readonly namespace?: string; readonly name: string; readonly uid?: string }
  readonly reason: string
  readonly message: string
  readonly type: 'Normal' | 'Warning'
  readonly count?: number
  readonly firstTimestamp?: string
  readonly lastTimestamp?: string
  readonly source?: { readonly component: string; readonly host?: string }
}

/** What a token review answers; `user` only when `authenticated`. */
export interface TokenReviewStatus {
  readonly authenticated: boolean
  readonly user?: {
    readonly namespace: string
    readonly serviceAccount: string
    readonly podName?: string
    readonly podUid?: string
    readonly nodeName?: string
  }
  readonly error?: string
}

/** What a watch delivers. */
export interface ObjectEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'
  readonly object: MeshObject
}

/** Whether a label set satisfies a selector. An absent selector matches nothing (callers that mean "all" pass `{}`). */
export function selectorMatches(selector: LabelSelector | undefined, labels: StringMap | undefined): boolean {
  if (selector === undefined) return false
  const has = labels ?? {}
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) if (has[key] !== value) return false
  return (selector.matchExpressions ?? []).every((expression) => {
    const value = has[expression.key]
    switch (expression.operator) {
      case 'In':
        return value !== undefined && (expression.values ?? []).includes(value)
      case 'NotIn':
        return value === undefined || !(expression.values ?? []).includes(value)
      case 'Exists':
        return value !== undefined
      case 'DoesNotExist':
        return value === undefined
      default:
        return expression.operator satisfies never
    }
  })
}

/** `NAMESPACE/NAME`, or `NAME` for cluster-scoped objects. */
export function objectKey(object: MeshObject): string {
  const { namespace, name } = object.metadata
  return namespace === undefined ? name : `${namespace}/${name}`
}
