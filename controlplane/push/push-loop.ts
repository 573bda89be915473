// Source -> translation -> resources, again after every change: changes within a few milliseconds are taken together. Also
// lets live enrolments settle under STRICT.
import type { Clock, Timer } from '../../kit/clock.ts'
import { messageOf } from '../../kit/error.ts'
import type { Log } from '../../kit/log.ts'
import type { DeltaServer } from '../../xds/delta-server.ts'
import type { ControlplaneMetrics } from '../metrics.ts'
import type { ObjectEvent, Pod } from '../../model/object.ts'
import type { ConfigSource } from '../source/source.ts'
import type { StatusReport, StatusWriter } from '../status/writer.ts'
import type { MeshNames } from '../translate/mesh.ts'
import { keyOf } from '../translate/pods.ts'
import { type Translation, Translator } from '../translate/translate.ts'
import type { Publisher } from './publish.ts'
import { SETTLE_LIMIT_MS, Settling } from './settling.ts'
import { worldOf } from './world.ts'

/** Changes that come within this time are one translation. */
const COALESCE_MS = 10

/** What the loop works with. */
export interface PushLoopOptions {
  readonly source: ConfigSource
  readonly names: MeshNames
  readonly publisher: Publisher
  readonly server: Pick<DeltaServer, 'waitForAcks'>
  readonly status: StatusWriter
  /** What the rest of the process knows of Gateways; asked with every translation. */
  gatewayState(): Pick<StatusReport, 'programmed' | 'deployFaults'>
  readonly metrics: ControlplaneMetrics
  readonly log: Log
  readonly clock: Clock
}

/** Runs translations; dispose of it to stop. */
export class PushLoop implements Disposable {
  readonly #options: PushLoopOptions
  readonly #translator: Translator
  readonly #settling = new Settling()
  #pods: Map<string, Pod | undefined> | undefined // changed since the last translation, by `namespace/name`; undefined = not known
  #unpublished: Set<string> | undefined // changed since the last publication; undefined = not known
  #timer: Timer | undefined
  #isStopped = false

  constructor(options: PushLoopOptions) {
    this.#options = options
    this.#translator = new Translator(options.names)
    options.source.onChange((event) => this.#note(event))
  }

  /** Asks for a translation soon. */
  kick(): void {
    if (this.#timer !== undefined || this.#isStopped) return
    this.#timer = this.#options.clock.after(COALESCE_MS, () => {
      this.#timer = undefined
      this.run()
    })
  }

  /** Translates and publishes now. A failure is logged; what was published before stays. */
  run(): void {
    try {
      this.#run()
    } catch (error) {
      this.#options.log.error('objects could not be translated; the last resources stay in force', { error: messageOf(error) })
    }
  }

  [Symbol.dispose](): void {
    this.#isStopped = true
    this.#timer?.[Symbol.dispose]()
  }

  #run(): void {
    const { publisher, status, metrics, clock } = this.#options
    const begin = clock.monotonicMs()
    let translation = this.#translate()
    const turned = this.#settling.observe(translation.workloads, translation.changed ?? new Map())
    if (turned.length > 0) {
      this.#settling.begin(turned)
      translation = this.#translate()
    }
    const changed = this.#unpublished
    this.#unpublished = undefined
    const revision = publisher.publish(translation, changed)
    this.#unpublished = new Set()
    metrics.translation.observe((clock.monotonicMs() - begin) / 1000)
    metrics.resources.set({ kind: 'workload' }, translation.workloads.size)
    metrics.resources.set({ kind: 'service' }, translation.services.size)
    metrics.resources.set({ kind: 'policy' }, translation.policies.size)
    const faults = [...translation.faults, ...publisher.faults]
    metrics.faults.set(faults.length)
    status.report({ translation, faults, ...this.#options.gatewayState() })
    if (turned.length > 0) void this.#settle(turned, revision)
  }

  #note({ type, object }: ObjectEvent): void {
    if (object.kind === 'Pod') this.#pods?.set(keyOf(object as Pod), type === 'DELETED' ? undefined : (object as Pod))
  }

  #translate(): Translation {
    const pods = this.#pods
    this.#pods = undefined // if this fails, all pods are compared next time
    const translation = this.#translator.translate(worldOf(this.#options.source, this.#settling.uids), pods)
    this.#pods = new Map()
    if (translation.changed === undefined) this.#unpublished = undefined
    for (const uid of translation.changed?.keys() ?? []) this.#unpublished?.add(uid)
    return translation
  }

  async #settle(uids: readonly string[], revision: number): Promise<void> {
    const { server, log, metrics } = this.#options
    const late = await server.waitForAcks(revision, SETTLE_LIMIT_MS)
    if (late.length > 0) {
      metrics.settleTimeouts.inc()
      log.warn('some proxies have not confirmed an enrolment; plaintext from their nodes is refused where STRICT holds', {
        workloads: uids.slice(0, 16),
        proxies: late.map(({ node, caller }) => node || caller).slice(0, 16),
      })
    }
    if (this.#settling.end(uids)) this.kick()
  }
}
