// The demo's stage: the shop on a mesh of its own with a tap on the bridge between the nodes, and the few things that scenes do
// with it, each through the product's own ways (object API, `weft exec`).
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { type Clock, pause } from '../../kit/clock.ts'
import type { Log } from '../../kit/log.ts'
import type { Condition, MeshObject, Pod } from '../../model/object.ts'
import { parseFile } from '../../objects/document.ts'
import { kindOf } from '../../objects/kinds.ts'
import { LocalMesh } from '../../runtime/mesh.ts'
import { statusOf } from '../../runtime/status.ts'
import { Tap } from '../../tap/tap.ts'
import { Traffic } from './traffic.ts'

/** The namespace that the demo plays in. */
export const SHOP = 'shop'
/** Text that every request of the shop carries; seen on a link, the link carries plaintext. */
export const PLAINTEXT_MARKER = 'HTTP/1.1'

const ROOT = resolve(import.meta.dirname, '../..')
const SHOP_DIR = join(ROOT, 'samples/shop')
const POLL_MS = 200

/** What a command in a pod printed and how it ended. */
export interface PodCommand {
  readonly status: number
  readonly output: string
}

/** Orders of the batch client as its log tells them. */
export interface Orders {
  readonly done: number
  readonly failed: number
}

/** What load.mjs has counted: answers by status, versions of the service that answered, errors, and how long it took. */
export interface LoadCounts {
  readonly requests: number
  readonly status: Readonly<Record<string, number>>
  readonly version: Readonly<Record<string, number>>
  readonly error: Readonly<Record<string, number>>
  readonly retryAfter?: string
  readonly ms: { readonly p50: number; readonly p99: number }
}

interface Judged {
  readonly conditions?: readonly Condition[]
  readonly parents?: readonly { readonly conditions?: readonly Condition[] }[]
}

/** A running demo; dispose ends and removes it. */
export class Stage implements AsyncDisposable {
  readonly mesh: LocalMesh
  readonly tap: Tap
  readonly traffic: Traffic
  readonly #clock: Clock
  readonly #name: string

  private constructor(mesh: LocalMesh, tap: Tap, name: string, clock: Clock) {
    this.mesh = mesh
    this.tap = tap
    this.traffic = new Traffic(mesh.layout.logsDir)
    this.#name = name
    this.#clock = clock
  }

  /** Starts the mesh and waits until the shop is ready. @throws MeshError as LocalMesh.start; Error when `signal` aborts */
  static async open(options: {
    readonly name: string
    readonly nodes: number
    readonly clock: Clock
    readonly log: Log
    readonly signal: AbortSignal
    tell(sentence: string): void
  }): Promise<Stage> {
    const { name, nodes, clock, log, tell } = options
    await using stack = new AsyncDisposableStack()
    const mesh = stack.use(
      await LocalMesh.start({
        name,
        nodes,
        source: join(SHOP_DIR, 'shop.yaml'),
        images: { 'weft/shop:dev': SHOP_DIR },
        hasMesh: true,
        clock,
        log,
        tell,
      }),
    )
    const tap = stack.use(await Tap.open({ device: mesh.layout.bridge, markers: [PLAINTEXT_MARKER] }))
    const stage = new Stage(mesh, tap, name, clock)
    tell('waiting for the shop')
    const isReady = async (): Promise<boolean> => {
      const status = await statusOf(mesh, true)
      return status.isReady && status.pods.filter((pod) => pod.namespace === SHOP).every((pod) => pod.enrolment === 'enabled')
    }
    if (!(await stage.until(isReady, START_LIMIT_MS, options.signal)))
      throw new Error(`the shop was not ready within ${START_LIMIT_MS / 1000} s; see ${mesh.layout.logsDir}`)
    stack.move()
    return stage
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.tap[Symbol.asyncDispose]()
    await this.mesh[Symbol.asyncDispose]()
  }

