// One container of a pod: started, watched, probed, started again by the restart policy with back-off, ended in order.
// The pod's worker owns it and reads its state; every change of state is told.
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, copyFileSync, mkdirSync, openSync, readFileSync, rmSync, statSync, truncateSync } from 'node:fs'
import { dirname } from 'node:path'
import { Backoff } from '../../kit/backoff.ts'
import { type Clock, pause } from '../../kit/clock.ts'
import { codeOf, messageOf } from '../../kit/error.ts'
import type { Container, ContainerState } from '../../model/container.ts'
import type { PodSpec } from '../../model/object.ts'
import { type LaunchSpec, launchCommand, STARTED_FD } from './launch.ts'
import { type ProbeTarget, watchProbe } from './probe.ts'

/** What the worker sees. */
export interface ContainerView {
  readonly state: ContainerState
  readonly lastState: ContainerState | undefined
  readonly isReady: boolean
  readonly isStarted: boolean
  readonly restarts: number
}

/** `prepare` is called before each start: it may throw (CONFIG_MISSING, …), then the container waits and tries again. */
export interface ContainerOptions {
  readonly container: Container
  readonly restartPolicy: NonNullable<PodSpec['restartPolicy']>
  readonly podIp: string
  readonly logFile: string
  readonly graceMs: number
  readonly clock: Clock
  prepare(): Promise<LaunchSpec>
  /** A command inside the running container: its program and arguments. */
  enter(initPid: number, command: readonly string[]): readonly [program: string, args: string[]]
  /** State changed; `initPid` is the container's PID 1 as the host counts, undefined while it does not run. */
  onChange(initPid: number | undefined): void
  onEvent(type: 'Normal' | 'Warning', reason: string, message: string): void
}

const RESTART_MIN_MS = 1000 // Kubernetes waits 10 s; on a laptop one watches
const RESTART_MAX_MS = 60_000
const STABLE_AFTER_MS = 30_000
const LOG_CHECK_MS = 5000
/** A log file is moved to FILE.1 at this size; at most two are kept. */
const MAX_LOG_BYTES = 10 * 1024 * 1024
const CLEAN_ENV = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LANG: 'C.UTF-8' }

/** Runs one container until `stop`, or until the restart policy says that it is done. */
export class ContainerRunner {
  readonly options: ContainerOptions
  readonly #stop = new AbortController()
  #state: ContainerState = { waiting: { reason: 'ContainerCreating' } }
  #lastState: ContainerState | undefined
  #isReady = false
  #isStarted = false
  #restarts = 0
  #initPid: number | undefined
  #done: Promise<void> = Promise.resolve()

  constructor(options: ContainerOptions) {
    this.options = options
  }

  view(): ContainerView {
    return {
      state: this.#state,
      lastState: this.#lastState,
      isReady: this.#isReady && this.#state.running !== undefined,
      isStarted: this.#isStarted,
      restarts: this.#restarts,
    }
  }

  /** @returns exit status of the last run, when the container is not started again (policy or `stop`) */
  run(): Promise<number> {
    const result = this.#loop()
    this.#done = result.then(() => undefined)
    return result
  }

  /** SIGTERM to PID 1, SIGKILL after the grace; resolves when it has ended. */
  async stop(graceMs = this.options.graceMs): Promise<void> {
    this.#stop.abort()
    await this.#terminate(graceMs)
    await this.#done
  }

