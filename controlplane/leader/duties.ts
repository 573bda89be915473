// What only the leading replica does besides status: it makes waypoints and keeps the roots in every namespace. Made when leadership
// comes and ended when it goes, so that nothing is left of an earlier term.
import type { Clock } from '../../kit/clock.ts'
import type { Log } from '../../kit/log.ts'
import type { ObjectEvent } from '../../model/object.ts'
import { RootsInNamespaces } from '../ca/roots.ts'
import { Deployer } from '../deploy/deployer.ts'
import type { DeploySettings } from '../deploy/pod.ts'
import type { ConfigSource } from '../source/source.ts'
import type { ObjectFault } from '../translate/mesh.ts'
import type { Leader } from './leader.ts'

/** What the duties need. */
export interface DutiesOptions {
  readonly leader: Leader
  readonly source: ConfigSource
  readonly waypoints: DeploySettings
  rootsPem(): string
  readonly log: Log
  readonly clock: Clock
  /** Something changed that belongs into the status of Gateways. */
  onFaults(): void
}

/** Follows leadership from `start` on; dispose of it to stop. */
export class Duties implements Disposable {
  readonly #options: DutiesOptions
  #term: { readonly deployer: Deployer; readonly roots: RootsInNamespaces } | undefined
  #isStarted = false

  constructor(options: DutiesOptions) {
    this.#options = options
    options.leader.onChange(() => this.#turn())
  }

  /** Why Gateways have no waypoint; empty while another replica leads. */
  get faults(): readonly ObjectFault[] {
    return this.#term?.deployer.faults ?? []
  }

  /** Every object has been listed: what is missing may be made. */
  start(): void {
    this.#isStarted = true
    this.#turn()
  }

  /** Takes one event. */
  apply(event: ObjectEvent): void {
    this.#term?.deployer.apply(event)
    this.#term?.roots.apply(event)
  }

  /** The roots have changed. */
  distribute(): void {
    this.#term?.roots.kick()
  }

  [Symbol.dispose](): void {
    this.#isStarted = false
    this.#end()
  }

  #turn(): void {
    this.#end()
    if (this.#isStarted && this.#options.leader.isLeader) this.#begin()
  }

  #begin(): void {
    const { source, waypoints, rootsPem, leader, log, clock, onFaults } = this.#options
    const deployer = new Deployer({ source, writer: source, settings: waypoints, log: log.scope('deploy'), clock, onFaults })
    const roots = new RootsInNamespaces({ source, leader, rootsPem, log: log.scope('ca'), clock })
    this.#term = { deployer, roots }
    deployer.kick()
    roots.kick()
  }

  #end(): void {
    this.#term?.deployer[Symbol.dispose]()
    this.#term?.roots[Symbol.dispose]()
    this.#term = undefined
  }
}
