// A mesh for tests: started in this process, with objects given as YAML text or values, and removed at the end of the block.
// WEFT_TEST_LOGS=DIR keeps the logs of its components there.
//   await using mesh = await testMesh({ nodes: 2, objects: YAML })
//   const client = await mesh.pod('shop/client')
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { findSandbox } from '../../cli/command/exec.ts'
import { systemClock } from '../../kit/clock.ts'
import { createLog } from '../../kit/log.ts'
import { cgroupOfPid } from '../../linux/cgroup.ts'
import type { MeshObject, Pod } from '../../model/object.ts'
import { ObjectClient } from '../../objects/client.ts'
import { enterContainer, enterSandbox } from '../../runtime/enter.ts'
import { setprivArgs } from '../../runtime/kubelet/capabilities.ts'
import type { SandboxRecord } from '../../runtime/kubelet/sandbox.ts'
import { type NodeLayout, NETNS_DIR, podDir } from '../../runtime/layout.ts'
import { LocalMesh } from '../../runtime/mesh.ts'
import { type MeshStatus, statusOf } from '../../runtime/status.ts'
import { atEnd } from './at-end.ts'

/** What to start. `objects`: YAML text, or objects. */
export interface TestMeshOptions {
  readonly nodes?: number
  readonly objects?: string | readonly object[]
  /** False = no proxies. */
  readonly hasMesh?: boolean
  readonly name?: string
  readonly images?: Readonly<Record<string, string>>
  readonly componentArgs?: Readonly<Record<string, readonly string[]>>
  readonly nodeFlags?: Readonly<Record<string, readonly string[]>>
  /** Istio's own ztunnel on some nodes. */
  readonly stockZtunnel?: { readonly path: string; readonly nodes: readonly string[] }
  /** False = do not wait for pods and components. */
  readonly waits?: boolean
  readonly timeoutMs?: number
}

/** What a command in a pod said. */
export interface CommandResult {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** A command that runs in a pod. It is asked to end by the end of its standard input, and killed after some seconds. */
export interface RunningCommand {
  /** What it has printed so far. */
  readonly stdout: string
  stop(): Promise<CommandResult>
}

/** A pod under test. */
export interface TestPod {
  readonly namespace: string
  readonly name: string
  readonly uid: string
  readonly node: string
  readonly ip: string
  readonly ip6: string
  /** Path of the network namespace, for taps and sockets of the test. */
  readonly netnsPath: string
  /** Host side of the veth, in the node's namespace. */
  readonly hostInterface: string
  readonly cgroup: string
  /** Runs a command in the pod to its end. */
  exec(command: readonly string[], options?: { input?: string; timeoutMs?: number }): Promise<CommandResult>
  /** Starts a command in the pod that runs until it is stopped. */
  start(command: readonly string[]): RunningCommand
  /** Runs JavaScript (ES module text) on the mesh's interpreter in the pod. */
  script(text: string, options?: { timeoutMs?: number }): Promise<CommandResult>
}

/** A mesh under test. */
export class TestMesh implements AsyncDisposable {
  readonly mesh: LocalMesh
  readonly client: ObjectClient
  readonly told: string[]
  readonly #sourceDir: string
  readonly #timeoutMs: number
  #ended: Promise<void> | undefined

  constructor(mesh: LocalMesh, sourceDir: string, told: string[], timeoutMs: number) {
    this.mesh = mesh
    this.client = new ObjectClient({ socketPath: mesh.layout.apiSocket })
    this.told = told
    this.#sourceDir = sourceDir
    this.#timeoutMs = timeoutMs
  }

