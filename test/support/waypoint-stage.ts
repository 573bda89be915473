// A mesh with a waypoint for the scenes of test/netns/waypoint.test.ts: an application in two versions, a client, a guest of
// another namespace, a pod outside of the mesh, and one Service per scene so that scenes do not meet.
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { MeshObject, Service } from '../../model/object.ts'
import { kindOf } from '../../objects/kinds.ts'
import { podDir } from '../../runtime/layout.ts'
import { deployment, type RunningCommand, type TestMesh, type TestPod, testMesh } from './mesh.ts'
import type { LogLine } from './mesh-view.ts'
import type { LoadOptions, LoadReport } from './waypoint-load.ts'

/** The namespace behind the waypoint. */
export const SPACE = 'shop'
/** Name of the Gateway. */
export const WAYPOINT = 'waypoint'
/** Paths of the programs in the pods: they see the host's files. */
const APP = join(import.meta.dirname, 'waypoint-app.ts')
const LOAD = join(import.meta.dirname, 'waypoint-load.ts')
/** @grpc/grpc-js, for programs in pods. */
export const GRPC_JS = createRequire(import.meta.url).resolve('@grpc/grpc-js')
const GATEWAY_API = 'gateway.networking.k8s.io/v1'

/** One answer as a client in a pod sees it. */
export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  /** Code of the error when nobody answered. */
  readonly error?: string
}

/** A Service for the application's pods; `labels` narrows them. @param ports name of the port -> port = targetPort, `http` = 80 */
export function appService(name: string, labels: Readonly<Record<string, string>> = {}, metadata: object = {}): object {
  const ports = [
    { name: 'http', port: 80, targetPort: 8080, appProtocol: 'http' },
    { name: 'tcp', port: 9000, targetPort: 9000, appProtocol: 'tcp' },
    { name: 'grpc', port: 50_051, targetPort: 50_051, appProtocol: 'grpc' },
    { name: 'any', port: 8081, targetPort: 8080 },
  ]
  const spec = { selector: { app: 'web', ...labels }, ipFamilyPolicy: 'PreferDualStack', ports }
  return { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace: SPACE, ...metadata }, spec }
}

/** An HTTPRoute of a Service of the shop. */
export function httpRoute(service: string, rules: readonly object[], more: { namespace?: string; name?: string } = {}): object {
  const parentRefs = [{ group: '', kind: 'Service', name: service, namespace: SPACE, port: 80 }]
  const metadata = { name: more.name ?? service, namespace: more.namespace ?? SPACE }
  return { apiVersion: GATEWAY_API, kind: 'HTTPRoute', metadata, spec: { parentRefs, rules } }
}

/** A backend of a route: a Service of the shop on port 80. */
export function backend(name: string, weight = 1): object {
  return { name, namespace: SPACE, port: 80, weight }
}

/** The Gateway of a waypoint. */
export function gateway(name: string, labels: Readonly<Record<string, string>> = {}): object {
  const spec = { gatewayClassName: 'istio-waypoint', listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }] }
  return { apiVersion: GATEWAY_API, kind: 'Gateway', metadata: { name, namespace: SPACE, labels }, spec }
}

/** What every scene stands on. */
function base(): object[] {
  const ambient = { 'istio.io/dataplane-mode': 'ambient' }
  const space = (name: string, labels: object): object => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } })
  const account = (namespace: string, name: string): object => ({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace } })
  const app = (version: string, nodeName: string): object =>
    deployment(SPACE, `web-${version}`, ['node', APP, GRPC_JS], {
      pod: { nodeName, serviceAccountName: 'web' },
      container: {
        env: [{ name: 'VERSION', value: version }],
        readinessProbe: { httpGet: { path: '/ready', port: 8080 }, periodSeconds: 1 },
      },
    })
  const idle = (namespace: string, name: string, nodeName: string): object =>
    deployment(namespace, name, ['sleep', 'infinity'], { pod: { nodeName, serviceAccountName: name } })
  return [
    space(SPACE, { ...ambient, 'istio.io/use-waypoint': WAYPOINT }),
    space('guests', ambient),
    space('outside', {}),
    ...[account(SPACE, 'web'), account(SPACE, 'client'), account('guests', 'guest'), account('outside', 'outsider')],
    labelled(app('v1', 'node-2'), 'v1'),
    labelled(app('v2', 'node-1'), 'v2'),
    idle(SPACE, 'client', 'node-1'),
    idle('guests', 'guest', 'node-2'),
    idle('outside', 'outsider', 'node-1'),
    appService('v1', { version: 'v1' }),
    appService('v2', { version: 'v2' }),
    gateway(WAYPOINT),
  ]
}