  async #loop(): Promise<number> {
    const { restartPolicy, clock } = this.options
    const backoff = new Backoff({ minMs: RESTART_MIN_MS, maxMs: RESTART_MAX_MS, jitter: 0.1 })
    let status = 137
    while (!this.#stop.signal.aborted) {
      const startedMs = clock.monotonicMs()
      const ended = await this.#runOnce()
      if (ended !== undefined) {
        status = ended
        if (this.#stop.signal.aborted || restartPolicy === 'Never' || (restartPolicy === 'OnFailure' && status === 0)) return status
        if (clock.monotonicMs() - startedMs > STABLE_AFTER_MS) backoff.reset()
        this.#lastState = this.#state
        this.#restarts++
      }
      const delayMs = backoff.nextMs()
      if (ended !== undefined) {
        const message = `back-off ${Math.round(delayMs)} ms before the container ${this.options.container.name} is started again`
        this.#change({ waiting: { reason: 'CrashLoopBackOff', message } })
        this.options.onEvent('Warning', 'BackOff', `restarting the failed container ${this.options.container.name}`)
      }
      await pause(clock, delayMs, this.#stop.signal)
    }
    return status
  }

  /** @returns exit status; undefined when it could not even be prepared */
  async #runOnce(): Promise<number | undefined> {
    const { onEvent, container } = this.options
    let spec: LaunchSpec
    try {
      spec = await this.options.prepare()
    } catch (error) {
      this.#change({ waiting: { reason: 'CreateContainerConfigError', message: messageOf(error) } })
      onEvent('Warning', 'Failed', `container ${container.name}: ${messageOf(error)}`)
      return undefined
    }
    if (this.#stop.signal.aborted) return 137
    const { child, exited } = this.#spawn(spec)
    const isUp = await startedSignal(child)
    if (isUp) {
      this.#initPid = childOf(child.pid ?? 0, spec.cgroup)
      this.#change({ running: { startedAt: new Date(this.options.clock.nowMs()).toISOString() } })
      onEvent('Normal', 'Started', `container ${container.name} started`)
    }
    const live = new AbortController()
    if (this.#stop.signal.aborted) void this.#terminate(this.options.graceMs)
    else if (isUp) this.#probe(live.signal)
    const { status, signal } = await exited
    live.abort()
    this.#initPid = undefined
    rmSync(spec.scratchDir, { recursive: true, force: true })
    this.#isStarted = false
    this.#isReady = false
    const reason = !isUp ? 'StartError' : status === 0 ? 'Completed' : 'Error'
    this.#change({ terminated: { exitCode: status, ...(signal === undefined ? {} : { signal }), reason, finishedAt: this.#now() } })
    if (!isUp) onEvent('Warning', 'Failed', `container ${container.name} could not be set up: ${lastLine(this.options.logFile)}`)
    return status
  }

  #spawn(spec: LaunchSpec): { child: ChildProcess; exited: Promise<{ status: number; signal: number | undefined }> } {
    mkdirSync(dirname(this.options.logFile), { recursive: true, mode: 0o700 })
    const output = openSync(this.options.logFile, 'a', 0o600)
    const [program, args] = launchCommand(spec)
    const child = spawn(program, args, { stdio: ['ignore', output, output, 'pipe'], env: CLEAN_ENV, detached: true })
    closeSync(output)
    const rotation = rotateLog(this.options.logFile, this.options.clock)
    const exited = new Promise<{ status: number; signal: number | undefined }>((resolve) => {
      child.once('error', () => resolve({ status: 128, signal: undefined }))
      // unshare passes the status on; when the command died by a signal, unshare dies by the same.
      child.once('exit', (status, signal) => {
        const number = signal === null ? undefined : (SIGNALS[signal] ?? 9)
        resolve({ status: status ?? 128 + (number ?? 0), signal: number })
      })
    }).finally(() => rotation[Symbol.dispose]())
    return { child, exited }
  }

  #probe(signal: AbortSignal): void {
    const { container, clock, podIp, onEvent } = this.options
    const target: ProbeTarget = { ip: podIp, container, run: (command, timeoutMs) => this.#exec(command, timeoutMs) }
    const begin = (): void => {
      this.#isStarted = true
      const { readinessProbe, livenessProbe } = container
      if (readinessProbe === undefined) this.#setReady(true)
      else
        void watchProbe(readinessProbe, {
          target,
          clock,
          signal,
          startsGood: false,
          tell: (isGood, reason) => {
            if (!isGood) onEvent('Warning', 'Unhealthy', `readiness probe failed: ${reason}`)
            this.#setReady(isGood)
          },
        })
      this.options.onChange(this.#initPid)
      if (livenessProbe !== undefined) this.#watchLife(livenessProbe, target, signal, true, begin)
    }
    if (container.startupProbe === undefined) begin()
    else this.#watchLife(container.startupProbe, target, signal, false, begin)
  }

  /** Liveness (`startsGood`) or startup: failure kills the container; success of a startup probe begins the other probes. */
  #watchLife(
    probe: NonNullable<Container['livenessProbe']>,
    target: ProbeTarget,
    signal: AbortSignal,
    startsGood: boolean,
    begin: () => void,
  ): void {
    const { clock, container, onEvent } = this.options
    const once = new AbortController()
    let failures = 0
    void watchProbe(probe, {
      target,
      clock,
      startsGood,
      signal: AbortSignal.any([signal, once.signal]),
      tell: (isGood, reason) => {
        if (isGood) {
          if (startsGood) return
          once.abort()
          begin()
          return
        }
        if (!startsGood && ++failures < (probe.failureThreshold ?? 3)) return
        once.abort()
        onEvent('Warning', 'Killing', `container ${container.name} failed its ${startsGood ? 'liveness' : 'startup'} probe: ${reason}`)
        void this.#terminate(this.options.graceMs)
      },
    })
  }

  #exec(command: readonly string[], timeoutMs: number): Promise<number> {
    const pid = this.#initPid
    if (pid === undefined) return Promise.resolve(137)
    const [program, args] = this.options.enter(pid, command)
    return new Promise((resolve, reject) => {
      const child = spawn(program, args, { stdio: 'ignore', env: CLEAN_ENV, timeout: timeoutMs, killSignal: 'SIGKILL' })
      child.once('error', reject)
      child.once('exit', (status, signal) => (signal === null ? resolve(status ?? 1) : reject(new Error(`command ended by ${signal}`))))
    })
  }

