// Kills processes of a mesh in tests: found by their cgroup, so that nothing outside the test's own mesh can be hit.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** A process as it was found; `startTicks` tells it from a later one with the same pid. */
export interface FoundProcess {
  readonly pid: number
  readonly startTicks: string
  /** Arguments, joined with spaces. */
  readonly command: string
}

/** Processes of a cgroup and of the groups below it. @param cgroup absolute path; one that is gone has none */
export function processesIn(cgroup: string): readonly FoundProcess[] {
  return pidsIn(cgroup).flatMap((pid) => {
    const found = look(pid)
    return found === undefined ? [] : [found]
  })
}

/**
 * Kills a process unless another one has its pid by now, and waits until it is gone (a zombie counts as gone).
 * @throws Error when it still runs after 5 s
 */
export async function killAndWait(victim: FoundProcess, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
  if (!isRunning(victim)) return
  process.kill(victim.pid, signal)
  for (let waitedMs = 0; isRunning(victim); waitedMs += 5) {
    if (waitedMs > 5000) throw new Error(`process ${victim.pid} (${victim.command}) did not end`)
    await sleep(5)
  }
}

/**
 * Waits for a process in the cgroup that is none of `before`: the supervisor has started another one.
 * @throws Error after `timeoutMs`
 */
export async function successorIn(cgroup: string, before: readonly FoundProcess[], timeoutMs: number): Promise<FoundProcess> {
  const known = new Set(before.map((each) => `${each.pid} ${each.startTicks}`))
  const deadlineMs = performance.now() + timeoutMs
  while (performance.now() < deadlineMs) {
    const successor = processesIn(cgroup).find((each) => !known.has(`${each.pid} ${each.startTicks}`))
    if (successor !== undefined) return successor
    await sleep(10)
  }
  throw new Error(`no new process in ${cgroup} within ${timeoutMs} ms`)
}

function isRunning(victim: FoundProcess): boolean {
  return look(victim.pid)?.startTicks === victim.startTicks
}

function look(pid: number): FoundProcess | undefined {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ') // from field 3 on
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
    return { pid, startTicks: fields[19] ?? '', command }
  } catch (error) {
    if (isGone(error)) return undefined
    throw error
  }
}

function pidsIn(cgroup: string): number[] {
  try {
    const own = readFileSync(join(cgroup, 'cgroup.procs'), 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map(Number)
    const below = readdirSync(cgroup, { withFileTypes: true }).filter((entry) => entry.isDirectory())
    return [...own, ...below.flatMap((entry) => pidsIn(join(cgroup, entry.name)))]
  } catch (error) {
    if (isGone(error)) return []
    throw error
  }
}

function isGone(error: unknown): boolean {
  return ['ENOENT', 'ESRCH', 'ENODEV'].includes((error as NodeJS.ErrnoException).code ?? '')
}