/** An object with a fault is left out with a line in a log: a scene without it would show nothing. */
function requireStored({ mesh }: TestMesh, { apiVersion, kind, metadata }: MeshObject): void {
  const row = kindOf(apiVersion, kind)
  const { namespace, name } = metadata
  if (row === undefined || mesh.store.find(row.plural, namespace, name) === undefined)
    throw new Error(`${kind} ${namespace}/${name} was not taken`)
}

/** Both versions answer to `app: web`. */
function labelled(object: object, version: string): object {
  const labels = { app: 'web', version }
  const { spec, ...rest } = object as { spec: { template: object } }
  const template = { ...spec.template, metadata: { labels } }
  return { ...rest, spec: { ...spec, selector: { matchLabels: labels }, template } }
}

/** The mesh with its pods, all ready, and the waypoint programmed. */
export class WaypointStage implements AsyncDisposable {
  readonly mesh: TestMesh
  readonly client: TestPod
  readonly guest: TestPod
  readonly outsider: TestPod
  readonly v1: TestPod
  readonly v2: TestPod

  private constructor(mesh: TestMesh, pods: readonly TestPod[]) {
    const [client, guest, outsider, v1, v2] = pods as [TestPod, TestPod, TestPod, TestPod, TestPod]
    this.mesh = mesh
    this.client = client
    this.guest = guest
    this.outsider = outsider
    this.v1 = v1
    this.v2 = v2
  }

