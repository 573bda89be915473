// The demo's stage: the shop on a mesh of its own on this machine, with a tap on the bridge between the nodes. What scenes do goes
// through the product's own ways (object API, `weft exec`).
import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Clock } from '../../kit/clock.ts'
import type { Log } from '../../kit/log.ts'
import type { MeshObject, Pod } from '../../model/object.ts'
import { LocalMesh } from '../../runtime/mesh.ts'
import { statusOf } from '../../runtime/status.ts'
import { Tap } from '../../tap/tap.ts'
import { PLAINTEXT_MARKER, type PodCommand, SHOP, SHOP_DIR, ShopStage, SPANS_MARKER } from './shop-stage.ts'
import { Traffic } from './traffic.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const START_LIMIT_MS = 60_000
/** Every trace, to the collector of observe/collector.yaml. */
const TRACING_ARGS = [
  ['--tracing-endpoint', 'http://collector.observe.svc.cluster.local:4318'],
  ['--tracing-protocol', 'http'],
  ['--tracing-sampling', '100'],
].flat()

/** A running demo; dispose ends and removes it. */
export class Stage extends ShopStage implements AsyncDisposable {
  readonly mesh: LocalMesh
  readonly #name: string

  private constructor(mesh: LocalMesh, tap: Tap, name: string, clock: Clock) {
    super({ tap, traffic: new Traffic(() => ztunnelLogs(mesh.layout.logsDir)), clock })
    this.mesh = mesh
    this.#name = name
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
        componentArgs: { controlplane: TRACING_ARGS },
        clock,
        log,
        tell,
      }),
    )
    const tap = stack.use(await Tap.open({ device: mesh.layout.bridge, markers: [PLAINTEXT_MARKER, SPANS_MARKER] }))
    const stage = new Stage(mesh, tap, name, clock)
    await stage.objects('observe/collector.yaml', 'apply')
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

  async pods(): Promise<readonly Pod[]> {
    return this.mesh.store.list('pods', SHOP) as Pod[]
  }

  async object(plural: string, name: string): Promise<MeshObject> {
    return this.mesh.store.get(plural, SHOP, name)
  }

  async apply(object: MeshObject): Promise<void> {
    this.mesh.store.apply(object)
  }

  async remove(plural: string, namespace: string | undefined, name: string): Promise<void> {
    this.mesh.store.delete(plural, namespace, name)
  }

  async setLabels(labels: Readonly<Record<string, string | null>>): Promise<void> {
    this.mesh.store.patch('namespaces', undefined, SHOP, { metadata: { labels } })
  }

  exec(pod: string, command: readonly string[]): Promise<PodCommand> {
    return this.#weft('exec', pod, '--', ...command)
  }

  async logs(pod: string): Promise<string> {
    return (await this.#weft('logs', pod)).output
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

function ztunnelLogs(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => (/^ztunnel-.*\.log$/.test(name) ? [join(folder, name)] : []))
}
