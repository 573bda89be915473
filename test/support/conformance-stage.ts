// A mesh as the conformance suite wants to find it: the mesh manifests' namespaces, enrolled and behind waypoints, and the
// echo pods, from which requests are sent by the client program of their image.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { MeshObject } from '../../model/object.ts'
import { kindOf } from '../../objects/kinds.ts'
import { podDir } from '../../runtime/layout.ts'
import { clientArgs, type EchoAnswer, faultOf, type MeshCase, parseAnswers } from './conformance-answers.ts'
import { type MeshTest, V2_ADDRESS } from './conformance-mesh-cases.ts'
import { buildEcho, manifest, routesOnService, suiteDirectory } from './conformance-suite.ts'
import { type TestMesh, type TestPod, testMesh } from './mesh.ts'

const SPACE = 'gateway-conformance-mesh'
const CONSUMER = 'gateway-conformance-mesh-consumer'
const WAYPOINT = 'waypoint'
/** What the suite is told by --namespace-labels. */
const LABELS = { 'istio.io/dataplane-mode': 'ambient', 'istio.io/use-waypoint': WAYPOINT }
/** The suite wants 3 answers in a row; by 3 a route that does nothing passes now and then. */
const IN_A_ROW = 20
const CONVERGENCE_MS = 15_000
/** A mesh that is broken shall not take hours. */
const PATIENCE_AFTER_A_FAILURE_MS = 2000
/** Mirrored requests are not waited for by anybody. */
const QUIET_MS = 300
const MIRROR_LIMIT_MS = 5000

interface RouteStatus {
  readonly parents?: readonly { readonly conditions?: readonly Condition[] }[]
}
interface Condition {
  readonly type: string
  readonly status: string
  readonly reason?: string
  readonly observedGeneration?: number
}

/** The mesh with the base of the suite, ready. */
export class ConformanceStage implements AsyncDisposable {
  readonly mesh: TestMesh
  readonly #suite: string
  readonly #client: string
  readonly #v1: TestPod
  readonly #v2: TestPod
  readonly #consumer: TestPod
  #marks = 0
  #patienceMs = CONVERGENCE_MS

  private constructor(mesh: TestMesh, dirs: { suite: string; echo: string }, pods: { v1: TestPod; v2: TestPod; consumer: TestPod }) {
    this.mesh = mesh
    this.#suite = dirs.suite
    this.#client = `${dirs.echo}/client`
    this.#v1 = pods.v1
    this.#v2 = pods.v2
    this.#consumer = pods.consumer
  }

