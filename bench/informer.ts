// What the copy of a big cluster costs: 50,000 pods with their slices, services, nodes and accounts, listed over HTTP in pages.
//   node_modules/.bin/node bench/informer.ts [--pods N] [--peer]     --peer: also @kubernetes/client-node's own informer, pods only
// The API server is a process of its own; each contender is one, too, so that its memory is its own.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { KubernetesSource } from '../controlplane/source/kubernetes/kubernetes-source.ts'
import { formatTable } from '../cli/output.ts'
import { systemClock } from '../kit/clock.ts'
import { createLog } from '../kit/log.ts'
import { findKind, KINDS } from '../objects/kinds.ts'
import { KubeClient } from '../objects/kube/kube-client.ts'
import { RenewedConnection } from '../objects/kube/connection.ts'
import { cpuSeconds } from './measure.ts'

const PODS_PER_NODE = 50
const ENDPOINTS_PER_SLICE = 100
const CHANGES = 20_000

interface Report {
  readonly what: string
  readonly seconds: number
  readonly cpu: number
  readonly rss: number
  readonly peak: number
  readonly heap: number
  readonly changesCpu: number
}

async function main(pods: number, hasPeer: boolean): Promise<void> {
  const fake = serve(pods)
  await once(fake.server, 'listening')
  const { port } = fake.server.address() as AddressInfo
  const rows: string[][] = []
  for (const what of hasPeer ? ['weft', 'client-node'] : ['weft']) {
    const sentBefore = fake.sentBytes()
    const child = fork(import.meta.filename, ['--child', what, String(port), String(pods)], { execArgv: ['--no-warnings'] })
    const report = await new Promise<Report>((resolve, reject) => {
      child.on('message', (message) => (message === 'synced' ? fake.change() : resolve(message as Report)))
      child.on('exit', (code) => reject(new Error(`${what} ended with ${code}`)))
    })
    child.kill()
    const megabytes = (fake.sentBytes() - sentBefore) / 1e6
    rows.push([
      what,
      megabytes.toFixed(0),
      ...[report.seconds, report.cpu].map((n) => n.toFixed(1)),
      ...[report.rss, report.peak, report.heap].map((n) => n.toFixed(0)),
      ((report.changesCpu * 1e6) / CHANGES).toFixed(0),
    ])
  }
  process.stdout.write(
    `${formatTable(['contender', 'MB sent', 'sync s', 'CPU s', 'RSS MB', 'peak MB', 'heap MB', 'CPU us/change'], rows)}\n`,
  )
  fake.server.closeAllConnections()
  fake.server.close()
}

async function child(what: string, port: number, pods: number): Promise<void> {
  const url = `http://127.0.0.1:${port}`
  const start = performance.now()
  const count = what === 'weft' ? await startWeft(url) : await startPeer(url)
  const seconds = (performance.now() - start) / 1000
  const cpu = cpuSeconds([process.pid])
  await delay(3000) // what the list left behind is given back
  const { rss, heapUsed } = process.memoryUsage()
  const before = cpuSeconds([process.pid])
  process.send?.('synced')
  while (count().changes < CHANGES) await delay(20)
  const changesCpu = cpuSeconds([process.pid]) - before
  if (count().pods !== pods) throw new Error(`${count().pods} pods`)
  const peak = process.resourceUsage().maxRSS / 1024
  process.send?.({
    what,
    seconds,
    cpu,
    rss: rss / 1e6,
    peak: (peak * 1024 * 1024) / 1e6,
    heap: heapUsed / 1e6,
    changesCpu,
  } satisfies Report)
  await once(process, 'disconnect')
}

type Count = () => { readonly pods: number; readonly changes: number }

async function startWeft(url: string): Promise<Count> {
  const connection = new RenewedConnection(systemClock, async () => ({ server: url, tls: {}, headers: {} }))
  const api = new KubeClient({ connection })
  const source = new KubernetesSource({ api, log: createLog({ process: 'bench', levels: 'error' }), clock: systemClock })
  let changes = 0
  source.onChange(() => void changes++)
  await source.start(new AbortController().signal)
  return () => ({ pods: [...source.objects('pods')].length, changes })
}

async function startPeer(url: string): Promise<Count> {
  const { CoreV1Api, KubeConfig, makeInformer } = await import('@kubernetes/client-node')
  const config = new KubeConfig()
  config.loadFromClusterAndUser({ name: 'c', server: url, skipTLSVerify: true }, { name: 'u' })
  const core = config.makeApiClient(CoreV1Api)
  const informer = makeInformer(config, '/api/v1/pods', () => core.listPodForAllNamespaces())
  let changes = 0
  informer.on('update', () => void changes++)
  await informer.start()
  return () => ({ pods: informer.list().length, changes })
}

