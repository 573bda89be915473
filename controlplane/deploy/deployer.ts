// Runs the plans of reconcile.ts after every change, one Gateway after the other; what fails is tried again. Nothing of the data
// path waits for it.
import type { Clock, Timer } from '../../kit/clock.ts'
import { codeOf, messageOf } from '../../kit/error.ts'
import type { Log } from '../../kit/log.ts'
import type { Gateway } from '../../model/gateway-api.ts'
import type { ObjectEvent } from '../../model/object.ts'
import type { ConfigSource, ObjectWriter } from '../source/source.ts'
import type { ObjectFault } from '../translate/mesh.ts'
import type { DeploySettings } from './pod.ts'
import { DEPLOYED_ONLY, DeployedObjects, planFor, type Step } from './reconcile.ts'

const COALESCE_MS = 20
const RETRY_MS = 2000
const RELEVANT: ReadonlySet<string> = new Set(['Gateway', 'Service', 'ServiceAccount', ...DEPLOYED_ONLY])

/** What the deployer works with. */
export interface DeployerOptions {
  readonly source: Pick<ConfigSource, 'objects'>
  readonly writer: ObjectWriter
  readonly settings: DeploySettings
  readonly log: Log
  readonly clock: Clock
  /** Faults changed: they belong into the status of Gateways. */
  onFaults?(): void
}

/** Keeps the objects of waypoints as their Gateways want them; dispose of it to stop. */
export class Deployer implements Disposable {
  readonly #options: DeployerOptions
  #timer: Timer | undefined
  #isRunning = false
  #isKicked = false
  #isStopped = false
  #faults: readonly ObjectFault[] = []

  constructor(options: DeployerOptions) {
    this.#options = options
  }

  /** Why Gateways have no waypoint: kind Gateway, its namespace and name, a sentence. */
  get faults(): readonly ObjectFault[] {
    return this.#faults
  }

  /** Takes one event; pods and others that do not matter here are passed over. */
  apply(event: ObjectEvent): void {
    if (RELEVANT.has(event.object.kind)) this.kick()
  }

  /** Asks for a run soon. */
  kick(): void {
    if (this.#isRunning) this.#isKicked = true
    else this.#later(COALESCE_MS)
  }

  [Symbol.dispose](): void {
    this.#isStopped = true
    this.#timer?.[Symbol.dispose]()
  }

  #later(delayMs: number): void {
    if (this.#timer !== undefined || this.#isStopped) return
    this.#timer = this.#options.clock.after(delayMs, () => {
      this.#timer = undefined
      void this.#run()
    })
  }

  async #run(): Promise<void> {
    const { source } = this.#options
    this.#isRunning = true
    this.#isKicked = false
    const gateways = [...source.objects('gateways')] as Gateway[]
    const objects = new DeployedObjects(source)
    const faults: ObjectFault[] = []
    let isWhole = true
    for (const gateway of gateways) {
      const { namespace = '', name } = gateway.metadata
      const plan = planFor(gateway, objects, this.#options.settings)
      const failure = await this.#carryOut(plan.steps, `${namespace}/${name}`)
      const isOwnFault = codeOf(failure) === 'INVALID_OBJECT' // what infrastructure says; trying again would not help
      if (failure !== undefined && !isOwnFault) isWhole = false
      for (const message of isOwnFault ? [...plan.faults, messageOf(failure)] : plan.faults)
        faults.push({ kind: 'Gateway', namespace, name, field: '', message })
    }
    this.#take(faults)
    this.#isRunning = false
    if (this.#isKicked) this.#later(COALESCE_MS)
    else if (!isWhole) this.#later(RETRY_MS)
  }

  /** @returns what it failed with */
  async #carryOut(steps: readonly Step[], what: string): Promise<unknown> {
    const { log } = this.#options
    try {
      for (const step of steps) {
        if (this.#isStopped) return undefined
        await this.#act(step)
        const { kind, metadata } = step.object
        log.info('waypoint changed', { waypoint: what, did: step.do, object: `${kind} ${metadata.namespace}/${metadata.name}` })
      }
      return undefined
    } catch (error) {
      // Somebody else was faster, or the API is away: the next run sees what is there then.
      log.warn('a waypoint could not be brought up to date', {
        waypoint: what,
        code: codeOf(error),
        error: messageOf(error),
      })
      return error
    }
  }

  #act(step: Step): Promise<void> {
    const { writer } = this.#options
    if (step.do === 'remove') return writer.remove(step.kind, step.object)
    return step.do === 'create' ? writer.create(step.object) : writer.replace(step.object)
  }

  #take(faults: readonly ObjectFault[]): void {
    if (JSON.stringify(faults) === JSON.stringify(this.#faults)) return
    this.#faults = faults
    this.#options.onFaults?.()
  }
}
