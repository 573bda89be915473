// weft release: the kill switch. Takes steering out of the kernel, with or without the mesh's processes, and leaves a loud status.
// Of a local mesh, of a cluster through its API, or (--local) of the Kubernetes node that we run on.
import { existsSync } from 'node:fs'
import { type Command, InvalidArgumentError } from 'commander'
import { systemClock } from '../../kit/clock.ts'
import { codeOf } from '../../kit/error.ts'
import { killCgroup } from '../../linux/cgroup.ts'
import { ObjectClient } from '../../objects/client.ts'
import { objectFailure } from '../../objects/errors.ts'
import { runtimeFailure } from '../../runtime/errors.ts'
import { type MeshLayout, meshLayout, type NodeLayout } from '../../runtime/layout.ts'
import { releaseNamespace, releaseNodes, type ReleaseRequest } from '../../runtime/release.ts'
import { readRecord } from '../../runtime/state.ts'
import { withSystemNamespace } from '../cluster/components.ts'
import { releaseCluster } from '../cluster/release.ts'
import { findTarget, openAccess, openApi, type TargetFlags, withTarget, type ClusterTarget } from '../connect.ts'
import { DEFAULT_BPFFS_DIR, DEFAULT_NODE_DIR } from '../node/paths.ts'
import { releaseHere } from '../node/release.ts'
import { print, printNote } from '../output.ts'

interface ReleaseFlags extends TargetFlags {
  readonly namespace?: string
  readonly node?: string
  readonly all?: boolean
  readonly resume?: boolean
  readonly hard?: boolean
  readonly local?: boolean
  readonly nodeDir: string
  readonly bpffsDir: string
  readonly cgroup?: string
  readonly systemNamespace: string
}

/** Registers the command. */
export function registerRelease(program: Command): void {
  withSystemNamespace(withTarget(program.command('release')))
    .description('kill switch: pods go on in plaintext, also when every component of the mesh is dead')
    .option('-n, --namespace <NS>', 'the pods of one namespace')
    .option('--node <NODE>', 'the pods of one node')
    .option('--all', 'the pods of all nodes')
    .option('--hard', 'take every program out of the kernel: pods lose service addresses, too')
    .option('--resume', 'take a release back')
    .option('--local', 'only the Kubernetes node that this runs on, without its API (as root)')
    .option('--node-dir <DIR>', "with --local: the agent's directory", DEFAULT_NODE_DIR)
    .option('--bpffs-dir <DIR>', "with --local: the agent's pins", DEFAULT_BPFFS_DIR)
    .option('--cgroup <DIR>', 'with --local: what the programs are attached to (default: asks the kernel)')
    .action(release)
}

async function release(flags: ReleaseFlags): Promise<void> {
  const isChosen = flags.all === true || flags.node !== undefined || flags.namespace !== undefined || flags.resume === true
  if (!isChosen) throw new InvalidArgumentError('say what to release: -n NS, --node NODE or --all')
  if (flags.local === true) await onThisNode(flags)
  else {
    const target = findTarget(flags, 'change')
    await (target.kind === 'local' ? inLocalMesh(target.name, flags) : inCluster(target, flags))
  }
  if (flags.resume !== true) printNote('released pods are NOT protected by the mesh; weft status says how to take it back')
}

async function onThisNode({ namespace, hard, resume, nodeDir, bpffsDir, cgroup }: ReleaseFlags): Promise<void> {
  if (process.getuid?.() !== 0) throw runtimeFailure('NOT_ROOT')
  const request = { namespace, isHard: hard === true, isResume: resume === true }
  for (const sentence of await releaseHere({ nodeDir, bpffsDir, cgroup }, request, systemClock)) print(sentence)
}

async function inCluster(target: ClusterTarget, flags: ReleaseFlags): Promise<void> {
  const { namespace, node, hard, resume, systemNamespace } = flags
  using api = openApi(target)
  using access = openAccess(target)
  const request = {
    ...(namespace === undefined ? {} : { namespace }),
    ...(node === undefined ? {} : { node }),
    isHard: hard === true,
    isResume: resume === true,
    systemNamespace,
  }
  const { done, left } = await releaseCluster(api, access, request, new Date(systemClock.nowMs()).toISOString())
  for (const sentence of done) print(sentence)
  for (const sentence of left) printNote(`weft: NOT released: ${sentence}`)
  if (left.length > 0) process.exitCode = 1
}

async function inLocalMesh(name: string, flags: ReleaseFlags): Promise<void> {
  if (process.getuid?.() !== 0) throw runtimeFailure('NOT_ROOT')
  const mesh = meshLayout(name)
  const record = readRecord(name)
  if (record === undefined || !existsSync(mesh.dir)) throw runtimeFailure('MESH_MISSING', { name })
  const all = record.nodes.map((_, index) => mesh.node(index + 1))
  const chosen = flags.node === undefined ? all : all.filter((node) => node.name === flags.node)
  if (chosen.length === 0) throw objectFailure('NOT_FOUND', { node: flags.node })
  for (const sentence of await carryOut(mesh, chosen, flags)) print(sentence)
}

async function carryOut(mesh: MeshLayout, nodes: readonly NodeLayout[], flags: ReleaseFlags): Promise<string[]> {
  const byNamespace = flags.namespace === undefined ? {} : { namespace: flags.namespace }
  const request: ReleaseRequest = {
    ...byNamespace,
    nodes: nodes.map((node) => node.name),
    ...(flags.resume === true ? { resume: true } : {}),
  }
  using client = new ObjectClient({ socketPath: mesh.apiSocket })
  try {
    return ((await client.send('/release', request)) as { done: string[] }).done
  } catch (error) {
    if (codeOf(error) !== 'API_UNREACHABLE' || flags.resume === true) throw error
    // Nobody supervises any more: an agent that still lives would capture the pods again.
    for (const node of nodes) await killCgroup(`${node.cgroup}/agent`)
    const nowIso = new Date(systemClock.nowMs()).toISOString()
    if (flags.namespace !== undefined) return releaseNamespace(mesh, nodes, flags.namespace, nowIso)
    return releaseNodes(mesh, nodes, nowIso, flags.hard === true)
  }
}
