// Programs of a test cluster: run to their end, or started as daemons that outlive this process and are found again by a file
// with their pid.
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ClusterLayout } from './layout.ts'

const POLL_MS = 100
const LONGEST_ROUND_MS = 5000

/** How a program is run. */
export interface RunOptions {
  readonly input?: string | Uint8Array
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly signal?: AbortSignal
}

let isInterrupted = false
const running = new Set<ChildProcess>()

/** From now on nothing is started any more by `run` and `startDaemon`, and what `run` has started is ended: for a signal's handler. */
export function interrupt(): void {
  isInterrupted = true
  for (const child of running) child.kill('SIGTERM')
}

/** Whether `interrupt` was called. */
export function wasInterrupted(): boolean {
  return isInterrupted
}

/** Runs a program. @returns its standard output @throws Error with what it wrote when it fails */
export async function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  if (isInterrupted) throw new Error('interrupted')
  const { status, stdout, stderr } = await attempt(program, args, options)
  if (status === 0) return stdout
  throw new Error(`${program} ${args.join(' ')}: exit code ${status}\n${`${stdout}\n${stderr}`.trim().slice(-4000)}`)
}

/** Runs a program whose failure is an answer too. */
export function attempt(
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<{ status: number; stdout: string; stderr: string }> {
  const child = spawn(program, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
    env: { ...process.env, ...options.env },
  })
  running.add(child)
  const out: Buffer[] = []
  const err: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk))
  child.stdin.on('error', () => undefined) // it ended without reading all: its exit code says why
  child.stdin.end(options.input ?? '')
  return new Promise((done, fail) => {
    child.on('error', fail)
    child.on('close', (code) => {
      running.delete(child)
      done({ status: code ?? 1, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() })
    })
  })
}

/**
 * Starts a daemon in a session of its own; its output goes to LOG/NAME.log.
 * @param cgroups directories of groups that it joins before it begins
 * @returns its pid
 */
export function startDaemon(cluster: ClusterLayout, name: string, command: readonly string[], cgroups: readonly string[] = []): number {
  if (isInterrupted) throw new Error('interrupted')
  mkdirSync(cluster.logDir, { recursive: true })
  mkdirSync(cluster.pidDir, { recursive: true })
  const log = openSync(join(cluster.logDir, `${name}.log`), 'a')
  const script = 'while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs" || exit 1; shift; done; shift; exec "$@"'
  const child = spawn('/bin/sh', ['-c', script, name, ...cgroups, '--', ...command], { detached: true, stdio: ['ignore', log, log] })
  closeSync(log)
  child.unref()
  if (child.pid === undefined) throw new Error(`${command[0]} cannot be started`)
  writeFileSync(join(cluster.pidDir, name), String(child.pid))
  return child.pid
}

/** Kills a daemon that startDaemon made, and waits; one that is gone is fine. */
export async function killDaemon(cluster: ClusterLayout, name: string): Promise<void> {
  const pid = pidOf(cluster, name)
  if (pid === undefined || !isAlive(pid)) return
  process.kill(pid, 'SIGKILL')
  while (isAlive(pid)) await sleep(10)
}

/** The pid of a daemon as it was written down. */
export function pidOf(cluster: ClusterLayout, name: string): number | undefined {
  try {
    return Number(readFileSync(join(cluster.pidDir, name), 'utf8'))
  } catch {
    return undefined // never started
  }
}

/** Whether a process runs; a zombie does not. */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

/**
 * Waits until something is so. Time in which this machine stood still (a virtual machine's do) does not count.
 * @throws Error with the last failure when `limitMs` have passed
 */
export async function until(what: string, limitMs: number, isSo: () => Promise<boolean> | boolean): Promise<void> {
  let leftMs = limitMs
  let last: unknown
  for (;;) {
    const begunMs = performance.now()
    try {
      if (await isSo()) return
      last = undefined
    } catch (error) {
      last = error
    }
    if (isInterrupted) throw new Error('interrupted')
    if (leftMs < 0) throw new Error(`${what}: not within ${limitMs / 1000} s`, { cause: last })
    await sleep(POLL_MS)
    leftMs -= Math.min(performance.now() - begunMs, LONGEST_ROUND_MS)
  }
}
