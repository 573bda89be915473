// Writes what became of objects into their status while this replica leads, and faults of all objects into the log: once per change,
// with object and field. Writes are few at once and few per second; a failed one is tried again with the next translation.
import type { Clock, Timer } from '../../kit/clock.ts'
import { codeOf, messageOf } from '../../kit/error.ts'
import type { Log } from '../../kit/log.ts'
import { GATEWAY_CONTROLLER, type GatewayClass } from '../../model/gateway-api.ts'
import type { Condition, MeshObject, Service } from '../../model/object.ts'
import type { Leader } from '../leader/leader.ts'
import type { ProgrammedState } from '../push/programmed.ts'
import type { ConfigSource, SourceKind } from '../source/source.ts'
import { RateLimit } from '../rate.ts'
import type { Finding } from '../translate/gateway/finding.ts'
import { ISTIO_CONDITION } from '../translate/istio/outcomes.ts'
import type { ObjectFault } from '../translate/mesh.ts'
import type { Translation } from '../translate/translate.ts'
import type { WaypointBinding } from '../translate/waypoint.ts'
import { entryStatus } from './entry-status.ts'
import { classStatus, gatewayStatus } from './gateway-status.ts'
import { mergeConditions } from './merge.ts'
import { StatusQueue, type StatusWrite } from './queue.ts'
import { routeStatus } from './route-status.ts'
import type { StatusTarget } from './target.ts'

const POLICY_CONDITION = 'ZtunnelAccepted'
const SERVICE_CONDITION = 'istio.io/WaypointBound'
const SERVICE_CONDITIONS: ReadonlySet<string> = new Set([SERVICE_CONDITION])
/** A policy is enforced by node proxies or by waypoints. */
const POLICY_CONDITIONS: ReadonlySet<string> = new Set([POLICY_CONDITION, 'WaypointAccepted'])
const ENTRY_CONDITIONS: ReadonlySet<string> = new Set([ISTIO_CONDITION, SERVICE_CONDITION])
const ISTIO_KINDS: Readonly<Record<string, SourceKind>> = {
  VirtualService: 'virtualservices',
  DestinationRule: 'destinationrules',
  RateLimitPolicy: 'ratelimitpolicies',
}
const WRITES_AT_ONCE = 8
/** A mesh that starts says something of every object; after that the API server is to hear little. */
const WRITES_BURST = 200
const WRITES_PER_SECOND = 50
const NEXT_WRITE_MS = 100
const RETRY_MS = 5000
/** The same failure is a warning this often: a missing right would fill the log. */
const WARNINGS_PER_SECOND = 1 / 60
/** Somebody else wrote, or deleted: the next translation sees it. */
const EXPECTED: ReadonlySet<string> = new Set(['CONFLICT', 'NOT_FOUND'])

/** One translation and what is known besides. */
export interface StatusReport {
  readonly translation: Pick<
    Translation,
    'outcomes' | 'routeOutcomes' | 'istioOutcomes' | 'gateways' | 'bindings' | 'entries' | 'waypointFindings' | 'readyGateways'
  >
  readonly faults: readonly ObjectFault[]
  /** Which waypoints hold what they must. */
  readonly programmed: ProgrammedState
  /** Why Gateways have no waypoint. */
  readonly deployFaults: readonly ObjectFault[]
}

/** What the writer works with. */
export interface StatusWriterOptions {
  readonly source: Pick<ConfigSource, 'objects'>
  readonly target: StatusTarget
  readonly leader: Leader
  readonly log: Log
  readonly clock: Clock
  /**
   * Waypoints may be connected to other replicas, whose clients nobody here sees: a Gateway is then in force when a pod of it is ready
   * and none that is connected here refuses.
   */
  readonly hasReplicas?: boolean
  /** Called some time after a write has failed for no reason of the object's: report again. */
  retry?(): void
}

