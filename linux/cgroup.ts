// cgroup v2: finding the hierarchy, making, naming, emptying and removing groups.
// The runtime makes one group per node with groups for ztunnel, agent, kubelet and pods below; bpf/ attaches to the node's.
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, readlinkSync, rmdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pause, systemClock } from '../kit/clock.ts'
import { codeOf } from '../kit/error.ts'
import { check, library, linuxFailure } from './ffi.ts'

/**
 * Mount point of cgroup2: `/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` on hybrid machines.
 * @throws MeshError CGROUP2_MISSING
 */
export function cgroup2Root(): string {
  for (const line of readFileSync('/proc/self/mounts', 'utf8').split('\n')) {
    const [, path, type] = line.split(' ')
    if (type === 'cgroup2' && path !== undefined) return unescapeMount(path)
  }
  throw linuxFailure('CGROUP2_MISSING')
}

/** Makes a group and its parents; an existing one is fine. */
export function makeCgroup(path: string): void {
  mkdirSync(path, { recursive: true })
}

/** The number by which BPF knows a group (`bpf_get_current_cgroup_id`): its directory's inode. */
export function cgroupId(path: string): bigint {
  return statSync(path, { bigint: true }).ino
}

/**
 * @returns absolute path of the group that a process is in
 * @throws MeshError CGROUP2_MISSING; ENOENT or ESRCH when the process is gone
 */
export function cgroupOfPid(pid: number, proc = '/proc'): string {
  const line = readFileSync(`${proc}/${pid}/cgroup`, 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith('0::'))
  if (line === undefined) throw linuxFailure('CGROUP2_MISSING', { pid })
  return join(cgroup2Root(), line.slice('0::'.length))
}

/**
 * Lets this thread, and threads that it starts later, see cgroups as the host does. A container has a view of its own
 * (cgroup namespace), in which `cgroupOfPid` gives paths that are nowhere.
 * @throws MeshError SYSCALL_FAILED
 */
export function seeCgroupsOfHost(): void {
  const fd = openHostNamespace()
  if (fd === undefined) return
  try {
    check(library('libc.so.6').func('int setns(int fd, int kind)')(fd, CLONE_NEWCGROUP), 'setns cgroup')
  } finally {
    closeSync(fd)
  }
}

/** Of the first process, or of the kernel's thread 2 where the first one lets nobody look at it. @returns undefined when it is ours already */
function openHostNamespace(): number | undefined {
  const own = readlinkSync('/proc/self/ns/cgroup')
  const isReadable = (path: string): boolean => {
    try {
      return readlinkSync(path) !== ''
    } catch {
      return false
    }
  }
  const path = ['/proc/1/ns/cgroup', '/proc/2/ns/cgroup'].find(isReadable)
  if (path === undefined) throw linuxFailure('SYSCALL_FAILED', { call: 'readlink /proc/1/ns/cgroup' })
  return readlinkSync(path) === own ? undefined : openSync(path, 'r')
}

/** Moves a process (all its threads) into the group. */
export function joinCgroup(path: string, pid: number): void {
  writeFileSync(join(path, 'cgroup.procs'), String(pid))
}

/**
 * Kills every process in the group and below (SIGKILL, also those being forked) and waits until none is left.
 * A group that is gone is fine. The caller must not be in it.
 * @throws MeshError CGROUP_NOT_EMPTY after 10 s (a process stuck in the kernel)
 */
export async function killCgroup(path: string): Promise<void> {
  const deadlineMs = systemClock.monotonicMs() + KILL_TIMEOUT_MS
  try {
    writeFileSync(join(path, 'cgroup.kill'), '1') // Linux 5.14
    while (/^populated 1$/m.test(readFileSync(join(path, 'cgroup.events'), 'utf8'))) {
      if (systemClock.monotonicMs() > deadlineMs) throw linuxFailure('CGROUP_NOT_EMPTY', { path })
      await pause(systemClock, KILL_POLL_MS)
    }
  } catch (error) {
    if (!isGone(error)) throw error
  }
}

/** Removes an empty group and the groups below it; one that is gone is fine. @throws EBUSY while a process is in it */
export function removeCgroup(path: string): void {
  try {
    for (const entry of readdirSync(path, { withFileTypes: true })) if (entry.isDirectory()) removeCgroup(join(path, entry.name))
    rmdirSync(path)
  } catch (error) {
    if (!isGone(error)) throw error
  }
}

const CLONE_NEWCGROUP = 0x02000000
const KILL_TIMEOUT_MS = 10_000
const KILL_POLL_MS = 5

/** ENODEV: the directory was removed while a file of it was open. */
function isGone(error: unknown): boolean {
  return codeOf(error) === 'ENOENT' || codeOf(error) === 'ENODEV'
}

function unescapeMount(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
}