  /** The user's file of objects, for tests that edit it. */
  get sourceFile(): string {
    return join(this.#sourceDir, 'objects.yaml')
  }

  node(index: number): NodeLayout {
    return this.mesh.layout.node(index)
  }

  status(): Promise<MeshStatus> {
    return statusOf(this.mesh, this.mesh.hasMesh)
  }

  /** Applies one object or several. */
  async apply(...objects: readonly object[]): Promise<void> {
    for (const object of objects) await this.client.apply(object)
  }

  /** Sets (or with null removes) labels of a namespace. */
  async label(namespace: string, labels: Readonly<Record<string, string | null>>): Promise<void> {
    await this.client.patch('namespaces', undefined, namespace, { metadata: { labels } })
  }

  /** Waits until every component runs and says ready, and every pod is ready. */
  async ready(): Promise<void> {
    await this.until('everything is ready', async () => (await this.status()).isReady)
  }

  /** Waits for the pod (full name, or the name of its Deployment) to be ready. */
  async pod(target: string): Promise<TestPod> {
    const sandbox = await this.until(`pod ${target} is ready`, async () => {
      const found = this.#find(target)
      const pod = found === undefined ? undefined : (this.mesh.store.find('pods', found.namespace, found.name) as Pod | undefined)
      return pod?.status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True') === true ? found : undefined
    })
    return this.#testPod(sandbox)
  }

  /** Polls until `test` gives something other than undefined or false. @throws Error naming `what` and what the mesh said */
  async until<T>(what: string, test: () => Promise<T | undefined | false> | T | undefined | false): Promise<T> {
    const deadlineMs = performance.now() + this.#timeoutMs
    for (;;) {
      const value = await test()
      if (value !== undefined && value !== false) return value
      if (performance.now() > deadlineMs) throw new Error(`waited too long until ${what}\n${JSON.stringify(await this.status(), null, 1)}`)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#ended ??= this.#end()
    return this.#ended
  }

  async #end(): Promise<void> {
    this.client[Symbol.dispose]()
    const { logsDir, name } = this.mesh.layout
    if (process.env.WEFT_TEST_LOGS !== undefined) cpSync(logsDir, join(process.env.WEFT_TEST_LOGS, name), { recursive: true })
    await this.mesh[Symbol.asyncDispose]()
    rmSync(this.#sourceDir, { recursive: true, force: true })
  }

  #find(target: string): SandboxRecord | undefined {
    try {
      return findSandbox(this.mesh.layout, target)
    } catch {
      return undefined // not there yet
    }
  }

  #testPod(sandbox: SandboxRecord): TestPod {
    const exec: TestPod['exec'] = (command, options) => run(this.#entrance(sandbox, command), options)
    return {
      namespace: sandbox.namespace,
      name: sandbox.name,
      uid: sandbox.uid,
      node: sandbox.node,
      ip: sandbox.ips.v4,
      ip6: sandbox.ips.v6,
      netnsPath: join(NETNS_DIR, sandbox.netns),
      hostInterface: sandbox.hostInterface,
      cgroup: sandbox.cgroup,
      exec,
      start: (command) => start(this.#entrance(sandbox, command)),
      script: (text, options) => exec([process.execPath, '--input-type=module', '-e', text], options),
    }
  }

  #entrance(sandbox: SandboxRecord, command: readonly string[]): [string, string[]] {
    const pod = this.mesh.store.find('pods', sandbox.namespace, sandbox.name) as Pod | undefined
    const setpriv = setprivArgs(pod?.spec?.containers[0]?.securityContext, pod?.spec?.securityContext)
    const [pid] = Object.values(findSandbox(this.mesh.layout, `${sandbox.namespace}/${sandbox.name}`).containers)
    const resolvConf = join(podDir(this.mesh.layout, sandbox.uid), 'etc', 'resolv.conf')
    if (pid === undefined || cgroupOfPid(pid) !== sandbox.cgroup)
      return enterSandbox({ netns: sandbox.netns, cgroup: sandbox.cgroup, resolvConf, setpriv, command })
    const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
    return enterContainer({ pid, cgroup: sandbox.cgroup, setpriv, env: { PATH }, command })
  }
}

/** Starts a mesh and waits until it is ready. Its name carries this process's id, so that runs do not meet. */
export async function testMesh(options: TestMeshOptions = {}): Promise<TestMesh> {
  const sourceDir = mkdtempSync(join(tmpdir(), 'weft-test-'))
  const told: string[] = []
  const { objects = [] } = options
  const text = typeof objects === 'string' ? objects : objects.map((object) => stringify(object)).join('---\n')
  writeFileSync(join(sourceDir, 'objects.yaml'), text)
  const mesh = await LocalMesh.start({
    name: options.name ?? `t${process.pid}-${++started}`,
    nodes: options.nodes ?? 2,
    source: sourceDir,
    images: options.images ?? {},
    hasMesh: options.hasMesh ?? true,
    ...(options.componentArgs === undefined ? {} : { componentArgs: options.componentArgs }),
    ...(options.nodeFlags === undefined ? {} : { nodeFlags: options.nodeFlags }),
    ...(options.stockZtunnel === undefined ? {} : { stockZtunnel: options.stockZtunnel }),
    clock: systemClock,
    log: createLog({ process: 'up', levels: 'off' }),
    tell: (sentence) => told.push(sentence),
  })
  const test = new TestMesh(mesh, sourceDir, told, options.timeoutMs ?? MOST_WAIT_MS)
  atEnd(() => test[Symbol.asyncDispose]()) // also when a `before` hook has given up before anybody held it
  if (options.waits === false) return test
  try {
    await test.ready()
    return test
  } catch (error) {
    await test[Symbol.asyncDispose]()
    throw error
  }
}

/** A Deployment of one container that runs a command. */
export function deployment(
  namespace: string,
  name: string,
  command: readonly string[],
  more: { replicas?: number; labels?: Record<string, string>; pod?: object; container?: object } = {},
): MeshObject {
  const labels = { app: name, ...more.labels }
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace },
    spec: {
      replicas: more.replicas ?? 1,
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels },
        spec: { terminationGracePeriodSeconds: 1, containers: [{ name: 'main', command, ...more.container }], ...more.pod },
      },
    },
  }
}

