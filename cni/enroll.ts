// Enrolment of one pod in motion: feeds events to the state machine, keeps the file, runs one effect at a time.
import { Backoff } from '../kit/backoff.ts'
import { messageOf } from '../kit/error.ts'
import type { Log } from '../kit/log.ts'
import { type EnrolEvent, type Enrolment, next, type Stage } from './machine.ts'
import { isGone, type PodFiles, type PodPlace } from './pods.ts'
import type { StepContext, Steps } from './steps.ts'

/** What a runner works with. */
export interface RunnerOptions {
  readonly steps: Pick<Steps, 'run'>
  readonly files: Pick<PodFiles, 'save' | 'remove'>
  readonly log: Log
  /** After each change of stage; `failure` is what the stage before failed with. */
  onStage(runner: PodRunner, failure: unknown): void
  readonly random?: () => number
}

const RETRY = { minMs: 500, maxMs: 15_000 }

/** One pod that the agent was told about. */
export class PodRunner {
  readonly place: PodPlace
  readonly #options: RunnerOptions
  readonly #backoff: Backoff
  #enrolment: Enrolment
  /** Of the effect that runs; aborted when its stage is left, after which its outcome does not count. */
  #running = new AbortController()
  #failure: unknown

  /** Does nothing yet: call `start`. */
  constructor(place: PodPlace, enrolment: Enrolment, options: RunnerOptions) {
    this.place = place
    this.#enrolment = enrolment
    this.#options = options
    this.#backoff = new Backoff(options.random === undefined ? RETRY : { ...RETRY, random: options.random })
  }

  get enrolment(): Enrolment {
    return this.#enrolment
  }

  get stage(): Stage {
    return this.#enrolment.stage
  }

  /** Why the pod is not enrolled although it should be; undefined = nothing failed since it last was. */
  get failure(): unknown {
    return this.#failure
  }

  /** Writes the file and runs the effect of the stage that the pod is in, also one that an earlier process began. */
  start(): void {
    this.#enter()
  }

  /** Something happened. May call `onStage` before it returns. */
  dispatch(event: EnrolEvent): void {
    const before = this.#enrolment
    const { state, isEntered } = next(before, event)
    if (event === 'retry') this.#backoff.reset()
    this.#enrolment = state
    if (isEntered) this.#enter()
    else if (state.wanted !== before.wanted) this.#save()
  }

  /** Leaves everything as it is: the next process goes on. */
  stop(): void {
    this.#running.abort()
  }

  #enter(): void {
    this.#running.abort()
    const running = new AbortController()
    this.#running = running
    const { stage } = this.#enrolment
    if (stage === 'gone') this.#options.files.remove(this.place.uid)
    else this.#save()
    if (stage === 'enrolled' || stage === 'out') {
      this.#failure = undefined
      this.#backoff.reset()
    }
    const { name, namespace } = this.place
    this.#options.log.debug('stage', { pod: name, namespace, stage })
    this.#options.onStage(this, this.#failure)
    if (running.signal.aborted) return // onStage had something to say
    const context: StepContext = {
      enrolment: this.#enrolment,
      signal: running.signal,
      failure: this.#failure,
      backoffMs: () => this.#backoff.nextMs(),
    }
    this.#options.steps.run(this.place, context).then(
      () => this.#ended(running.signal, undefined),
      (error: unknown) => this.#ended(running.signal, error),
    )
  }

  #ended(signal: AbortSignal, error: unknown): void {
    if (signal.aborted) return
    if (error === undefined) {
      this.dispatch('done')
      return
    }
    const { name, namespace, uid } = this.place
    this.#options.log.warn('enrolment step failed', { pod: name, namespace, uid, stage: this.stage, error: messageOf(error) })
    if (this.stage === 'gone') return
    if (isGone(error)) {
      this.dispatch('gone')
      return
    }
    this.#failure = error
    this.dispatch('failed')
  }

  #save(): void {
    this.#options.files.save({ place: this.place, enrolment: this.#enrolment })
  }
}
