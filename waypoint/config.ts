// What is in force: the mesh, the listeners with their compiled routes, how backends are treated. A push replaces whole values, so
// that a request goes on with the listener that it began with. Filled by source.ts.
import { pause } from '../kit/clock.ts'
import type { Clock, Timer } from '../kit/clock.ts'
import type { Backend, TrafficPolicy } from '../model/backend.ts'
import { DEFAULT_TRAFFIC_POLICY } from '../model/backend.ts'
import type { HttpPolicy } from '../model/http-policy.ts'
import type { BackendRef, Listener, Route } from '../model/route.ts'
import type { ServiceKey } from '../model/workload.ts'
import { RouteTable } from '../policy/http/table.ts'
import type { ResourceChange, StateChange } from '../state/store.ts'
import { MeshState } from '../state/store.ts'

/** A listener with what is made of it once. */
export interface ListenerEntry {
  readonly listener: Listener
  readonly table: RouteTable
  /** For callers without routes: everything goes to the service itself. */
  readonly fallback: Route
}

/** How a backend is treated. `workloads` = uids of the subset; undefined = all endpoints. */
export interface BackendTreatment {
  readonly policy: TrafficPolicy
  readonly workloads: ReadonlySet<string> | undefined
}

/** A listener that was taken back serves so long: nodes that have not heard of it still send their clients here. */
export const LEAVING_MS = 2_000

/** Services whose endpoints, ports or treatment may have changed. */
export type ChangeListener = (services: ReadonlySet<ServiceKey>) => void

/** A route that sends everything to one backend. */
export function plainRoute(name: string, ref: BackendRef): Route {
  return {
    name,
    match: {
      path: undefined,
      method: undefined,
      authority: undefined,
      headers: [],
      query: [],
      sourceNamespace: undefined,
      sourceLabels: {},
    },
    rule: {
      filters: [],
      backends: [{ kind: 'service', ref, weight: 1, filters: [] }],
      timeouts: { requestMs: undefined, backendRequestMs: undefined },
      retry: undefined,
      fault: undefined,
      rateLimits: [],
      sessionPersistence: undefined,
    },
  }
}

