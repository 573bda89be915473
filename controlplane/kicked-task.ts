// Work that is asked for after changes: kicks that come close together are one run, a kick during a run leads to another one, and
// what was not done is tried again. Used by ca/roots.ts and deploy/deployer.ts.
import type { Clock, Timer } from '../kit/clock.ts'
import { messageOf } from '../kit/error.ts'
import type { Log } from '../kit/log.ts'

/** Kicks within this time of the first are one run. */
export const COALESCE_MS = 20
/** After a run that has left something undone. */
export const RETRY_MS = 2000

/** What is run. */
export interface KickedTaskOptions {
  /** For the log: what could not be done. */
  readonly name: string
  /** Never called while it runs. @returns false = something is left to be tried again; so is a rejection, which is logged */
  run(): Promise<boolean>
  readonly log: Log
  readonly clock: Clock
}

/** Runs the task; dispose of it to stop. A pending run does not keep the process alive. */
export class KickedTask implements Disposable {
  readonly #options: KickedTaskOptions
  /** The next run. A kick brings a retry forward; it does not put off a run that is due, or a busy cluster would for ever. */
  #next: { readonly timer: Timer; readonly isRetry: boolean } | undefined
  #isRunning = false
  #isKicked = false // while it runs
  #isStopped = false

  constructor(options: KickedTaskOptions) {
    this.#options = options
  }

  /** A run under way may end early. */
  get isStopped(): boolean {
    return this.#isStopped
  }

  /** Asks for a run soon. */
  kick(): void {
    if (this.#isRunning) this.#isKicked = true
    else this.#later(COALESCE_MS, false)
  }

  /** No run begins after this. */
  [Symbol.dispose](): void {
    this.#isStopped = true
    this.#next?.timer[Symbol.dispose]()
  }

  #later(delayMs: number, isRetry: boolean): void {
    if (this.#isStopped || this.#next?.isRetry === false) return
    this.#next?.timer[Symbol.dispose]()
    const timer = this.#options.clock.after(delayMs, () => {
      this.#next = undefined
      void this.#run()
    })
    timer.unref()
    this.#next = { timer, isRetry }
  }

  async #run(): Promise<void> {
    const { name, run, log } = this.#options
    this.#isRunning = true
    this.#isKicked = false
    let isWhole = false
    try {
      isWhole = await run()
    } catch (error) {
      log.error('a task of the control plane failed; it is tried again', { task: name, error: messageOf(error) })
    }
    this.#isRunning = false
    if (this.#isKicked) this.#later(COALESCE_MS, false)
    else if (!isWhole) this.#later(RETRY_MS, true)
  }
}
