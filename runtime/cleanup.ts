// Removes everything that `up` made: by `up` itself at the end, and by `down` after a crash, when only the record and the
// names are left. Every step is done even if another fails; what failed is told at the end.
import { existsSync, readFileSync, rmdirSync, rmSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { releaseNode } from '../bpf/release.ts'
import { codeOf, messageOf } from '../kit/error.ts'
import { cgroup2Root, killCgroup, removeCgroup } from '../linux/cgroup.ts'
import { runCommand } from './command.ts'
import { runtimeFailure } from './errors.ts'
import { readSandbox } from './kubelet/sandbox.ts'
import { listDir, meshLayout, NETNS_DIR, RUN_DIR } from './layout.ts'
import { readRecord } from './state.ts'

/**
 * Steering first (so that no connection hangs on a dead proxy), then processes, namespaces, links, mounts, cgroups, files.
 * The caller has made sure that no `up` of this name runs. Nothing there is fine.
 * @throws MeshError CLEANUP_INCOMPLETE naming what is left
 */
export async function removeMesh(name: string): Promise<void> {
  const mesh = meshLayout(name)
  const record = existsSync(mesh.stateFile) ? readRecord(name) : undefined
  const faults: string[] = []
  const attempt = async (what: string, work: () => unknown): Promise<void> => {
    try {
      await work()
    } catch (error) {
      faults.push(`${what}: ${messageOf(error)}`)
    }
  }
  // bpffs has files of its own in its root; nodes are directories
  for (const node of listDir(mesh.bpfDir).filter((one) => statSync(join(mesh.bpfDir, one)).isDirectory()))
    await attempt(`steering of ${node}`, () => releaseNode(join(mesh.bpfDir, node)))
  await attempt('processes', () => killCgroup(mesh.cgroup))
  for (const uid of listDir(mesh.podsDir)) {
    const sandbox = readSandbox(mesh, uid)
    if (sandbox?.isHostNetwork === false) await attempt(sandbox.netns, () => removeNetns(sandbox.netns))
  }
  for (const netns of record?.netns ?? []) await attempt(netns, () => removeNetns(netns))
  for (const link of record?.links ?? []) await attempt(link, () => removeLink(link))
  await attempt('mounts', () => unmountBelow(mesh.dir))
  await attempt('cgroups', () => removeCgroup(mesh.cgroup))
  await attempt('files', () => rmSync(mesh.dir, { recursive: true, force: true }))
  removeIfEmpty(RUN_DIR)
  removeIfEmpty(join(cgroup2Root(), 'weft'))
  if (faults.length > 0) throw runtimeFailure('CLEANUP_INCOMPLETE', { left: faults.join('; ').slice(0, 2000) })
}

/** Unmounts a directory and everything mounted below it, innermost first; busy mounts are detached. */
export async function unmountBelow(path: string): Promise<void> {
  const points = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((point) => point === path || point.startsWith(`${path}/`))
  for (const point of points.reverse()) await runCommand('umount', ['-l', point])
}

async function removeNetns(name: string): Promise<void> {
  if (existsSync(join(NETNS_DIR, name))) await runCommand('ip', ['netns', 'del', name])
}

async function removeLink(name: string): Promise<void> {
  if (!existsSync(join('/sys/class/net', name))) return
  try {
    await runCommand('ip', ['link', 'del', 'dev', name])
  } catch (error) {
    if (existsSync(join('/sys/class/net', name))) throw error // else it went with its namespace meanwhile
  }
}

function removeIfEmpty(path: string): void {
  try {
    rmdirSync(path)
  } catch (error) {
    const isExpected = ['ENOENT', 'ENOTEMPTY', 'EBUSY'].includes(codeOf(error)) // another mesh lives there
    if (!isExpected) throw new Error(`${dirname(path)}: ${messageOf(error)}`, { cause: error })
  }
}
