// A whole mesh on one machine: makes the ground (directories, mounts, cgroups, namespaces), serves the object API, runs the
// controllers and supervises the components, until it is stopped and everything is removed again.
import { chmodSync, existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../kit/clock.ts'
import type { Log } from '../kit/log.ts'
import { makeCgroup } from '../linux/cgroup.ts'
import { ApiServer } from './api/server.ts'
import { removeMesh } from './cleanup.ts'
import { runCommand } from './command.ts'
import { controlComponents, nodeComponents } from './components.ts'
import { ControlLoop } from './controllers/loop.ts'
import { deployments } from './controllers/deployments.ts'
import { defaultAccounts, garbage, terminatingNamespaces } from './controllers/namespaces.ts'
import { scheduler } from './controllers/scheduler.ts'
import { clusterIps, endpointSlices } from './controllers/services.ts'
import { runtimeFailure } from './errors.ts'
import { isMeshName, MAX_NODES, type MeshLayout, meshLayout, NETNS_DIR, type NodeLayout, RUN_DIR } from './layout.ts'
import { serveLogs } from './logs.ts'
import { makeNetwork } from './network.ts'
import { NodeTokens } from './node-tokens.ts'
import { releaseRoute } from './release.ts'
import { Seed } from './seed.ts'
import { isOwnerAlive, processStart, readRecord, writeRecord } from './state.ts'
import { statusOf } from './status.ts'
import { ObjectStore } from './store.ts'
import { Supervisor } from './supervisor.ts'
import { seedSystemObjects } from './system-objects.ts'
import { TokenIssuer } from './tokens.ts'

/** What to start. */
export interface MeshOptions {
  readonly name: string
  readonly nodes: number
  /** Directory or file of YAML that is followed; undefined = only what comes over the API. */
  readonly source: string | undefined
  /** Directory by image name. */
  readonly images: Readonly<Record<string, string>>
  /** False = nodes, pods and services only, no proxies (tests of the runtime). */
  readonly hasMesh: boolean
  /** More arguments by component kind, for tests (`ztunnel`: [`--threads`, `2`]). */
  readonly componentArgs?: Readonly<Record<string, readonly string[]>>
  /** More flags of the interpreter for the components of nodes by kind, for tests. */
  readonly nodeFlags?: Readonly<Record<string, readonly string[]>>
  /** Istio's own ztunnel on these nodes (`node-1`, …) instead of ours; it serves no DNS here, so pods there ask cluster DNS. */
  readonly stockZtunnel?: { readonly path: string; readonly nodes: readonly string[] }
  readonly clock: Clock
  readonly log: Log
  /** One sentence per step while starting, and per fault in the user's files later. */
  tell(sentence: string): void
}

/** A running mesh; dispose ends every process and removes everything. */
export class LocalMesh implements AsyncDisposable {
  readonly layout: MeshLayout
  readonly nodes: readonly NodeLayout[]
  readonly store: ObjectStore
  readonly supervisor: Supervisor
  readonly tokens: TokenIssuer
  /** Whether proxies run. */
  readonly hasMesh: boolean
  readonly #parts: AsyncDisposableStack

  private constructor(parts: Parts, hasMesh: boolean, stack: AsyncDisposableStack) {
    this.layout = parts.layout
    this.nodes = parts.nodes
    this.store = parts.store
    this.supervisor = parts.supervisor
    this.tokens = parts.tokens
    this.hasMesh = hasMesh
    this.#parts = stack
  }

  /**
   * Starts everything and resolves when the object API answers and all components are started (not yet ready).
   * What a crashed `up` of this name left is removed first.
   * @throws MeshError NOT_ROOT | BAD_NAME | MESH_RUNS | NAME_TAKEN | COMMAND_FAILED …; then nothing is left behind
   */
  static async start(options: MeshOptions): Promise<LocalMesh> {
    const layout = await clearGround(options)
    const nodes = Array.from({ length: options.nodes }, (_, i) => layout.node(i + 1))
    await using stack = new AsyncDisposableStack()
    stack.defer(() => removeMesh(options.name))
    await makeGround(options, layout, nodes)
    const mesh = await serve(options, layout, nodes, stack)
    options.tell('starting components')
    for (const component of controlComponents(layout, options)) mesh.supervisor.start(component)
    for (const node of nodes) for (const component of nodeComponents(layout, node, options)) mesh.supervisor.start(component)
    if (options.source !== undefined) followSource(options, options.source, mesh.store, stack)
    return new LocalMesh(mesh, options.hasMesh, stack.move())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Kubelets end their pods first; the proxies stay up until nobody needs them.
    await this.supervisor.stop((spec) => spec.name.startsWith('kubelet'))
    await this.supervisor.stop()
    await this.#parts.disposeAsync()
  }
}

type Parts = Pick<LocalMesh, 'layout' | 'nodes' | 'store' | 'supervisor' | 'tokens'>

async function clearGround(options: MeshOptions): Promise<MeshLayout> {
  if (process.getuid?.() !== 0) throw runtimeFailure('NOT_ROOT')
  if (!isMeshName(options.name)) throw runtimeFailure('BAD_NAME', { name: options.name })
  if (options.nodes < 1 || options.nodes > MAX_NODES) throw runtimeFailure('BAD_NAME', { nodes: options.nodes, most: MAX_NODES })
  const record = readRecord(options.name)
  if (record !== undefined && isOwnerAlive(record)) throw runtimeFailure('MESH_RUNS', { name: options.name, pid: record.ownerPid })
  if (record !== undefined) options.tell(`removing what an earlier mesh ${options.name} left behind`)
  await removeMesh(options.name)
  const layout = meshLayout(options.name)
  assertNamesFree(layout, options.nodes)
  return layout
}

/** What others made under our names is not ours to remove; found before anything is made. */
function assertNamesFree(layout: MeshLayout, count: number): void {
  const nodes = Array.from({ length: count }, (_, i) => layout.node(i + 1))
  const netns = [layout.controlNetns, ...nodes.map((node) => node.netns)].map((name) => join(NETNS_DIR, name))
  const links = [layout.bridge, layout.controlLink, ...nodes.map((node) => node.hostLink)].map((name) => join('/sys/class/net', name))
  const taken = [...netns, ...links].filter((path) => existsSync(path))
  if (taken.length > 0) throw runtimeFailure('NAME_TAKEN', { taken: taken.join(', ').slice(0, 500) })
}

/** Directories, mounts, cgroups and network; the record is written as soon as there is a place for it. */
async function makeGround(options: MeshOptions, layout: MeshLayout, nodes: readonly NodeLayout[]): Promise<void> {
  options.tell('making nodes')
  mkdirSync(layout.dir, { recursive: true, mode: 0o700 })
  chmodSync(RUN_DIR, 0o755)
  await runCommand('mount', ['-n', '-t', 'tmpfs', '-o', 'mode=700,size=2g,nosuid', `weft-${layout.name}`, layout.dir])
  writeRecord({
    name: layout.name,
    ownerPid: process.pid,
    ownerStart: processStart(process.pid) ?? '',
    nodes: nodes.map((node) => node.name),
    netns: [layout.controlNetns, ...nodes.map((node) => node.netns)],
    links: [layout.controlLink, ...nodes.map((node) => node.hostLink), layout.bridge],
    startedAt: new Date(options.clock.nowMs()).toISOString(),
    directory: options.source ?? '',
  })
  for (const dir of [layout.bpfDir, layout.logsDir, layout.podsDir, join(layout.dir, 'keys')]) mkdirSync(dir, { mode: 0o700 })
  await runCommand('mount', ['-n', '-t', 'bpf', '-o', 'mode=700', 'bpf', layout.bpfDir])
  makeCgroup(layout.controlCgroup)
  for (const node of nodes) {
    mkdirSync(join(node.dir, 'cni'), { recursive: true, mode: 0o700 })
    mkdirSync(node.bpfDir, { mode: 0o700 })
    for (const group of ['ztunnel', 'agent', 'kubelet', 'pods']) makeCgroup(join(node.cgroup, group))
  }
  await makeNetwork(layout, nodes)
}

async function serve(options: MeshOptions, layout: MeshLayout, nodes: readonly NodeLayout[], stack: AsyncDisposableStack): Promise<Parts> {
  const { clock, log } = options
  const store = new ObjectStore({ directory: layout.objectsDir, clock, checksNamespaces: true })
  const tokens = new TokenIssuer({ keyFile: join(layout.dir, 'keys', 'token-signing.pem'), objects: store, clock })
  const supervisor = new Supervisor({ logsDir: layout.logsDir, clock, log: log.scope('supervisor') })
  stack.defer(() => supervisor.stop())
  seedSystemObjects(store, layout, nodes, new Date(clock.nowMs()).toISOString())
  const controllers = { defaultAccounts, terminatingNamespaces, garbage, clusterIps, deployments, scheduler, endpointSlices }
  stack.use(new ControlLoop({ store, controllers, clock, log: log.scope('controllers') }))
  const nodeTokens = stack.use(new NodeTokens({ nodes, tokens, store, clock, log }))
  await nodeTokens.start()
  const parts = { layout, nodes, store, supervisor, tokens }
  const api = await ApiServer.listen({
    socketPath: layout.apiSocket,
    store,
    tokens,
    log: log.scope('api'),
    extra: {
      'GET logs': (request) => serveLogs(layout, store, request),
      'GET status': () => statusOf(parts, options.hasMesh),
      'POST release': ({ body }) => releaseRoute(parts, body, clock.nowMs()),
    },
  })
  stack.use(api)
  return parts
}

function followSource(options: MeshOptions, source: string, store: ObjectStore, stack: AsyncDisposableStack): void {
  options.tell(`reading ${source}`)
  const seed = new Seed({ path: source, store, clock: options.clock, report: options.tell })
  stack.use(seed)
  seed.start()
}
