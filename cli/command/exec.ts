// weft exec: runs a command in a pod. On a cluster through the API; on the local runtime in the pod's network, DNS and cgroup (so
// that it is captured like the pod's own processes), and inside the container's other namespaces when one runs, without `up`.
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import type { Command } from 'commander'
import { codeOf } from '../../kit/error.ts'
import { cgroupOfPid } from '../../linux/cgroup.ts'
import type { Pod } from '../../model/object.ts'
import { ObjectClient } from '../../objects/client.ts'
import { enterContainer, enterSandbox } from '../../runtime/enter.ts'
import { runtimeFailure } from '../../runtime/errors.ts'
import { setprivArgs } from '../../runtime/kubelet/capabilities.ts'
import { readSandbox, type SandboxRecord } from '../../runtime/kubelet/sandbox.ts'
import { type MeshLayout, meshLayout, podDir } from '../../runtime/layout.ts'
import { execInPod } from '../cluster/exec.ts'
import { findContainer } from '../cluster/pods.ts'
import { findTarget, openAccess, openApi, parseTarget, type TargetFlags, withTarget, type ClusterTarget } from '../connect.ts'

/** Registers the command. */
export function registerExec(program: Command): void {
  withTarget(program.command('exec'))
    .description("run a command in a pod: the pod's network, DNS, cgroup and file system; ends with the command's status")
    .argument('<NS/POD>', 'the pod; the beginning of its name is enough (a Deployment’s name)')
    .argument('<CMD...>', 'command, after --')
    .option('-c, --container <NAME>', 'container; default the first that runs')
    .showHelpAfterError('write -- before the command: weft exec NS/POD -- CMD')
    .action(async (pod: string, command: string[], flags: TargetFlags & { container?: string }) => {
      const target = findTarget(flags, 'read')
      if (target.kind === 'cluster') {
        process.exitCode = await runInCluster(target, pod, flags.container, command)
        return
      }
      if (process.getuid?.() !== 0) throw runtimeFailure('NOT_ROOT')
      const mesh = meshLayout(target.name)
      process.exitCode = await run(await entrance(mesh, findSandbox(mesh, pod), flags.container, command))
    })
}

/** With a terminal on both sides it is the command's terminal. */
async function runInCluster(
  target: ClusterTarget,
  pod: string,
  container: string | undefined,
  command: readonly string[],
): Promise<number> {
  using api = openApi(target)
  using access = openAccess(target)
  const { stdin, stdout, stderr } = process
  const tty = stdin.isTTY === true && stdout.isTTY === true
  const chosen = await findContainer(api, pod, container)
  if (tty) stdin.setRawMode(true)
  try {
    const size = (): { columns: number; rows: number } => ({ columns: stdout.columns, rows: stdout.rows })
    const onResize = (listener: () => void): void => void stdout.on('resize', listener)
    return await execInPod(access, { ...chosen, command, stdin, stdout, stderr, tty, size, onResize })
  } finally {
    if (tty) stdin.setRawMode(false)
    stdin.destroy()
  }
}

/**
 * The pod by full name, else the first (by name) whose name begins with it.
 * @throws MeshError POD_MISSING
 */
export function findSandbox(mesh: MeshLayout, target: string): SandboxRecord {
  const { namespace, name } = parseTarget(target)
  const all = listUids(mesh)
    .map((uid) => readSandbox(mesh, uid))
    .filter((one) => one?.namespace === namespace)
    .filter((one) => one !== undefined)
    .toSorted((a, b) => a.name.localeCompare(b.name))
  const found = all.find((one) => one.name === name) ?? all.find((one) => one.name.startsWith(`${name}-`))
  if (found === undefined) throw runtimeFailure('POD_MISSING', { pod: `${namespace}/${name}` })
  return found
}

async function entrance(
  mesh: MeshLayout,
  sandbox: SandboxRecord,
  container: string | undefined,
  command: readonly string[],
): Promise<[program: string, args: string[]]> {
  const spec = await podSpec(mesh, sandbox)
  const name = container ?? Object.keys(sandbox.containers)[0]
  const context = spec?.containers.find((one) => one.name === name)?.securityContext
  const setpriv = setprivArgs(context, spec?.securityContext)
  const pid = name === undefined ? undefined : sandbox.containers[name]
  if (container !== undefined && pid === undefined)
    throw runtimeFailure('POD_MISSING', { pod: sandbox.name, container, has: Object.keys(sandbox.containers).join(',') })
  if (pid === undefined || !isOf(pid, sandbox.cgroup))
    return enterSandbox({
      netns: sandbox.netns,
      cgroup: sandbox.cgroup,
      resolvConf: join(podDir(mesh, sandbox.uid), 'etc', 'resolv.conf'),
      setpriv,
      command,
    })
  return enterContainer({ pid, cgroup: sandbox.cgroup, setpriv, env: { ...environmentOf(pid), ...terminal() }, command })
}

/** The process number may have been given to another process since it was written down. */
function isOf(pid: number, cgroup: string): boolean {
  try {
    return cgroupOfPid(pid) === cgroup
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ESRCH') return false
    throw error
  }
}

function environmentOf(pid: number): Record<string, string> {
  const entries = readFileSync(`/proc/${pid}/environ`, 'utf8')
    .split('\0')
    .filter((entry) => entry.includes('='))
  return Object.fromEntries(entries.map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]))
}

function terminal(): Record<string, string> {
  return process.stdout.isTTY ? { TERM: 'xterm-256color' } : {}
}

/** For the container's own capabilities; with a dead API the defaults are given. */
async function podSpec(mesh: MeshLayout, sandbox: SandboxRecord): Promise<Pod['spec']> {
  using client = new ObjectClient({ socketPath: mesh.apiSocket })
  try {
    return ((await client.get('pods', sandbox.namespace, sandbox.name)) as Pod).spec
  } catch (error) {
    if (codeOf(error) === 'API_UNREACHABLE' || codeOf(error) === 'NOT_FOUND') return undefined
    throw error
  }
}

function run([program, args]: [program: string, args: string[]]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: 'inherit', env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' } })
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => void child.kill(signal))
    child.once('error', reject)
    child.once('exit', (status, signal) => resolve(status ?? 128 + (signal === null ? 0 : (constants.signals[signal] ?? 0))))
  })
}

function listUids(mesh: MeshLayout): string[] {
  try {
    return readdirSync(mesh.podsDir)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') throw runtimeFailure('MESH_MISSING', { name: mesh.name })
    throw error
  }
}