/** Keeps status current. Not needed for enforcement: everything goes on while it fails. Dispose of it to stop. */
export class StatusWriter implements Disposable {
  readonly #options: StatusWriterOptions
  readonly #rate: RateLimit
  readonly #warnings: RateLimit // by kind and code
  #queue = new StatusQueue()
  /** Object -> the outcome that was looked at last: nothing is compared again while both are the same. */
  #seen = new WeakMap<MeshObject, object>()
  #known = new Set<string>() // faults that have been logged and still exist
  #texts = new WeakMap<ObjectFault, string>()
  #writing = 0
  #nextWrite: Timer | undefined // set while the rate holds writes back
  #retry: Timer | undefined

  constructor(options: StatusWriterOptions) {
    this.#options = options
    this.#rate = new RateLimit({ burst: WRITES_BURST, perSecond: WRITES_PER_SECOND, clock: options.clock })
    this.#warnings = new RateLimit({ burst: 1, perSecond: WARNINGS_PER_SECOND, clock: options.clock })
    options.leader.onChange(() => this.#forget())
  }

  [Symbol.dispose](): void {
    this.#forget()
    this.#retry?.[Symbol.dispose]()
  }

  /** Takes the outcome of a translation. Whoever does not lead only logs it. */
  report(report: StatusReport): void {
    this.#logFaults(report.faults)
    if (!this.#options.leader.isLeader) return
    const now = new Date(this.#options.clock.nowMs()).toISOString()
    const { outcomes, routeOutcomes } = report.translation
    for (const [object, outcome] of outcomes) {
      const isAccepted = outcome.reason === 'Accepted' || outcome.reason === 'PartiallyInvalid'
      const finding: Finding = { type: POLICY_CONDITION, status: isAccepted ? 'True' : 'False', ...outcome }
      this.#once('authorizationpolicies', object, outcome, () => conditionStatus(object, POLICY_CONDITIONS, [finding], now))
    }
    for (const [object, finding] of report.translation.waypointFindings)
      this.#once('authorizationpolicies', object, finding, () => conditionStatus(object, POLICY_CONDITIONS, [finding], now))
    for (const [object, outcome] of routeOutcomes) {
      const kind = object.kind === 'GRPCRoute' ? 'grpcroutes' : 'httproutes'
      this.#once(kind, object, outcome, () => routeStatus(object, outcome, now))
    }
    for (const [object, finding] of report.translation.istioOutcomes) {
      const kind = ISTIO_KINDS[object.kind]
      if (kind !== undefined) this.#once(kind, object, finding, () => conditionStatus(object, new Set([finding.type]), [finding], now))
    }
    for (const [object, outcome] of report.translation.entries) {
      const { finding, binding, addresses } = outcome
      const findings = [finding, ...(binding === undefined ? [] : [bindingFinding(binding)])]
      this.#once('serviceentries', object, outcome, () => entryStatus(object, findings, ENTRY_CONDITIONS, addresses, now))
    }
    this.#reportGateways(report, now)
    this.#reportServices(report.translation.bindings, now)
    this.#write()
  }

  #reportGateways({ translation, programmed, deployFaults }: StatusReport, now: string): void {
    const { hasReplicas = false } = this.#options
    for (const facts of translation.gateways.values()) {
      const { namespace = '', name } = facts.object.metadata
      const key = `${namespace}/${name}`
      const fault = deployFaults.find((each) => each.namespace === namespace && each.name === name)
      const isReady = translation.readyGateways.has(key)
      const state = {
        isProgrammed: programmed.programmed.has(key) || (hasReplicas && isReady && !programmed.refusals.has(key)),
        isReady,
        problem: fault?.message ?? programmed.refusals.get(key),
      }
      this.#put('gateways', facts.object, gatewayStatus(facts.object, facts, state, now))
    }
    for (const object of this.#options.source.objects('gatewayclasses') as Iterable<GatewayClass>)
      if (object.spec?.controllerName === GATEWAY_CONTROLLER) this.#put('gatewayclasses', object, classStatus(object, now))
  }

  /** Also takes the condition back where a service names no waypoint any more. */
  #reportServices(bindings: ReadonlyMap<Service, WaypointBinding>, now: string): void {
    for (const object of this.#options.source.objects('services') as Iterable<Service>) {
      const binding = bindings.get(object)
      const findings = binding === undefined ? [] : [bindingFinding(binding)]
      const isSaid = conditionsOf(object).some(({ type }) => type === SERVICE_CONDITION)
      if (binding !== undefined || isSaid) this.#put('services', object, conditionStatus(object, SERVICE_CONDITIONS, findings, now))
    }
  }

  #logFaults(faults: readonly ObjectFault[]): void {
    const now = new Set<string>()
    for (const fault of faults) {
      const key = this.#texts.get(fault) ?? JSON.stringify(fault)
      this.#texts.set(fault, key)
      if (!this.#known.has(key) && !now.has(key))
        this.#options.log.warn('an object is wrong in part; the rest stays in force', { ...fault })
      now.add(key)
    }
    this.#known = now
  }

  #once(kind: SourceKind, object: MeshObject, outcome: object, make: () => object | undefined): void {
    if (this.#seen.get(object) === outcome) return
    this.#seen.set(object, outcome)
    this.#put(kind, object, make())
  }

  #put(kind: SourceKind, object: MeshObject, status: object | undefined): void {
    if (status === undefined) this.#queue.drop(kind, object)
    else this.#queue.put({ kind, object, status })
  }

  /** What waits is another leader's now, or is found anew when this replica leads again. */
  #forget(): void {
    this.#queue = new StatusQueue()
    this.#seen = new WeakMap()
    this.#nextWrite?.[Symbol.dispose]()
    this.#nextWrite = undefined
  }