  /** Waits for a condition. @returns false when the time is over or `signal` aborts */
  async until(condition: () => boolean | Promise<boolean>, limitMs: number, signal?: AbortSignal): Promise<boolean> {
    const endMs = this.#clock.monotonicMs() + limitMs
    while (!(await condition())) {
      if (this.#clock.monotonicMs() > endMs || signal?.aborted === true) return false
      await pause(this.#clock, POLL_MS, signal)
    }
    return true
  }

  /** Lets time go by. */
  pause(ms: number): Promise<void> {
    return pause(this.#clock, ms)
  }

  /** Pods of the shop. */
  pods(): readonly Pod[] {
    return this.mesh.store.list('pods', SHOP) as Pod[]
  }

  /** Every address of the shop's pods. */
  podIps(): string[] {
    return this.pods().flatMap((pod) => (pod.status?.podIPs ?? []).map(({ ip }) => ip))
  }

  /** Sets or removes the label that puts the shop into the mesh, and waits until every pod follows. */
  async label(isMeshed: boolean): Promise<boolean> {
    this.mesh.store.patch('namespaces', undefined, SHOP, {
      metadata: { labels: { 'istio.io/dataplane-mode': isMeshed ? 'ambient' : null } },
    })
    const wanted = isMeshed ? 'enabled' : undefined
    return this.until(
      () => this.pods().every((pod) => pod.metadata.annotations?.['ambient.istio.io/redirection'] === wanted),
      CHANGE_LIMIT_MS,
    )
  }

  /** Applies (or deletes) the objects of one of the shop's files, `policies/strict.yaml`. */
  objects(file: string, action: 'apply' | 'delete'): void {
    const path = join(SHOP_DIR, file)
    for (const { object } of parseFile(readFileSync(path, 'utf8'), path).documents) {
      const kind = kindOf(object.apiVersion, object.kind)
      if (kind === undefined) throw new Error(`${path}: ${object.kind} is no kind of the mesh`)
      if (action === 'apply') this.mesh.store.apply(object)
      else this.mesh.store.delete(kind.plural, object.metadata.namespace, object.metadata.name)
    }
  }

  /** Runs a command in a pod. */
  exec(pod: string, command: readonly string[]): Promise<PodCommand> {
    return this.#weft('exec', pod, '--', ...command)
  }

  /** A request from a pod: the status code as text, or the error's code. */
  async get(pod: string, url: string): Promise<string> {
    const script = `fetch(${JSON.stringify(url)}, { signal: AbortSignal.timeout(4000) }).then((r) => console.log(r.status), (e) => console.log(e.cause?.code ?? e.name))`
    return (await this.exec(pod, ['node', '-e', script])).output
  }

  /** Sends requests from a pod and counts what becomes of them. @param options of load.mjs */
  async load(pod: string, url: string, options: readonly string[]): Promise<LoadCounts> {
    const { output } = await this.exec(pod, ['node', 'load.mjs', url, ...options])
    return JSON.parse(output) as LoadCounts
  }

  /** The last access lines of the waypoint. */
  async accessLines(): Promise<readonly Readonly<Record<string, unknown>>[]> {
    const { output } = await this.#weft('logs', `${SHOP}/waypoint`)
    return output.split('\n').flatMap((line) => (line.includes('"scope":"access"') ? [JSON.parse(line)] : []))
  }

  /** Whether an object of the shop says True to a condition, in its own status or in that of its parents. */
  says(plural: string, name: string, condition: string): boolean {
    const { status } = this.mesh.store.get(plural, SHOP, name) as MeshObject & { readonly status?: Judged }
    const all = [...(status?.conditions ?? []), ...(status?.parents ?? []).flatMap((parent) => parent.conditions ?? [])]
    return all.some((one) => one.type === condition && one.status === 'True')
  }

  /** What the batch client has ordered since it began. */
  async orders(): Promise<Orders> {
    const answer = await this.exec(`${SHOP}/batch`, [
      'node',
      '-e',
      "fetch('http://127.0.0.1:8080/').then((r) => r.text()).then(console.log)",
    ])
    const { ordered, failed } = JSON.parse(answer.output) as { ordered: number; failed: number }
    return { done: ordered, failed }
  }

  /** The command line, on this mesh. */
  #weft(command: string, ...words: readonly string[]): Promise<PodCommand> {
    const child = spawn(process.execPath, [join(ROOT, 'cli/main.ts'), command, '--name', this.#name, ...words], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const parts: string[] = []
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => parts.push(text))
    return new Promise((done, fail) => {
      child.on('error', fail)
      child.on('close', (status) => done({ status: status ?? 1, output: parts.join('').trim() }))
    })
  }
}

const START_LIMIT_MS = 60_000
const CHANGE_LIMIT_MS = 20_000
