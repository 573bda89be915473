// Gateway of a waypoint class -> the objects that run it, all of the Gateway's name: ServiceAccount, Service, Deployment and
// PodDisruptionBudget. Pure; the same objects work on the local runtime and on Kubernetes.
// Follows istio/istio:manifests/charts/istio-control/istio-discovery/files/waypoint.yaml.
import type { Gateway } from '../../model/gateway-api.ts'
import type { Deployment, MeshObject, ObjectMeta, Service, StringMap } from '../../model/object.ts'
import { GATEWAY_CLASS_LABEL, GATEWAY_NAME_LABEL, WAYPOINT_PORT, waypointAccountOf } from '../waypoint-class.ts'
import { type DeploySettings, podOf } from './pod.ts'

/** Name of a Service and value of a label: what both allow. */
const NAME = /^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/
/** Keys that decide what the mesh does with an object; they are not copied from `spec.infrastructure`. */
const RESERVED = /^((ambient|sidecar|gateway)\.istio\.io|istio\.io|gateway\.networking\.k8s\.io|weft\.dev)\//

/** @returns why there can be no waypoint of this Gateway, a sentence each */
export function faultsOf(gateway: Gateway): string[] {
  const { name } = gateway.metadata
  const faults: string[] = []
  if (name === 'none') faults.push('"none" stands for "no waypoint"')
  else if (!NAME.test(name)) faults.push('a waypoint is also a Service: at most 63 characters a-z, 0-9 and -, beginning with a letter')
  if (gateway.spec?.infrastructure?.parametersRef !== undefined)
    faults.push('spec.infrastructure.parametersRef is not supported; labels and annotations of spec.infrastructure are')
  return faults
}

/** The objects of a waypoint, in the order in which they are needed. Each is owned by the Gateway and dies with it. */
export function manifestsFor(gateway: Gateway, settings: DeploySettings): MeshObject[] {
  return [accountOf(gateway), serviceOf(gateway), deploymentOf(gateway, settings), budgetOf(gateway)]
}

/** What the owner of the Gateway wants on everything that is made for it; the mesh's own keys are left out. */
function extrasOf(gateway: Gateway): { labels: StringMap; annotations: StringMap } {
  const { labels, annotations } = gateway.spec?.infrastructure ?? {}
  return { labels: copied(labels), annotations: copied(annotations) }
}

function copied(from: StringMap | undefined): StringMap {
  return Object.fromEntries(Object.entries(from ?? {}).filter(([key, value]) => !RESERVED.test(key) && typeof value === 'string'))
}

function labelsOf(gateway: Gateway): StringMap {
  return {
    ...extrasOf(gateway).labels,
    'app.kubernetes.io/managed-by': 'weft',
    [GATEWAY_NAME_LABEL]: gateway.metadata.name,
    [GATEWAY_CLASS_LABEL]: gateway.spec?.gatewayClassName ?? '',
    'istio.io/dataplane-mode': 'none',
    'sidecar.istio.io/inject': 'false', // also where another mesh injects sidecars
  }
}

function metadataOf(gateway: Gateway): ObjectMeta {
  const { name, namespace = 'default', uid = '' } = gateway.metadata
  return {
    name,
    namespace,
    labels: labelsOf(gateway),
    annotations: extrasOf(gateway).annotations,
    ownerReferences: [{ apiVersion: gateway.apiVersion, kind: 'Gateway', name, uid, controller: true, blockOwnerDeletion: true }],
  }
}

function accountOf(gateway: Gateway): MeshObject {
  return { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { ...metadataOf(gateway), name: waypointAccountOf(gateway) } }
}

function serviceOf(gateway: Gateway): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: metadataOf(gateway),
    spec: {
      type: 'ClusterIP',
      ipFamilyPolicy: 'PreferDualStack',
      selector: { [GATEWAY_NAME_LABEL]: gateway.metadata.name },
      ports: [{ name: 'mesh', port: WAYPOINT_PORT, targetPort: WAYPOINT_PORT, protocol: 'TCP', appProtocol: 'hbone' }],
      trafficDistribution: 'PreferClose', // a hop more should not be a hop to another zone
    },
  }
}

function deploymentOf(gateway: Gateway, settings: DeploySettings): Deployment {
  const metadata = metadataOf(gateway)
  const { labels = {}, annotations = {} } = metadata
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata,
    spec: {
      selector: { matchLabels: { [GATEWAY_NAME_LABEL]: gateway.metadata.name } },
      template: { metadata: { labels, annotations }, spec: podOf(gateway, settings) },
    },
  }
}

/** One pod at a time may be evicted: with a single replica a node can still be drained, with several the waypoint stays. */
function budgetOf(gateway: Gateway): MeshObject {
  const selector = { matchLabels: { [GATEWAY_NAME_LABEL]: gateway.metadata.name } }
  return { apiVersion: 'policy/v1', kind: 'PodDisruptionBudget', metadata: metadataOf(gateway), spec: { maxUnavailable: 1, selector } }
}
