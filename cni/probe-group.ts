// The cgroup whose connects to pods are probes: the kubelet's. Where the kubelet runs is known (local runtime, a setting) or
// found: the process named kubelet in the node's network namespace. Whatever else is in its group passes as a probe, too.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { codeOf } from '../kit/error.ts'
import type { Log } from '../kit/log.ts'
import { cgroupId, cgroupOfPid, makeCgroup } from '../linux/cgroup.ts'
import type { Redirect } from './redirect/redirect.ts'

/** What the constructor takes. */
export interface ProbeGroupOptions {
  readonly datapath: Pick<Redirect, 'addProbeCgroup' | 'removeProbeCgroup'>
  /** Absolute path, or `auto` = where the kubelet is. */
  readonly path: string
  /** Whether a group of that path is made when it is missing (local runtime). */
  readonly isMade: boolean
  readonly log: Log
  /** Default: looks through /proc. */
  readonly findKubelet?: () => number | undefined
}

/** Keeps the kernel's entry right. */
export class ProbeGroup {
  readonly #options: ProbeGroupOptions
  #id: bigint | undefined
  /** Said once each. */
  #complaint = ''

  constructor(options: ProbeGroupOptions) {
    this.#options = options
  }

  /** The kubelet's group may be made again under the same name, or it may start later. @param isAnew = maps were made anew */
  keep(isAnew = false): void {
    if (isAnew) this.#id = undefined
    const path = this.#find()
    const id = path === undefined ? undefined : idOf(path)
    if (path === undefined || id === undefined) {
      this.#complain("the kubelet's cgroup is not there: probes of pods in STRICT mode fail", { path: path ?? this.#options.path })
      return
    }
    if (id === this.#id) return
    if (this.#id !== undefined) this.#options.datapath.removeProbeCgroup(this.#id)
    this.#options.datapath.addProbeCgroup(id)
    this.#id = id
    const others = strangersIn(path)
    if (others.length > 0)
      this.#complain('other processes share the cgroup of the kubelet: they reach pods past the mesh', { path, others })
  }

  /** For `/config_dump` and `weft check`; no group = probes of pods in STRICT fail. */
  view(): { readonly cgroup: string | undefined; readonly sharedWith: readonly string[] } {
    const path = this.#find()
    return { cgroup: path, sharedWith: path === undefined ? [] : strangersIn(path) }
  }

  #find(): string | undefined {
    const { path, isMade, findKubelet = kubeletPid } = this.#options
    if (isMade) makeCgroup(path)
    if (path !== 'auto') return path
    const pid = findKubelet()
    return pid === undefined ? undefined : cgroupOfPid(pid)
  }

  #complain(message: string, detail: Readonly<Record<string, unknown>>): void {
    if (this.#complaint === message) return
    this.#complaint = message
    this.#options.log.warn(message, detail)
  }
}

/** The kubelet of this node: the process of that name in this thread's network namespace. */
export function kubeletPid(): number | undefined {
  const home = readlinkSync('/proc/thread-self/ns/net')
  return pids().find((pid) => nameOf(pid) === 'kubelet' && read(() => readlinkSync(`/proc/${pid}/ns/net`)) === home)
}

/** Names of the processes in a group that are not the kubelet; for the log and for `weft check`. */
export function strangersIn(group: string): string[] {
  const lines = read(() => readFileSync(join(group, 'cgroup.procs'), 'utf8'))?.split('\n') ?? []
  const names = lines.filter((line) => /^[1-9]\d*$/.test(line)).map((line) => nameOf(Number(line)))
  return [...new Set(names.filter((name) => name !== 'kubelet' && name !== ''))].slice(0, MAX_NAMES)
}

const MAX_NAMES = 10

function pids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^[1-9]\d*$/.test(name))
    .map(Number)
}

function nameOf(pid: number): string {
  return read(() => readFileSync(`/proc/${pid}/comm`, 'utf8'))?.trim() ?? ''
}

function idOf(path: string): bigint | undefined {
  return read(() => cgroupId(path))
}

/** undefined = the process or group is gone. */
function read<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'ENODEV'].includes(codeOf(error))) return undefined
    throw error
  }
}
