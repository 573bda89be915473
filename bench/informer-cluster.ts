// The API server of bench/informer.ts: makes its answers up as they are asked for, so that it has no memory of its own to speak of.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { findKind, KINDS } from '../objects/kinds.ts'

/** Changes of pods that `change` sends. */
export const CHANGES = 20_000
const PODS_PER_NODE = 50
const ENDPOINTS_PER_SLICE = 100
const TIME = '2026-08-01T10:00:00Z'

/** A server on loopback. */
export interface BenchCluster {
  readonly server: Server
  /** Bytes of lists so far. */
  sentBytes(): number
  /** Sends CHANGES changes to every watch of pods. */
  change(): void
}

/** Serves a cluster of so many pods; begins to listen. */
export function serveCluster(pods: number): BenchCluster {
  let sent = 0
  const watches = new Set<ServerResponse>()
  const send = (response: ServerResponse, body: object): void => {
    const bytes = Buffer.from(JSON.stringify(body))
    sent += bytes.length
    response.writeHead(200, { 'content-type': 'application/json' }).end(bytes)
  }
  const server = createServer((request, response) => {
    const { plural, url } = read(request)
    if (plural === undefined) return send(response, discovery(url.pathname))
    if (!url.searchParams.has('watch')) return send(response, list(plural, url.searchParams, pods))
    response.writeHead(200).flushHeaders()
    if (plural === 'pods') watches.add(response)
  })
  const change = (): void => {
    for (const response of watches)
      for (let i = 0; i < CHANGES; i++) {
        const object = { kind: 'Pod', apiVersion: 'v1', ...make('pods', i, 1_000_001 + i) }
        response.write(`${JSON.stringify({ type: 'MODIFIED', object })}\n`)
      }
    watches.clear()
  }
  server.listen(0, '127.0.0.1')
  return { server, sentBytes: () => sent, change }
}

function read(request: IncomingMessage): { url: URL; plural: string | undefined } {
  const url = new URL(request.url ?? '/', 'http://bench')
  return { url, plural: findKind(({ plural }) => url.pathname.endsWith(`/${plural}`))?.plural }
}

function discovery(path: string): object {
  const rows = KINDS.filter(({ apiVersions }) => apiVersions.some((version) => path.endsWith(`/${version}`)))
  return { resources: rows.map(({ plural, kind, isNamespaced }) => ({ name: plural, kind, namespaced: isNamespaced })) }
}

function list(plural: string, query: URLSearchParams, pods: number): object {
  const counts: Readonly<Record<string, number>> = {
    pods,
    nodes: pods / PODS_PER_NODE,
    namespaces: 50,
    serviceaccounts: 1000,
    services: pods / ENDPOINTS_PER_SLICE,
    endpointslices: pods / ENDPOINTS_PER_SLICE,
  }
  const total = counts[plural] ?? 0
  const start = Number(query.get('continue') ?? 0)
  const end = Math.min(total, start + Number(query.get('limit') ?? total))
  const metadata = { resourceVersion: '1000000', ...(end < total ? { continue: String(end) } : {}) }
  return { kind: 'List', apiVersion: 'v1', metadata, items: Array.from({ length: end - start }, (_, i) => make(plural, start + i)) }
}

/** @param version of a changed object; its pod is not ready then */
function make(plural: string, i: number, version?: number): object {
  const uid = `${i.toString(16).padStart(8, '0')}-1f2e-4d3c-8b5a-${i.toString(16).padStart(12, '0')}`
  const namespace = `team-${i % 50}`
  const app = `app-${Math.floor(i / 20)}`
  const labels = {
    app,
    'pod-template-hash': '5d4f8c7b9d',
    'app.kubernetes.io/name': app,
    'app.kubernetes.io/version': '1.2.3',
    team: namespace,
  }
  const metadata = { uid, resourceVersion: String(version ?? i + 1), creationTimestamp: TIME, namespace, managedFields: managed() }
  const ip = `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`
  const node = `ip-10-0-${Math.floor(i / PODS_PER_NODE)}.eu-central-1.compute.internal`
  switch (plural) {
    case 'pods':
      return pod(
        { ...metadata, name: `${app}-5d4f8c7b9d-${i.toString(36).padStart(5, 'x')}`, labels },
        app,
        ip,
        node,
        version === undefined,
      )
    case 'endpointslices': {
      const name = { name: `svc-${i}-abcde`, labels: { 'kubernetes.io/service-name': `svc-${i}` } }
      return { metadata: { ...metadata, ...name }, addressType: 'IPv4', ...endpoints(i, namespace, `${app}-5d4f8c7b9d`, uid, node) }
    }
    case 'services': {
      const ports = [{ name: 'http', port: 80, targetPort: 8080, protocol: 'TCP' }]
      const spec = { clusterIP: `10.96.${(i >> 8) & 255}.${i & 255}`, ports, selector: { app } }
      return { metadata: { ...metadata, name: `svc-${i}`, labels }, spec, status: { loadBalancer: {} } }
    }
    default: {
      const images = Array.from({ length: 40 }, (_, n) => ({ names: [`registry.example.com/image-${n}@sha256:${uid}`], sizeBytes: 1e8 }))
      const name = plural === 'nodes' ? node : `${plural}-${i}`
      return { metadata: { ...metadata, name, labels }, spec: { podCIDRs: [`10.${i & 255}.0.0/24`] }, status: { images } }
    }
  }
}

