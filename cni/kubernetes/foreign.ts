// Others on the node with whom the mesh cannot share pods: an Istio in ambient mode, and load balancers that rewrite the
// address of a service in connect(), before we see it. The agent refuses to start beside them (docs/migrate.md).
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { foreignConnectPrograms } from '../../bpf/foreign.ts'
import { codeOf } from '../../kit/error.ts'
import { cgroupOfPid } from '../../linux/cgroup.ts'
import { cniFailure } from '../errors.ts'
import { confFiles, ISTIO_PLUGIN_TYPE, pluginTypes } from '../install/conf-list.ts'
import { namesIn, readConf } from '../install/files.ts'
import { podUidOf } from '../proxy-groups.ts'

/** Somebody else, in words; `id` is what `--beside` names to accept it. */
export interface Foreigner {
  readonly id: 'istio' | 'socket-lb'
  readonly sign: string
}

/** What is looked at. */
export interface ForeignOptions {
  /** Empty = the runtime's configuration is not ours to read. */
  readonly confDir: string
  readonly cgroup: string
  readonly bpffsDir: string
  /** Default: asks the kernel. */
  readonly programs?: typeof foreignConnectPrograms
  readonly proc?: string
}

/** What Istio's programs are called in the kernel: its node agent and its ztunnel; ours are Node's. */
const ISTIO_PROGRAMS: ReadonlySet<string> = new Set(['install-cni', 'ztunnel'])

/** Everybody that is found. */
export function findForeigners(options: ForeignOptions): Foreigner[] {
  return [...istioInConf(options.confDir), ...istioProcesses(options), ...socketBalancers(options)]
}

/**
 * @param beside ids that the operator accepts
 * @throws MeshError BESIDE_ISTIO, BESIDE_SOCKET_LB
 */
export function refuseForeigners(found: readonly Foreigner[], beside: ReadonlySet<string>): void {
  const refused = found.filter(({ id }) => !beside.has(id))
  const signs = (id: Foreigner['id']): string => refused.flatMap((each) => (each.id === id ? [each.sign] : [])).join('; ')
  if (signs('istio') !== '') throw cniFailure('BESIDE_ISTIO', { found: signs('istio') })
  if (signs('socket-lb') !== '') throw cniFailure('BESIDE_SOCKET_LB', { found: signs('socket-lb') })
}

function istioInConf(confDir: string): Foreigner[] {
  const files = confDir === '' ? [] : confFiles(namesIn(confDir))
  const file = files.find((name) => pluginTypes(name, readConf(join(confDir, name)) ?? '').includes(ISTIO_PLUGIN_TYPE))
  return file === undefined ? [] : [{ id: 'istio', sign: `plugin ${ISTIO_PLUGIN_TYPE} in ${file}` }]
}

/** In pods below our cgroup only: there may be other nodes on the machine. */
function istioProcesses({ cgroup, proc = '/proc' }: ForeignOptions): Foreigner[] {
  const found = new Set<string>()
  for (const pid of readdirSync(proc)) {
    if (!/^[1-9]\d*$/.test(pid)) continue
    const name = read(() => readFileSync(join(proc, pid, 'comm'), 'utf8'))?.trim() ?? ''
    if (!ISTIO_PROGRAMS.has(name) || found.has(name)) continue
    const group = read(() => cgroupOfPid(Number(pid), proc)) ?? ''
    if (isBelow(group, cgroup) && podUidOf(group) !== undefined) found.add(name)
  }
  return [...found].map((name): Foreigner => ({ id: 'istio', sign: `process ${name} in a pod` }))
}

function isBelow(group: string, root: string): boolean {
  return group.startsWith(root.endsWith('/') ? root : `${root}/`)
}

/** undefined = the process is gone. */
function read<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes(codeOf(error))) return undefined
    throw error
  }
}

function socketBalancers({ cgroup, bpffsDir, programs = foreignConnectPrograms }: ForeignOptions): Foreigner[] {
  const names = [
    ...new Set(programs(cgroup, bpffsDir).map(({ name, hook }) => `${name === '' ? 'a program without a name' : name} at ${hook}`)),
  ]
  return names.map((name): Foreigner => ({ id: 'socket-lb', sign: name }))
}
