// The controllers' loop: any change of the store leads to one pass over all of them, soon. Each controller compares what is
// with what should be and changes the store; passes repeat until nothing changes. Level-triggered: a lost event costs nothing.
import type { Clock, Timer } from '../../kit/clock.ts'
import { messageOf } from '../../kit/error.ts'
import type { Log } from '../../kit/log.ts'
import type { ObjectStore } from '../store.ts'

/** Compares and repairs; synchronous; must come to rest (a second run without a change from outside changes nothing). */
export type Controller = (store: ObjectStore) => void

const DELAY_MS = 10
const RETRY_MS = 1000

/** Runs controllers after changes until disposed. */
export class ControlLoop implements Disposable {
  readonly #store: ObjectStore
  readonly #controllers: Readonly<Record<string, Controller>>
  readonly #clock: Clock
  readonly #log: Log
  readonly #subscription: Disposable
  #timer: Timer | undefined
  #isStopped = false

  constructor(options: { store: ObjectStore; controllers: Readonly<Record<string, Controller>>; clock: Clock; log: Log }) {
    this.#store = options.store
    this.#controllers = options.controllers
    this.#clock = options.clock
    this.#log = options.log
    this.#subscription = this.#store.onEvent((entry) => {
      if (entry.kind !== 'events') this.#soon(DELAY_MS)
    })
    this.#soon(0)
  }

  [Symbol.dispose](): void {
    this.#isStopped = true
    this.#subscription[Symbol.dispose]()
    this.#timer?.[Symbol.dispose]()
  }

  #soon(delayMs: number): void {
    if (this.#timer !== undefined || this.#isStopped) return
    this.#timer = this.#clock.after(delayMs, () => {
      this.#timer = undefined
      for (const [name, controller] of Object.entries(this.#controllers)) {
        try {
          controller(this.#store)
        } catch (error) {
          this.#log.error('controller failed, trying again', { controller: name, error: messageOf(error) })
          this.#soon(RETRY_MS)
        }
      }
    })
  }
}
