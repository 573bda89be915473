// Runs the components, each its own process in its network namespace and cgroup, output in logs/PROCESS.log. One that ends
// is started again with back-off (first within 100 ms); processes are known by pid and never sought by name.
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { Backoff } from '../kit/backoff.ts'
import { type Clock, pause } from '../kit/clock.ts'
import type { Log } from '../kit/log.ts'
import { makeCgroup } from '../linux/cgroup.ts'
import { NETNS_DIR } from './layout.ts'

/** A component. `netns` is a name below /run/netns; undefined = the host's. */
export interface ComponentSpec {
  readonly name: string
  readonly node?: string
  readonly netns?: string
  readonly cgroup: string
  /** Program with its arguments. */
  readonly command: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

/** What `weft status` shows. */
export interface ComponentState {
  readonly name: string
  readonly node: string | undefined
  readonly pid: number | undefined
  readonly state: 'running' | 'waiting' | 'held' | 'stopped'
  readonly restarts: number
  readonly lastExit: string | undefined
}

const FIRST_DELAY_MS = 60 // with 20 % jitter still below 100 ms
const MAX_DELAY_MS = 5000
const STABLE_AFTER_MS = 5000
const STOP_GRACE_MS = 3000
const LOG_CHECK_MS = 10_000
const MAX_LOG_BYTES = 32 * 1024 * 1024
// The shell moves itself into the group and becomes the component: one process, no window outside of its cgroup.
const JOIN_AND_EXEC = 'echo $$ > "$1/cgroup.procs" && shift && exec "$@"'

/** Every component of a mesh. */
export class Supervisor {
  readonly #logsDir: string
  readonly #clock: Clock
  readonly #log: Log
  readonly #components = new Map<string, Component>()

  constructor(options: { readonly logsDir: string; readonly clock: Clock; readonly log: Log }) {
    this.#logsDir = options.logsDir
    this.#clock = options.clock
    this.#log = options.log
    this.#watchLogs()
  }

  /** Starts a component and keeps it running. */
  start(spec: ComponentSpec): void {
    const component = new Component(spec, { logFile: this.logFile(spec.name), clock: this.#clock, log: this.#log })
    this.#components.set(spec.name, component)
    void component.run()
  }

  logFile(name: string): string {
    return join(this.#logsDir, `${name}.log`)
  }

  states(): ComponentState[] {
    return [...this.#components.values()].map((component) => component.state())
  }

  /** Ends a component and does not start it again until `resume`. */
  async hold(name: string): Promise<void> {
    await this.#components.get(name)?.hold()
  }

  resume(name: string): void {
    this.#components.get(name)?.resume()
  }

  /** Ends the components that `which` names: SIGTERM, after 3 s SIGKILL. */
  async stop(which: (spec: ComponentSpec) => boolean = () => true): Promise<void> {
    await Promise.all([...this.#components.values()].filter((one) => which(one.spec)).map((one) => one.stop()))
  }

  /** The files are opened for appending, so emptying them is safe while a component writes. */
  #watchLogs(): void {
    this.#clock
      .after(LOG_CHECK_MS, () => {
        for (const { spec } of this.#components.values()) {
          const file = this.logFile(spec.name)
          if ((statSync(file, { throwIfNoEntry: false })?.size ?? 0) > MAX_LOG_BYTES) truncateSync(file)
        }
        this.#watchLogs()
      })
      .unref()
  }
}

class Component {
  readonly spec: ComponentSpec
  readonly #logFile: string
  readonly #clock: Clock
  readonly #log: Log
  readonly #stop = new AbortController()
  #child: ChildProcess | undefined
  #exited: Promise<void> = Promise.resolve()
  #restarts = 0
  #lastExit: string | undefined
  #hold: PromiseWithResolvers<void> | undefined // set while held

  constructor(spec: ComponentSpec, options: { logFile: string; clock: Clock; log: Log }) {
    this.spec = spec
    this.#logFile = options.logFile
    this.#clock = options.clock
    this.#log = options.log
  }

  async run(): Promise<void> {
    const backoff = new Backoff({ minMs: FIRST_DELAY_MS, maxMs: MAX_DELAY_MS })
    while (!this.#stop.signal.aborted) {
      const startedMs = this.#clock.monotonicMs()
      this.#spawn()
      await this.#exited
      if (this.#stop.signal.aborted) return
      if (this.#hold !== undefined) await this.#hold.promise
      else {
        this.#log.warn('component ended, starting it again', { component: this.spec.name, exit: this.#lastExit })
        if (this.#clock.monotonicMs() - startedMs > STABLE_AFTER_MS) backoff.reset()
        await pause(this.#clock, backoff.nextMs(), this.#stop.signal)
      }
      this.#restarts++
    }
  }

  state(): ComponentState {
    const pid = this.#child?.pid
    const state = this.#stop.signal.aborted ? 'stopped' : pid !== undefined ? 'running' : this.#hold !== undefined ? 'held' : 'waiting'
    return { name: this.spec.name, node: this.spec.node, pid, state, restarts: this.#restarts, lastExit: this.#lastExit }
  }

  async hold(): Promise<void> {
    this.#hold ??= Promise.withResolvers<void>()
    await this.#end()
  }

  resume(): void {
    this.#hold?.resolve()
    this.#hold = undefined
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    this.resume()
    await this.#end()
  }

  async #end(): Promise<void> {
    const child = this.#child
    if (child === undefined) return
    child.kill('SIGTERM')
    using _ = this.#clock.after(STOP_GRACE_MS, () => void child.kill('SIGKILL'))
    await this.#exited
  }

  #spawn(): void {
    const { cgroup, netns, command, env, name } = this.spec
    makeCgroup(cgroup)
    const enter = netns === undefined ? [] : ['nsenter', `--net=${join(NETNS_DIR, netns)}`, '--']
    const output = openSync(this.#logFile, 'a', 0o600)
    const child = spawn('/bin/sh', ['-c', JOIN_AND_EXEC, 'sh', cgroup, ...enter, ...command], {
      stdio: ['ignore', output, output],
      env: { ...BASE_ENV, ...env },
      detached: true, // Ctrl-C in the terminal goes to `up` alone, which ends components in order
    })
    closeSync(output)
    this.#child = child
    this.#exited = new Promise((resolve) => {
      const ended = (how: string): void => {
        this.#child = undefined
        this.#lastExit = how
        resolve()
      }
      child.once('error', (error) => ended(error.message))
      child.once('exit', (status, signal) => ended(signal ?? `status ${status}`))
    })
    this.#log.debug('component started', { component: name, pid: child.pid })
  }
}

const BASE_ENV = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LANG: 'C.UTF-8' }