function endpoints(i: number, namespace: string, prefix: string, uid: string, nodeName: string): object {
  const all = Array.from({ length: ENDPOINTS_PER_SLICE }, (_, n) => ({
    addresses: [`10.1.${n}.${i & 255}`],
    conditions: { ready: true, serving: true, terminating: false },
    nodeName,
    zone: 'eu-central-1a',
    targetRef: { kind: 'Pod', namespace, name: `${prefix}-${n}`, uid },
  }))
  return { endpoints: all, ports: [{ name: 'http', port: 8080, protocol: 'TCP' }] }
}

/** As kubectl shows one of a Deployment with a sidecar: some 8 KB. */
function pod(metadata: object, app: string, ip: string, nodeName: string, isReady: boolean): object {
  const owner = {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    name: `${app}-5d4f8c7b9d`,
    uid: '9d1be0a9-4cc5-4a3d-91b8-f6e2c7a9d000',
    controller: true,
    blockOwnerDeletion: true,
  }
  const annotations = { 'checksum/config': '4f2c9d1be0a94cc5a3d1b8f6e2c7a9d0', 'ambient.istio.io/redirection': 'enabled' }
  const token = { serviceAccountToken: { expirationSeconds: 3607, path: 'token' } }
  return {
    metadata: { ...metadata, generateName: `${app}-5d4f8c7b9d-`, annotations, ownerReferences: [owner] },
    spec: {
      nodeName,
      serviceAccountName: app,
      serviceAccount: app,
      containers: [container(app, app), container('agent', app)],
      volumes: [{ name: 'kube-api-access', projected: { sources: [token, { configMap: { name: 'kube-root-ca.crt' } }] } }],
      tolerations: [{ key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 300 }],
      restartPolicy: 'Always',
      schedulerName: 'default-scheduler',
    },
    status: statusOf(app, ip, isReady),
  }
}

function container(name: string, app: string): object {
  return {
    name,
    image: `registry.example.com/team/${app}:1.2.3`,
    env: Array.from({ length: 15 }, (_, n) => ({ name: `SETTING_${n}`, value: `value number ${n} of ${app}` })),
    resources: { limits: { cpu: '1', memory: '512Mi' }, requests: { cpu: '100m', memory: '128Mi' } },
    volumeMounts: [{ name: 'kube-api-access', mountPath: '/var/run/secrets/kubernetes.io/serviceaccount', readOnly: true }],
    readinessProbe: { httpGet: { path: '/ready', port: 8080, scheme: 'HTTP' }, timeoutSeconds: 1, periodSeconds: 10, failureThreshold: 3 },
    ports: [{ containerPort: 8080, name: 'http', protocol: 'TCP' }],
    terminationMessagePath: '/dev/termination-log',
    imagePullPolicy: 'IfNotPresent',
  }
}

function statusOf(app: string, ip: string, isReady: boolean): object {
  const types = ['PodReadyToStartContainers', 'Initialized', 'Ready', 'ContainersReady', 'PodScheduled']
  const status = isReady ? 'True' : 'False'
  const of = (name: string): object => ({
    name,
    image: `registry.example.com/team/${app}:1.2.3`,
    imageID: `registry.example.com/team/${app}@sha256:4f2c9d1be0a94cc5a3d1b8f6e2c7a9d0`,
    containerID: `containerd://8c1f${ip}4f2c9d1be0a94cc5a3d1b8f6e2c7a9d0`,
    ready: isReady,
    started: true,
    restartCount: 0,
    state: { running: { startedAt: TIME } },
  })
  return {
    phase: 'Running',
    podIP: ip,
    podIPs: [{ ip }],
    hostIP: '10.0.0.1',
    startTime: TIME,
    qosClass: 'Burstable',
    conditions: types.map((type) => ({ type, status, lastTransitionTime: TIME, lastProbeTime: null })),
    containerStatuses: [of(app), of('agent')],
  }
}

function managed(): object[] {
  const fieldsV1 = Object.fromEntries(Array.from({ length: 30 }, (_, n) => [`f:field-${n}`, { 'f:value': {}, '.': {} }]))
  return ['kube-controller-manager', 'kubelet'].map((manager) => ({
    manager,
    operation: 'Update',
    apiVersion: 'v1',
    time: TIME,
    fieldsType: 'FieldsV1',
    fieldsV1,
  }))
}
