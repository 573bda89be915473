// Keeps the kernel's table of virtual addresses equal to the services, for whatever ztunnel does not take. Bursts of slices
// (a rollout) are written at once.
import type { Clock, Timer } from '../kit/clock.ts'
import { messageOf } from '../kit/error.ts'
import type { Log } from '../kit/log.ts'
import type { AgentObjects } from './objects.ts'
import type { Redirect } from './redirect/redirect.ts'
import { vipServices } from './services.ts'

const DELAY_MS = 20

/** What the constructor takes. */
export interface VipTableOptions {
  readonly datapath: Pick<Redirect, 'setServices'>
  /** undefined = not known yet. */
  objects(): AgentObjects | undefined
  readonly node: string
  /** False = kube-proxy does it: the table stays empty. */
  readonly isServed: boolean
  readonly log: Log
  readonly clock: Clock
}

/** The writer of the table. */
export class VipTable implements Disposable {
  readonly #options: VipTableOptions
  #timer: Timer | undefined

  constructor(options: VipTableOptions) {
    this.#options = options
  }

  /** Services or endpoints have changed. */
  changed(): void {
    this.#timer ??= this.#options.clock.after(DELAY_MS, () => {
      this.#timer = undefined
      this.write()
    })
  }

  /** Writes now, e.g. into maps that were made anew; nothing happens before the objects are known. */
  write(): void {
    const { datapath, isServed, node, log } = this.#options
    const objects = this.#options.objects()
    if (objects?.isSynced() !== true) return
    try {
      datapath.setServices(isServed ? vipServices(objects.services(), objects.slices(), node) : [])
    } catch (error) {
      log.error('services do not fit into the kernel', { error: messageOf(error) })
    }
  }

  /** Nothing is written any more. */
  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]()
  }
}