/** An API server that makes its answers up as they are asked for, so that it has no memory of its own to speak of. */
function serve(pods: number): { server: Server; sentBytes(): number; change(): void } {
  let sent = 0
  const watches = new Set<ServerResponse>()
  const counts: Readonly<Record<string, number>> = {
    pods,
    nodes: pods / PODS_PER_NODE,
    namespaces: 50,
    serviceaccounts: 1000,
    services: pods / ENDPOINTS_PER_SLICE,
    endpointslices: pods / ENDPOINTS_PER_SLICE,
  }
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://bench')
    const send = (body: object, status = 200): void => {
      const bytes = Buffer.from(JSON.stringify(body))
      sent += bytes.length
      response.writeHead(status, { 'content-type': 'application/json' }).end(bytes)
    }
    const row = findKind(({ plural }) => url.pathname.endsWith(`/${plural}`))
    if (row === undefined) {
      const resources = KINDS.filter(({ apiVersions }) => apiVersions.some((version) => url.pathname.endsWith(`/${version}`)))
      return send({ resources: resources.map(({ plural, kind, isNamespaced }) => ({ name: plural, kind, namespaced: isNamespaced })) })
    }
    if (url.searchParams.has('watch')) {
      response.writeHead(200).flushHeaders()
      if (row.plural === 'pods') watches.add(response)
      return
    }
    const total = counts[row.plural] ?? 0
    const start = Number(url.searchParams.get('continue') ?? 0)
    const end = Math.min(total, start + Number(url.searchParams.get('limit') ?? total))
    const items = Array.from({ length: end - start }, (_, i) => make(row.plural, start + i))
    const metadata = { resourceVersion: '1000000', ...(end < total ? { continue: String(end) } : {}) }
    send({ kind: `${row.kind}List`, apiVersion: row.apiVersions[0], metadata, items })
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

/** @param version of a changed object; its pod is not ready then */
function make(plural: string, i: number, version?: number): object {
  const uid = `${i.toString(16).padStart(8, '0')}-1f2e-4d3c-8b5a-${i.toString(16).padStart(12, '0')}`
  const namespace = `team-${i % 50}`
  const time = '2026-08-01T10:00:00Z'
  const app = `app-${Math.floor(i / 20)}`
  const labels = {
    app: app,
    'pod-template-hash': '5d4f8c7b9d',
    'app.kubernetes.io/name': app,
    'app.kubernetes.io/version': '1.2.3',
    team: namespace,
  }
  const metadata = { uid, resourceVersion: String(version ?? i + 1), creationTimestamp: time }
  const ip = `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`
  const node = `ip-10-0-${Math.floor(i / PODS_PER_NODE)}.eu-central-1.compute.internal`
  switch (plural) {
    case 'pods':
      return pod(
        { ...metadata, name: `${app}-5d4f8c7b9d-${i.toString(36).padStart(5, 'x')}`, namespace, labels },
        app,
        ip,
        node,
        version === undefined,
      )
    case 'endpointslices': {
      const endpoints = Array.from({ length: ENDPOINTS_PER_SLICE }, (_, n) => ({
        addresses: [`10.1.${n}.${i & 255}`],
        conditions: { ready: true, serving: true, terminating: false },
        nodeName: node,
        zone: 'eu-central-1a',
        targetRef: { kind: 'Pod', namespace, name: `${app}-5d4f8c7b9d-${n}`, uid },
      }))
      return {
        metadata: {
          ...metadata,
          name: `svc-${i}-abcde`,
          namespace,
          labels: { 'kubernetes.io/service-name': `svc-${i}` },
          managedFields: managed(),
        },
        addressType: 'IPv4',
        endpoints,
        ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
      }
    }
    case 'services':
      return {
        metadata: { ...metadata, name: `svc-${i}`, namespace, labels, managedFields: managed() },
        spec: {
          clusterIP: `10.96.${(i >> 8) & 255}.${i & 255}`,
          ports: [{ name: 'http', port: 80, targetPort: 8080, protocol: 'TCP' }],
          selector: { app },
        },
        status: { loadBalancer: {} },
      }
    default:
      return {
        metadata: {
          ...metadata,
          name: plural === 'nodes' ? node : `${plural}-${i}`,
          ...(plural === 'serviceaccounts' ? { namespace } : {}),
          labels,
          managedFields: managed(),
        },
        spec: { podCIDRs: [`10.${i & 255}.0.0/24`] },
        status: {
          images: Array.from({ length: 40 }, (_, n) => ({ names: [`registry.example.com/team/image-${n}@sha256:${uid}`], sizeBytes: 1e8 })),
        },
      }
  }
}

/** As kubectl shows one of a Deployment with a sidecar: some 8 KB. */
function pod(metadata: object, app: string, ip: string, node: string, isReady: boolean): object {
  const time = '2026-08-01T10:00:00Z'
  const container = (name: string): object => ({
    name,
    image: `registry.example.com/team/${app}:1.2.3`,
    env: Array.from({ length: 15 }, (_, n) => ({ name: `SETTING_${n}`, value: `value number ${n} of ${app}` })),
    resources: { limits: { cpu: '1', memory: '512Mi' }, requests: { cpu: '100m', memory: '128Mi' } },
    volumeMounts: [{ name: 'kube-api-access', mountPath: '/var/run/secrets/kubernetes.io/serviceaccount', readOnly: true }],
    readinessProbe: {
      httpGet: { path: '/ready', port: 8080, scheme: 'HTTP' },
      timeoutSeconds: 1,
      periodSeconds: 10,
      successThreshold: 1,
      failureThreshold: 3,
    },
    ports: [{ containerPort: 8080, name: 'http', protocol: 'TCP' }],
    terminationMessagePath: '/dev/termination-log',
    imagePullPolicy: 'IfNotPresent',
  })
  const status = (name: string): object => ({
    name,
    image: `registry.example.com/team/${app}:1.2.3`,
    imageID: `registry.example.com/team/${app}@sha256:4f2c9d1be0a94cc5a3d1b8f6e2c7a9d0`,
    containerID: `containerd://8c1f${ip}4f2c9d1be0a94cc5a3d1b8f6e2c7a9d0`,
    ready: true,
    started: true,
    restartCount: 0,
    state: { running: { startedAt: time } },
  })
  return {
    metadata: {
      ...metadata,
      generateName: `${app}-5d4f8c7b9d-`,
      annotations: { 'checksum/config': '4f2c9d1be0a94cc5a3d1b8f6e2c7a9d0', 'ambient.istio.io/redirection': 'enabled' },
      ownerReferences: [
        {
          apiVersion: 'apps/v1',
          kind: 'ReplicaSet',
          name: `${app}-5d4f8c7b9d`,
          uid: '9d1be0a9-4cc5-4a3d-91b8-f6e2c7a9d000',
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
      managedFields: managed(),
    },
    spec: {
      nodeName: node,
      serviceAccountName: app,
      serviceAccount: app,
      containers: [container(app), container('agent')],
      volumes: [
        {
          name: 'kube-api-access',
          projected: {
            sources: [{ serviceAccountToken: { expirationSeconds: 3607, path: 'token' } }, { configMap: { name: 'kube-root-ca.crt' } }],
          },
        },
      ],
      tolerations: [{ key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 300 }],
      restartPolicy: 'Always',
      schedulerName: 'default-scheduler',
    },
    status: {
      phase: 'Running',
      podIP: ip,
      podIPs: [{ ip }],
      hostIP: '10.0.0.1',
      startTime: time,
      qosClass: 'Burstable',
      conditions: ['PodReadyToStartContainers', 'Initialized', 'Ready', 'ContainersReady', 'PodScheduled'].map((type) => ({
        type,
        status: isReady ? 'True' : 'False',
        lastTransitionTime: time,
        lastProbeTime: null,
      })),
      containerStatuses: [status(app), status('agent')],
    },
  }
}

function managed(): object[] {
  const fields = Object.fromEntries(Array.from({ length: 30 }, (_, n) => [`f:field-${n}`, { 'f:value': {}, '.': {} }]))
  return ['kube-controller-manager', 'kubelet'].map((manager) => ({
    manager,
    operation: 'Update',
    apiVersion: 'v1',
    time: '2026-08-01T10:00:00Z',
    fieldsType: 'FieldsV1',
    fieldsV1: fields,
  }))
}

const args = process.argv.slice(2)
const value = (flag: string, fallback: number): number => (args.includes(flag) ? Number(args[args.indexOf(flag) + 1]) : fallback)
if (args[0] === '--child') await child(args[1] ?? '', Number(args[2]), Number(args[3]))
else await main(value('--pods', 50_000), args.includes('--peer'))
