// The pod of a waypoint: its identity, its command line, and no rights at all. The same on the local runtime and on Kubernetes.
import type { Gateway } from '../../model/gateway-api.ts'
import type { Container, ResourceRequirements } from '../../model/container.ts'
import type { PodSpec } from '../../model/object.ts'
import type { TracingSettings } from '../../telemetry/trace-settings.ts'
import { GATEWAY_NAME_LABEL, WAYPOINT_PORT, waypointAccountOf } from '../waypoint-class.ts'

/** What waypoints are told and how their pods are made; the same for all of them. */
export interface DeploySettings {
  readonly image: string
  /** What is run in the image; empty = its entry point is the waypoint's process. */
  readonly command: readonly string[]
  /** Undefined = as the cluster does by default. */
  readonly pullPolicy: 'Always' | 'IfNotPresent' | 'Never' | undefined
  /** Names of Secrets in the Gateway's namespace. */
  readonly pullSecrets: readonly string[]
  readonly resources: ResourceRequirements | undefined
  /** Empty = none. */
  readonly priorityClass: string
  /** `host:port` of xDS and certificates, as pods reach it. */
  readonly discoveryAddress: string
  readonly clusterDomain: string
  readonly trustDomain: string
  readonly clusterId: string
  /** Empty = the pods' network has no name. */
  readonly network: string
  /** Undefined = no spans. */
  readonly tracing: TracingSettings | undefined
}

/** ConfigMap of the mesh's roots in each namespace, kept by ca/roots.ts; the name and key are Istio's. */
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

/** What runs for a Gateway. */
export function podOf(gateway: Gateway, settings: DeploySettings): PodSpec {
  const { pullSecrets, priorityClass } = settings
  return {
    serviceAccountName: waypointAccountOf(gateway),
    automountServiceAccountToken: false, // it asks the control plane, never the API
    enableServiceLinks: false, // a service named weft-… would look like settings
    terminationGracePeriodSeconds: 30,
    ...(priorityClass === '' ? {} : { priorityClassName: priorityClass }),
    ...(pullSecrets.length === 0 ? {} : { imagePullSecrets: pullSecrets.map((name) => ({ name })) }),
    topologySpreadConstraints: [
      {
        maxSkew: 1,
        topologyKey: 'kubernetes.io/hostname',
        whenUnsatisfiable: 'ScheduleAnyway',
        labelSelector: { matchLabels: { [GATEWAY_NAME_LABEL]: gateway.metadata.name } },
      },
    ],
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
  const { image, command, pullPolicy, resources } = settings
  const field = (name: string, fieldPath: string) => ({ name, valueFrom: { fieldRef: { fieldPath } } })
  return {
    name: 'waypoint',
    image,
    ...(command.length === 0 ? {} : { command }),
    ...(pullPolicy === undefined ? {} : { imagePullPolicy: pullPolicy }),
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
    ...(resources === undefined ? {} : { resources }),
    volumeMounts: [{ name: IDENTITY_VOLUME, mountPath: IDENTITY_DIR, readOnly: true }],
    readinessProbe: { httpGet: { path: '/healthz/ready', port: READY_PORT }, periodSeconds: 5, timeoutSeconds: 1, failureThreshold: 3 },
    securityContext: {
      runAsUser: USER_ID,
      runAsGroup: USER_ID,
      runAsNonRoot: true,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
      seccompProfile: { type: 'RuntimeDefault' },
    },
  }
}

function argumentsOf(gateway: Gateway, settings: DeploySettings): string[] {
  const { discoveryAddress, clusterDomain, trustDomain, clusterId, network, tracing } = settings
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
    ['--trust-domain', trustDomain],
    ['--cluster-id', clusterId],
    ...(network === '' ? [] : [['--network', network]]),
    ...(tracing === undefined ? [] : tracingArguments(tracing)),
  ].flat()
}

/** Kubernetes and the local runtime put values in place of `$(NAME)`; a URL means what it says. */
function tracingArguments({ endpoint, protocol, sampling, ca }: TracingSettings): string[][] {
  return [
    ['--otlp-endpoint', endpoint.replaceAll('$', '$$$$')],
    ['--otlp-protocol', protocol],
    ['--trace-sampling', sampling],
    ...(ca === '' ? [] : [['--otlp-ca', ca]]),
  ]
}