  /** @param objects of the scenes, there from the beginning */
  static async open(objects: readonly object[]): Promise<WaypointStage> {
    const mesh = await testMesh({ nodes: 2, objects: [...base(), ...objects] })
    try {
      for (const object of objects) requireStored(mesh, object as MeshObject)
      const names = [`${SPACE}/client`, 'guests/guest', 'outside/outsider', `${SPACE}/web-v1`, `${SPACE}/web-v2`]
      const pods = await Promise.all(names.map((name) => mesh.pod(name)))
      const stage = new WaypointStage(mesh, pods)
      await mesh.until('the waypoint is programmed', () => stage.isProgrammed())
      return stage
    } catch (error) {
      await mesh[Symbol.asyncDispose]()
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.mesh[Symbol.asyncDispose]()
  }

  /** Whether the Gateway says Programmed=True. */
  isProgrammed(name = WAYPOINT): boolean {
    const found = this.mesh.mesh.store.find('gateways', SPACE, name) as
      | { status?: { conditions?: { type: string; status: string }[] } }
      | undefined
    return found?.status?.conditions?.some((one) => one.type === 'Programmed' && one.status === 'True') === true
  }

  /** The waypoint's pod. */
  waypoint(name = WAYPOINT): Promise<TestPod> {
    return this.mesh.pod(`${SPACE}/${name}`)
  }

  /** Cluster IPs of a Service of the shop, IPv4 first. */
  vips(service: string): readonly string[] {
    return (this.mesh.mesh.store.get('services', SPACE, service) as Service).spec?.clusterIPs ?? []
  }

  /** One request from a pod with a connection of its own. Paths begin with `/`. */
  async get(from: TestPod, host: string, path = '/', init: { method?: string; headers?: object; body?: string } = {}): Promise<Answer> {
    const [answer] = await this.getAll(from, [{ host, path, ...init }])
    if (answer === undefined) throw new Error('no answer')
    return answer
  }

  /** Requests one after the other, each with a connection of its own. */
  async getAll(
    from: TestPod,
    list: readonly { host: string; path?: string; method?: string; headers?: object; body?: string }[],
  ): Promise<readonly Answer[]> {
    const { stdout, stderr } = await from.script(`${ASK}
      const answers = []
      for (const one of ${JSON.stringify(list)}) answers.push(await ask(one))
      console.log(JSON.stringify(answers))`)
    if (stdout === '') throw new Error(stderr)
    return JSON.parse(stdout) as Answer[]
  }

  /** A counted number of requests on kept-alive connections. */
  async load(from: TestPod, options: LoadOptions): Promise<LoadReport> {
    const { stdout, stderr } = await from.exec([process.execPath, LOAD, JSON.stringify(options)], { timeoutMs: 40_000 })
    if (stdout === '') throw new Error(stderr)
    return JSON.parse(stdout) as LoadReport
  }

  /** Requests at a steady rate until the function has ended. */
  async under(from: TestPod, options: LoadOptions, run: () => Promise<void>): Promise<LoadReport> {
    const load: RunningCommand = from.start([process.execPath, LOAD, JSON.stringify(options)])
    try {
      await run()
    } finally {
      await load.stop()
    }
    return JSON.parse(load.stdout) as LoadReport
  }

  /** Requests that the application's pods have seen on a path so far. */
  async counts(path: string): Promise<{ v1: number; v2: number }> {
    const [v1 = {}, v2 = {}] = await this.#allCounts()
    return { v1: v1[path] ?? 0, v2: v2[path] ?? 0 }
  }

  /** Addresses from which requests have come to the application so far. */
  async peers(): Promise<ReadonlySet<string>> {
    return new Set(
      (await this.#allCounts()).flatMap((one) => Object.keys(one)).flatMap((key) => (key.startsWith('from ') ? [key.slice(5)] : [])),
    )
  }

  /** Of v1 and v2 as they are now: a pod may have been replaced. */
  #allCounts(): Promise<Readonly<Record<string, number>>[]> {
    return Promise.all(['v1', 'v2'].map(async (version) => countsIn(await this.mesh.pod(`${SPACE}/web-${version}`))))
  }

  /** Lines that the waypoint has written so far; what is not JSON is left out. */
  async lines(name = WAYPOINT): Promise<readonly LogLine[]> {
    const { uid } = await this.waypoint(name)
    const dir = join(podDir(this.mesh.mesh.layout, uid), 'logs')
    const text = readdirSync(dir).map((file) => readFileSync(join(dir, file), 'utf8'))
    return text
      .join('')
      .split('\n')
      .flatMap((line) => (line.startsWith('{') && line.endsWith('}') ? [JSON.parse(line) as LogLine] : []))
  }

  /** Waits for a line of the waypoint. */
  line(test: (line: LogLine) => boolean): Promise<LogLine> {
    return this.mesh.until('a line of the waypoint', async () => (await this.lines()).find(test))
  }
}

async function countsIn(pod: TestPod): Promise<Readonly<Record<string, number>>> {
  const { stdout, stderr } = await pod.script(`console.log(await (await fetch('http://127.0.0.1:8080/counts')).text())`)
  if (stdout === '') throw new Error(stderr)
  return JSON.parse(stdout) as Record<string, number>
}

/** `ask({ host, path, method, headers, body })`, for scripts in pods. */
const ASK = `
import { request } from 'node:http'
const ask = ({ host, path = '/', method = 'GET', headers = {}, body = '' }) => new Promise((resolve) => {
  const out = request('http://' + host + path, { method, headers: { connection: 'close', ...headers }, timeout: 8000 }, (response) => {
    const chunks = []
    response.on('data', (chunk) => chunks.push(chunk))
    response.on('error', (error) => resolve({ status: 0, headers: {}, body: '', error: error.code }))
    response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks).toString() }))
  })
  out.on('timeout', () => out.destroy(Object.assign(new Error('silent'), { code: 'SILENT' })))
  out.on('error', (error) => resolve({ status: 0, headers: {}, body: '', error: error.code }))
  out.end(body)
})
`