  async #terminate(graceMs: number): Promise<void> {
    const pid = this.#initPid
    if (pid === undefined) return
    const { clock } = this.options
    signalProcess(pid, 'SIGTERM')
    const deadlineMs = clock.monotonicMs() + graceMs
    while (this.#initPid === pid && clock.monotonicMs() < deadlineMs) await pause(clock, 20)
    if (this.#initPid === pid) signalProcess(pid, 'SIGKILL') // takes the whole pid namespace with it
    while (this.#initPid === pid) await pause(clock, 20)
  }

  #setReady(isReady: boolean): void {
    if (this.#isReady === isReady) return
    this.#isReady = isReady
    this.options.onChange(this.#initPid)
  }

  #change(state: ContainerState): void {
    this.#state = state
    this.options.onChange(this.#initPid)
  }

  #now(): string {
    return new Date(this.options.clock.nowMs()).toISOString()
  }
}

const SIGNALS: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGABRT: 6,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGPIPE: 13,
  SIGTERM: 15,
}

/** True when the set-up has come to its end and the command is about to run. */
function startedSignal(child: ChildProcess): Promise<boolean> {
  return new Promise((resolve) => {
    const pipe = child.stdio[STARTED_FD]
    if (pipe === null || pipe === undefined || !('on' in pipe)) return resolve(false)
    pipe.once('data', () => resolve(true))
    pipe.once('close', () => resolve(false))
    child.once('error', () => resolve(false))
  })
}

/** The process inside: the only child of unshare, found in the pod's cgroup. */
function childOf(parent: number, cgroup: string): number | undefined {
  const members = readFileSync(`${cgroup}/cgroup.procs`, 'utf8').split('\n').filter(Boolean)
  for (const pid of members) {
    try {
      if (new RegExp(`^PPid:\\t${parent}$`, 'm').test(readFileSync(`/proc/${pid}/status`, 'utf8'))) return Number(pid)
    } catch (error) {
      if (codeOf(error) !== 'ENOENT' && codeOf(error) !== 'ESRCH') throw error // it ended while we looked
    }
  }
  return undefined
}

function signalProcess(pid: number, signal: 'SIGTERM' | 'SIGKILL'): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if (codeOf(error) !== 'ESRCH') throw error
  }
}

/** The process appends to an open file, so the content is copied away and the file emptied. */
function rotateLog(file: string, clock: Clock): Disposable {
  let timer = clock.after(LOG_CHECK_MS, check)
  timer.unref()
  function check(): void {
    if ((statSync(file, { throwIfNoEntry: false })?.size ?? 0) > MAX_LOG_BYTES) {
      copyFileSync(file, `${file}.1`)
      truncateSync(file)
    }
    timer = clock.after(LOG_CHECK_MS, check)
    timer.unref()
  }
  return { [Symbol.dispose]: () => timer[Symbol.dispose]() }
}

function lastLine(file: string): string {
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n').at(-1)?.slice(0, 500) ?? ''
  } catch (error) {
    return messageOf(error)
  }
}