  #write(): void {
    const { leader, clock } = this.#options
    while (this.#writing < WRITES_AT_ONCE && this.#nextWrite === undefined && leader.isLeader && this.#queue.size > 0) {
      if (!this.#rate.take('')) {
        this.#nextWrite = clock.after(NEXT_WRITE_MS, () => {
          this.#nextWrite = undefined
          this.#write()
        })
        return
      }
      const next = this.#queue.take()
      if (next === undefined) return
      this.#writing++
      void this.#writeOne(next).then(() => {
        this.#writing--
        this.#write()
      })
    }
  }

  async #writeOne(write: StatusWrite): Promise<void> {
    const { kind, object } = write
    const { target, log } = this.#options
    try {
      await target(write)
    } catch (error) {
      this.#seen.delete(object)
      const { namespace, name } = object.metadata
      const fields = { kind, object: `${namespace ?? ''}/${name}`, code: codeOf(error), error: messageOf(error) }
      if (EXPECTED.has(codeOf(error))) return log.debug('status was not written: the object has changed', fields)
      if (this.#warnings.take(`${kind} ${fields.code}`)) log.warn('status could not be written', fields)
      else log.debug('status could not be written', fields)
      this.#retryLater()
    }
  }

  #retryLater(): void {
    const { clock, retry } = this.#options
    if (this.#retry !== undefined || retry === undefined) return
    this.#retry = clock.after(RETRY_MS, () => {
      this.#retry = undefined
      retry()
    })
    this.#retry.unref()
  }
}

/** The status with our conditions, of the types given; undefined = it says so already. */
function conditionStatus(object: MeshObject, types: ReadonlySet<string>, findings: readonly Finding[], now: string): object | undefined {
  const old = conditionsOf(object)
  const conditions = mergeConditions(old, findings, types, { generation: object.metadata.generation ?? 0, now })
  return conditions === old ? undefined : { conditions }
}

function conditionsOf(object: MeshObject): readonly Condition[] {
  const given: unknown = (object.status as { readonly conditions?: unknown } | null | undefined)?.conditions
  return Array.isArray(given) ? given : []
}

/** Reasons and type are Istio's. */
function bindingFinding({ reason, waypoint }: WaypointBinding): Finding {
  const messages = {
    WaypointAccepted: `attached to waypoint ${waypoint}`,
    WaypointIsNotReady: `waypoint ${waypoint} is not ready: connections to the service are refused`,
    AttachmentDenied: `waypoint ${waypoint} does not admit this namespace: connections to the service are refused`,
    UnsupportedTrafficType: `waypoint ${waypoint} does not take traffic for services: it is not used`,
  } as const satisfies Record<WaypointBinding['reason'], string>
  const status = reason === 'WaypointAccepted' ? 'True' : 'False'
  return { type: SERVICE_CONDITION, status, reason, message: messages[reason] }
}