/** A pod of one container with a service account of its own name, on a chosen node. */
export function deployedPod(
  namespace: string,
  name: string,
  nodeName: string,
  command: readonly string[],
  container: object = {},
): MeshObject {
  const spec = {
    nodeName,
    serviceAccountName: name,
    terminationGracePeriodSeconds: 1,
    containers: [{ name: 'main', command, ...container }],
  }
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace, labels: { app: name } }, spec }
}

/** A service of both families for the pods with the label `app: NAME`. @param ports service port -> target port */
export function service(namespace: string, name: string, ports: Readonly<Record<number, number>>): MeshObject {
  const list = Object.entries(ports).map(([port, targetPort]) => ({ name: `p${port}`, port: Number(port), targetPort }))
  const spec = { selector: { app: name }, ipFamilyPolicy: 'PreferDualStack', ports: list }
  return { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace }, spec }
}

let started = 0
/** Ends what hangs; a mesh needs some 8 s of CPU until it is ready, which a busy machine takes long to give. */
const MOST_WAIT_MS = 100_000

function start(entrance: [string, string[]]): RunningCommand {
  const child = spawnIn(entrance)
  const ended = output(child)
  const printed: string[] = []
  child.stdout.on('data', (chunk: Buffer) => printed.push(chunk.toString()))
  return {
    get stdout() {
      return printed.join('')
    },
    async stop() {
      child.stdin.end()
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT_MS)
      return ended.finally(() => clearTimeout(timer))
    },
  }
}

const STOP_LIMIT_MS = 15_000

function run(entrance: [string, string[]], options: { input?: string; timeoutMs?: number } = {}): Promise<CommandResult> {
  const child = spawnIn(entrance, options.timeoutMs ?? 20_000)
  child.stdin.end(options.input ?? '')
  return output(child)
}

function spawnIn([program, args]: [string, string[]], timeout = 0): ChildProcessWithoutNullStreams {
  const env = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' }
  const child = spawn(program, args, { env, timeout, killSignal: 'SIGKILL' })
  child.stdin.on('error', () => undefined) // it has ended already: its output says why
  return child
}

function output(child: ChildProcessWithoutNullStreams): Promise<CommandResult> {
  const out: Buffer[] = []
  const err: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (status, signal) =>
      resolve({
        status: status ?? (signal === 'SIGKILL' ? 137 : 143),
        stdout: Buffer.concat(out).toString(),
        stderr: Buffer.concat(err).toString(),
      }),
    )
  })
}
