// Gateway of a waypoint class -> the objects that run it: ServiceAccount, Service and Deployment of the Gateway's name. Pure. The
// same objects work on the local runtime and on Kubernetes; follows istio/istio:manifests/charts/istio-control/istio-discovery/files/waypoint.yaml.
import type { Gateway } from '../../model/gateway-api.ts'
import type { Container, Deployment, MeshObject, ObjectMeta, PodSpec, Service, StringMap } from '../../model/object.ts'
import type { TracingSettings } from '../../telemetry/trace-settings.ts'
import { GATEWAY_CLASS_LABEL, GATEWAY_NAME_LABEL, WAYPOINT_PORT, waypointAccountOf } from '../waypoint-class.ts'

/** What waypoints are told; the same for all of them. */
export interface DeploySettings {
  /** Its entry point is the waypoint's process. */
  readonly image: string
  /** `host:port` of xDS and certificates, as pods reach it. */
  readonly discoveryAddress: string
  readonly clusterDomain: string
  /** Undefined = no spans. */
  readonly tracing: TracingSettings | undefined
}

/** ConfigMap of the mesh's roots in each namespace that has a waypoint; the name and key are Istio's. */
export const ROOT_CONFIG_MAP = 'istio-ca-root-cert'
/** Its key. */
export const ROOT_KEY = 'root-cert.pem'
/** Audience of the token that a waypoint presents. */
const TOKEN_AUDIENCE = 'istio-ca'
const TOKEN_LIFE_S = 12 * 3600
const IDENTITY_VOLUME = 'identity'
const IDENTITY_DIR = '/var/run/secrets/weft'
const READY_PORT = 15021
const METRICS_PORT = 15020
/** No user of the host or of an image; root in the container is not needed. */
const USER_ID = 1337

/** Name of a Service and value of a label: what both allow. */
const NAME = /^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/
/** Keys that decide what the mesh does with an object; they are not copied from `spec.infrastructure`. */
const RESERVED = /^(ambient\.istio\.io|istio\.io|gateway\.networking\.k8s\.io|weft\.dev)\//

/** @returns why no waypoint can have this name; undefined when it can */
export function faultOfName(gateway: Gateway): string | undefined {
  const { name } = gateway.metadata
  if (name === 'none') return '"none" stands for "no waypoint"'
  return NAME.test(name) ? undefined : 'a waypoint is also a Service: at most 63 characters a-z, 0-9 and -, beginning with a letter'
}

/** The objects of a waypoint, in the order in which they are needed. Each is owned by the Gateway and dies with it. */
export function manifestsFor(gateway: Gateway, settings: DeploySettings): MeshObject[] {
  return [accountOf(gateway), serviceOf(gateway), deploymentOf(gateway, settings)]
}

/** The ConfigMap that gives pods of a namespace the mesh's roots. */
export function rootConfigMap(namespace: string, rootsPem: string): MeshObject {
  const metadata = { name: ROOT_CONFIG_MAP, namespace, labels: { 'istio.io/config': 'true' } }
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { [ROOT_KEY]: rootsPem } }
}

interface Infrastructure {
  readonly infrastructure?: { readonly labels?: StringMap; readonly annotations?: StringMap } | null
}

/** What the owner of the Gateway wants on everything that is made for it; the mesh's own keys are left out. */
function extrasOf(gateway: Gateway): { labels: StringMap; annotations: StringMap } {
  const { infrastructure } = (gateway.spec ?? {}) as Infrastructure
  return { labels: copied(infrastructure?.labels), annotations: copied(infrastructure?.annotations) }
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
  }
}

function metadataOf(gateway: Gateway): ObjectMeta {
  const { name, namespace = 'default', uid = '' } = gateway.metadata
  return {
    name,
    namespace,
    labels: labelsOf(gateway),
    annotations: extrasOf(gateway).annotations,
    ownerReferences: [{ apiVersion: gateway.apiVersion, kind: 'Gateway', name, uid, controller: true }],
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

function podOf(gateway: Gateway, settings: DeploySettings): PodSpec {
  return {
    serviceAccountName: waypointAccountOf(gateway),
    automountServiceAccountToken: false, // it asks the control plane, never the API
    terminationGracePeriodSeconds: 30,
    containers: [containerOf(gateway, settings)],
    volumes: [
      {
        name: IDENTITY_VOLUME,
        projected: {
          sources: [
            { serviceAccountToken: { audience: TOKEN_AUDIENCE, expirationSeconds: TOKEN_LIFE_S, path: 'token' } },
            { configMap: { name: ROOT_CONFIG_MAP, items: [{ key: ROOT_KEY, path: ROOT_KEY }] } },
          ],
        },
      },
    ],
  }
}

function containerOf(gateway: Gateway, settings: DeploySettings): Container {
  const field = (name: string, fieldPath: string) => ({ name, valueFrom: { fieldRef: { fieldPath } } })
  return {
    name: 'waypoint',
    image: settings.image,
    args: argumentsOf(gateway, settings),
    env: [
      field('POD_NAME', 'metadata.name'),
      field('POD_NAMESPACE', 'metadata.namespace'),
      field('POD_IP', 'status.podIP'),
      field('NODE_NAME', 'spec.nodeName'),
    ],
    ports: [
      { name: 'mesh', containerPort: WAYPOINT_PORT, protocol: 'TCP' },
      { name: 'metrics', containerPort: METRICS_PORT, protocol: 'TCP' },
      { name: 'ready', containerPort: READY_PORT, protocol: 'TCP' },
    ],
    volumeMounts: [{ name: IDENTITY_VOLUME, mountPath: IDENTITY_DIR, readOnly: true }],
    readinessProbe: { httpGet: { path: '/healthz/ready', port: READY_PORT }, periodSeconds: 5, timeoutSeconds: 1, failureThreshold: 3 },
    securityContext: {
      runAsUser: USER_ID,
      runAsGroup: USER_ID,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    },
  }
}

function argumentsOf(gateway: Gateway, { discoveryAddress, clusterDomain, tracing }: DeploySettings): string[] {
  const { name, namespace = 'default' } = gateway.metadata
  return [
    ['--gateway', `${namespace}/${name}`],
    ['--xds-address', discoveryAddress],
    ['--ca-address', discoveryAddress],
    ['--root-cert', `${IDENTITY_DIR}/${ROOT_KEY}`],
    ['--token', `${IDENTITY_DIR}/token`],
    ['--pod-name', '$(POD_NAME)'],
    ['--pod-namespace', '$(POD_NAMESPACE)'],
    ['--service-account', waypointAccountOf(gateway)],
    ['--instance-ip', '$(POD_IP)'],
    ['--node', '$(NODE_NAME)'],
    ['--cluster-domain', clusterDomain],
    ...(tracing === undefined ? [] : tracingArguments(tracing)),
  ].flat()
}

/** Kubernetes and the local runtime put values in place of `$(NAME)`; a URL means what it says. */
function tracingArguments({ endpoint, protocol, sampling }: TracingSettings): string[][] {
  return [
    ['--otlp-endpoint', endpoint.replaceAll('$', '$$$$')],
    ['--otlp-protocol', protocol],
    ['--trace-sampling', sampling],
  ]
}