  /** @param hasThird a third backend, echo-v3, which is none of the Service `echo` */
  static async open({ hasThird = false } = {}): Promise<ConformanceStage> {
    const dirs = { suite: suiteDirectory(), echo: buildEcho() }
    const objects = manifest(dirs.suite, 'mesh/manifests.yaml')
    const base = [...objects, ...(hasThird ? third(objects) : [])].map((object) => adapted(object, dirs.echo))
    const mesh = await testMesh({ nodes: 2, objects: [...base, gateway(SPACE), gateway(CONSUMER)] })
    try {
      const [v1, v2, consumer] = await Promise.all(
        [`${SPACE}/echo-v1`, `${SPACE}/echo-v2`, `${CONSUMER}/echo-v1`].map((name) => mesh.pod(name)),
      )
      if (v1 === undefined || v2 === undefined || consumer === undefined) throw new Error('no echo pods')
      for (const space of [SPACE, CONSUMER]) await mesh.until(`the waypoint of ${space} is programmed`, () => isProgrammed(mesh, space))
      return new ConformanceStage(mesh, dirs, { v1, v2, consumer })
    } catch (error) {
      await mesh[Symbol.asyncDispose]()
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.mesh[Symbol.asyncDispose]()
  }

  /** Applies a test's manifest, and waits until the status says of every route and parent what it must say. */
  async apply(test: MeshTest): Promise<void> {
    const objects = this.#objects(test)
    await this.mesh.apply(...objects)
    for (const object of objects) {
      const { kind, metadata } = object
      await this.mesh.until(`${kind} ${metadata.name} is accepted`, () => this.#says(object, 'Accepted', 'True'))
      const { unresolved } = test
      if (unresolved === undefined) continue
      await this.mesh.until(`${kind} ${metadata.name} says ${unresolved}`, () => this.#says(object, 'ResolvedRefs', 'False', unresolved))
    }
  }

  /** Deletes what `apply` made. */
  async remove(test: MeshTest): Promise<void> {
    for (const object of this.#objects(test))
      await this.mesh.client.delete(pluralOf(object), object.metadata.namespace, object.metadata.name)
  }

  /** Sends a case until 20 answers of one batch are as they must be. @throws Error saying what was wrong in the last batch */
  async expect(one: MeshCase, from: 'producer' | 'consumer' = 'producer'): Promise<void> {
    const deadlineMs = performance.now() + this.#patienceMs
    for (;;) {
      const fault = await this.#faultOfBatch(one, from)
      if (fault === undefined) return
      if (performance.now() > deadlineMs) {
        this.#patienceMs = PATIENCE_AFTER_A_FAILURE_MS
        throw new Error(fault)
      }
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }

  /** @returns what answered a number of requests, sent at once by one client @throws Error when an answer is missing */
  async batch(one: MeshCase, count: number, from: 'producer' | 'consumer' = 'producer'): Promise<readonly EchoAnswer[]> {
    const host = one.host?.replace(V2_ADDRESS, this.#v2.ip)
    const args = clientArgs({ ...one, ...(host === undefined ? {} : { host }) }, count)
    const pod = from === 'producer' ? this.#v1 : this.#consumer
    const { status, stdout, stderr } = await pod.exec([this.#client, ...args])
    const answers = parseAnswers(stdout)
    if (status !== 0 || answers.length !== count) throw new Error(`${answers.length} answers for ${count} requests\n${stdout}${stderr}`)
    return answers
  }

  /**
   * Sends requests with a mark of their own.
   * @param expected how many of them a backend's pod will have in its log, at least
   * @returns how many it has when no more come
   */
  async mirrored(one: MeshCase, backend: string, count: number, expected: number): Promise<number> {
    const mark = `RequestID=${++this.#marks}.`
    await this.batch({ ...one, path: `${one.path}?${mark}` }, count)
    const pod = await this.mesh.pod(`${SPACE}/${backend}`)
    const dir = join(podDir(this.mesh.mesh.layout, pod.uid), 'logs')
    const deadlineMs = performance.now() + MIRROR_LIMIT_MS
    for (let last = -1; ; ) {
      const text = readdirSync(dir).map((file) => readFileSync(join(dir, file), 'utf8'))
      const now = text.join('').split(mark).length - 1
      if (now === last && (now >= expected || performance.now() > deadlineMs)) return now
      last = now
      await new Promise((resolve) => setTimeout(resolve, QUIET_MS))
    }
  }

  async #faultOfBatch(one: MeshCase, from: 'producer' | 'consumer'): Promise<string | undefined> {
    try {
      const answers = await this.batch(one, IN_A_ROW, from)
      return answers.map((answer) => faultOf(one, answer)).find((fault) => fault !== undefined)
    } catch (error) {
      return String(error)
    }
  }

  #objects({ file, manifest: given = file, isOfGateways = false }: MeshTest): MeshObject[] {
    if (given === null) return []
    const read = isOfGateways ? routesOnService : manifest
    return read(this.#suite, `tests/${given}.yaml`) as unknown as MeshObject[]
  }

  #says(object: MeshObject, type: string, status: string, reason?: string): boolean {
    const { namespace, name } = object.metadata
    const found = this.mesh.mesh.store.find(pluralOf(object), namespace, name) as (MeshObject & { status?: RouteStatus }) | undefined
    const parents = found?.status?.parents ?? []
    const isIt = (one: Condition): boolean =>
      one.type === type &&
      one.status === status &&
      one.observedGeneration === found?.metadata.generation &&
      (reason === undefined || one.reason === reason)
    return parents.length > 0 && parents.every(({ conditions = [] }) => conditions.some(isIt))
  }
}

function pluralOf({ apiVersion, kind }: MeshObject): string {
  const row = kindOf(apiVersion, kind)
  if (row === undefined) throw new Error(`no kind ${kind} of ${apiVersion}`)
  return row.plural
}

function isProgrammed({ mesh }: TestMesh, space: string): boolean {
  const found = mesh.store.find('gateways', space, WAYPOINT) as { status?: { conditions?: readonly Condition[] } } | undefined
  return found?.status?.conditions?.some(({ type, status }) => type === 'Programmed' && status === 'True') === true
}

/** A waypoint for services and pods: the suite calls pods by their addresses, too, and nobody may go round a waypoint. */
function gateway(namespace: string): object {
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: { name: WAYPOINT, namespace, labels: { 'istio.io/waypoint-for': 'all' } },
    spec: { gatewayClassName: 'istio-waypoint', listeners: [{ name: 'mesh', port: 15_008, protocol: 'HBONE' }] },
  }
}

/** The objects of echo-v2 once more. */
function third(objects: readonly Record<string, unknown>[]): Record<string, unknown>[] {
  const second = objects.filter(({ metadata }) => (metadata as { name: string }).name === 'echo-v2')
  const text = JSON.stringify(second)
    .replaceAll('"echo"', '"echo-third"')
    .replaceAll('v2"', 'v3"')
    .replaceAll('"name":"echo-third"', '"name":"echo"')
  return JSON.parse(text) as Record<string, unknown>[]
}

interface Container {
  readonly args?: readonly string[]
}

/** Namespaces are enrolled; a container runs the program that its image would. */
function adapted(object: Record<string, unknown>, echo: string): object {
  const { kind, metadata } = object as { kind: string; metadata: { labels?: object } }
  if (kind === 'Namespace') return { ...object, metadata: { ...metadata, labels: { ...metadata.labels, ...LABELS } } }
  if (kind !== 'Deployment') return object
  const { spec } = object as { spec: { template: { spec: { containers: readonly Container[] } } } }
  const containers = spec.template.spec.containers.map(({ args = [], ...container }) => ({
    ...container,
    command: [`${echo}/server`],
    args: args.map((arg) => arg.replace(/^(--(?:crt|key)=)\//, `$1${echo}/`)),
  }))
  const pod = { ...spec.template.spec, terminationGracePeriodSeconds: 1, containers }
  return { ...object, spec: { ...spec, template: { ...spec.template, spec: pod } } }
}