/** The configuration of one waypoint. */
export class Configuration {
  readonly mesh: MeshState
  readonly #byName = new Map<string, ListenerEntry>()
  /** `service|port` -> listener */
  readonly #byPort = new Map<string, ListenerEntry>()
  readonly #backends = new Map<ServiceKey, Backend>()
  readonly #policyListeners = new Set<() => void>()
  #gatewayPolicies: readonly HttpPolicy[] = []
  /** Names that were taken back and still serve. */
  readonly #leaving = new Map<string, Timer>()
  readonly #tell = new Set<ChangeListener>()
  /** Wakes those who wait for a change; replaced by each. */
  #next = new AbortController()
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.mesh = new MeshState(clock)
    this.#clock = clock
  }

  /** Resolves after the next change of the mesh or the listeners, or after `limitMs`. */
  nextChange(limitMs: number): Promise<void> {
    return pause(this.#clock, limitMs, this.#next.signal)
  }

  /** Tells which services' endpoints or treatment changed, after each change. */
  onChange(tell: ChangeListener): void {
    this.#tell.add(tell)
  }

  /** Policies of the waypoint as a whole, for what has no listener. */
  get gatewayPolicies(): readonly HttpPolicy[] {
    return this.#gatewayPolicies
  }

  /** Tells after each change of policies that listeners hold. */
  onPolicyChange(tell: () => void): void {
    this.#policyListeners.add(tell)
  }

  /** Takes a change of the mesh. */
  apply(change: StateChange): void {
    const touched = this.#touchedBy(change)
    this.mesh.apply(change)
    for (const workload of change.workloads?.upserts ?? []) for (const key of workload.services.keys()) touched.add(key)
    this.#changed(touched)
    this.#wake()
  }

  /** Takes new listeners; those that are named as removed are gone after LEAVING_MS. */
  applyListeners({ upserts, removes }: ResourceChange<Listener>): void {
    for (const name of removes) this.#leave(name)
    let isJudged = false
    for (const listener of upserts) {
      isJudged ||= listener.authorization.length > 0 || (this.#byName.get(listener.name)?.listener.authorization.length ?? 0) > 0
      this.#drop(listener.name)
      const { service, port } = listener
      const fallback = plainRoute('default', { service, port, subset: undefined })
      const entry = { listener, table: new RouteTable(listener), fallback }
      this.#byName.set(listener.name, entry)
      this.#byPort.set(keyOf(service, port), entry)
    }
    this.#gatherPolicies()
    this.#wake()
    if (isJudged) for (const tell of this.#policyListeners) tell()
  }

  /** Takes new treatments of backends. */
  applyBackends({ upserts, removes }: ResourceChange<Backend>): void {
    for (const name of removes) this.#backends.delete(name)
    for (const backend of upserts) this.#backends.set(backend.service, backend)
    this.#changed(new Set([...removes, ...upserts.map((backend) => backend.service)]))
  }

  listenerFor(service: ServiceKey, port: number): ListenerEntry | undefined {
    return this.#byPort.get(keyOf(service, port))
  }

  /** @returns undefined when the reference names a subset that there is not */
  treatmentOf({ service, port, subset }: BackendRef): BackendTreatment | undefined {
    const backend = this.#backends.get(service)
    if (subset === undefined) return { policy: backend?.ports.get(port) ?? backend?.policy ?? DEFAULT_TRAFFIC_POLICY, workloads: undefined }
    const found = backend?.subsets.find(({ name }) => name === subset)
    return found === undefined ? undefined : { policy: found.policy, workloads: new Set(found.workloads) }
  }

  /** For dumps. */
  dump(): { listeners: Listener[]; backends: Backend[] } {
    const listeners = [...this.#byName.values()].map(({ listener }) => listener).filter(({ name }) => !this.#leaving.has(name))
    return { listeners, backends: [...this.#backends.values()] }
  }

  #wake(): void {
    const due = this.#next
    this.#next = new AbortController()
    due.abort()
  }

  #gatherPolicies(): void {
    const found = new Map<string, HttpPolicy>()
    for (const { listener } of this.#byName.values())
      for (const policy of listener.authorization) if (policy.isGatewayWide) found.set(policy.name, policy)
    this.#gatewayPolicies = [...found.values()]
  }

  #leave(name: string): void {
    if (!this.#byName.has(name) || this.#leaving.has(name)) return
    const timer = this.#clock.after(LEAVING_MS, () => this.#drop(name))
    timer.unref()
    this.#leaving.set(name, timer)
  }

  #drop(name: string): void {
    this.#leaving.get(name)?.[Symbol.dispose]()
    this.#leaving.delete(name)
    const old = this.#byName.get(name)
    if (old === undefined) return
    this.#byName.delete(name)
    const key = keyOf(old.listener.service, old.listener.port)
    if (this.#byPort.get(key) === old) this.#byPort.delete(key)
  }

  /** Services of the workloads as they were before, and services that are described anew. */
  #touchedBy({ workloads, services }: StateChange): Set<ServiceKey> {
    const touched = new Set<ServiceKey>(services?.removes)
    for (const service of services?.upserts ?? []) touched.add(`${service.namespace}/${service.hostname}`)
    const uids = [...(workloads?.removes ?? []), ...(workloads?.upserts ?? []).map(({ uid }) => uid)]
    for (const uid of uids) for (const key of this.mesh.workloadByUid(uid)?.services.keys() ?? []) touched.add(key)
    return touched
  }

  #changed(services: ReadonlySet<ServiceKey>): void {
    if (services.size > 0) for (const tell of this.#tell) tell(services)
  }
}

function keyOf(service: ServiceKey, port: number): string {
  return `${service}|${port}`
}
