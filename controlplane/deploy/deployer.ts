// Runs the plans of reconcile.ts after every change, one Gateway after the other; what fails is tried again. Nothing of the data
// path waits for it.
import type { Clock } from '../../kit/clock.ts'
import { codeOf, messageOf } from '../../kit/error.ts'
import type { Log } from '../../kit/log.ts'
import type { Gateway } from '../../model/gateway-api.ts'
import type { ObjectEvent } from '../../model/object.ts'
import { KickedTask } from '../kicked-task.ts'
import type { ConfigSource, ObjectWriter } from '../source/source.ts'
import type { ObjectFault } from '../translate/mesh.ts'
import type { DeploySettings } from './pod.ts'
import { DEPLOYED_ONLY, DeployedObjects, planFor, type Step } from './reconcile.ts'

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
  readonly #task: KickedTask
  #faults: readonly ObjectFault[] = []

  constructor(options: DeployerOptions) {
    this.#options = options
    const { log, clock } = options
    this.#task = new KickedTask({ name: 'waypoints', run: () => this.#run(), log, clock })
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
    this.#task.kick()
  }

  [Symbol.dispose](): void {
    this.#task[Symbol.dispose]()
  }

  /** @returns whether every waypoint is as it should be, or trying again would not help */
  async #run(): Promise<boolean> {
    const { source } = this.#options
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
    return isWhole
  }

  /** @returns what it failed with */
  async #carryOut(steps: readonly Step[], what: string): Promise<unknown> {
    const { log } = this.#options
    try {
      for (const step of steps) {
        if (this.#task.isStopped) return undefined
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
