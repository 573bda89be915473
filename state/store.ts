// What a proxy knows of the mesh, with the lookups that a connection needs: by address, virtual address, host and endpoint.
// Changes arrive in any order (an endpoint may come before its service); the indexes are kept per change, never rebuilt.
// Follows istio/ztunnel:src/state.rs, src/state/workload.rs and src/state/service.rs.
import type { Clock } from '../kit/clock.ts'
import { pause } from '../kit/clock.ts'
import { ipToBytes } from '../model/address.ts'
import type { Cidr, IpAddress } from '../model/address.ts'
import type { Authorization } from '../model/policy.ts'
import { serviceKeyOf } from '../model/service.ts'
import type { Service } from '../model/service.ts'
import type { ServiceKey, Workload } from '../model/workload.ts'
import { anyBlockContains } from '../policy/cidr.ts'
import { Sharing } from './share.ts'
import { VipIndex } from './vip-index.ts'

/** New or changed values, and the names of removed ones (uid, `namespace/hostname`, `namespace/name`). */
export interface ResourceChange<T> {
  readonly upserts: readonly T[]
  readonly removes: readonly string[]
}

/** One change of the mesh's description; an absent part is unchanged. `networks` replaces the whole list. */
export interface StateChange {
  readonly workloads?: ResourceChange<Workload>
  readonly services?: ResourceChange<Service>
  readonly policies?: ResourceChange<Authorization>
  readonly networks?: readonly Cidr[]
}

/** The mesh as one thread sees it. Lookups return the stored values: equal to those given, and nobody may change them. */
export class MeshState {
  readonly #clock: Clock
  readonly #sharing = new Sharing()
  readonly #workloads = new Map<string, Workload>()
  /** `network/ip` -> workloads with that address, last described first; host-network workloads are not here. */
  readonly #byAddress = new Map<string, Workload[]>()
  readonly #services = new Map<ServiceKey, Service>()
  readonly #byHost = new Map<string, Service[]>()
  readonly #vips = new VipIndex()
  /** Endpoints per service by uid; present also for services that are not known yet. */
  readonly #endpoints = new Map<ServiceKey, Map<string, Workload>>()
  readonly #policies = new Map<string, Authorization>()
  /** Policies that apply without being named by a workload: `''` = global, else the namespace. */
  readonly #scoped = new Map<string, Map<string, Authorization>>()
  #networks: readonly Cidr[] = []
  readonly #policyListeners = new Set<() => void>()
  readonly #waiters = new Map<string, Set<AbortController>>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Takes over a change; waiters and listeners are told after all of it is in. */
  apply(change: StateChange): void {
    let isPolicyTouched = change.policies !== undefined
    for (const uid of change.workloads?.removes ?? []) this.#removeWorkload(uid)
    for (const workload of change.workloads?.upserts ?? []) {
      const old = this.#workloads.get(workload.uid)
      isPolicyTouched ||= !sameList(old?.authorizationPolicies ?? [], workload.authorizationPolicies)
      this.#putWorkload(workload)
    }
    for (const key of change.services?.removes ?? []) this.#removeService(key)
    for (const service of change.services?.upserts ?? []) this.#putService(service)
    for (const name of change.policies?.removes ?? []) this.#removePolicy(name)
    for (const policy of change.policies?.upserts ?? []) this.#putPolicy(policy)
    if (change.networks !== undefined) this.#networks = change.networks
    for (const workload of change.workloads?.upserts ?? []) this.#wake(workload)
    if (isPolicyTouched) for (const tell of this.#policyListeners) tell()
  }

  workloadByUid(uid: string): Workload | undefined {
    return this.#workloads.get(uid)
  }

  /** The workload with this address; of several (an address reused) the one described last that is healthy. */
  workloadByAddress(network: string, ip: IpAddress): Workload | undefined {
    const found = this.#byAddress.get(`${network}/${ip}`)
    return found?.find((workload) => workload.health === 'HEALTHY') ?? found?.[0]
  }

  /** The service that owns a virtual address; the caller's namespace is preferred, then a canonical one. */
  serviceByVip(network: string, ip: IpAddress, fromNamespace: string): Service | undefined {
    return this.#vips.find(network, ip, fromNamespace, this.#byAddress.has(`${network}/${ip}`))
  }

  serviceByHost(namespace: string, hostname: string): Service | undefined {
    return this.#services.get(`${namespace}/${hostname}`)
  }

  /** Services with this host name in any namespace, the canonical one first. */
  servicesWithHost(hostname: string): readonly Service[] {
    return this.#byHost.get(hostname) ?? []
  }

  /** Every workload that says it backs the service, healthy or not. */
  endpointsOf(key: ServiceKey): readonly Workload[] {
    return [...(this.#endpoints.get(key)?.values() ?? [])]
  }

  /** Policies that apply to a workload: global, of its namespace, and those it names; an unknown name is skipped. */
  policiesFor(workload: Workload): readonly Authorization[] {
    const named = workload.authorizationPolicies.map((name) => this.#policies.get(name)).filter((policy) => policy !== undefined)
    return [...(this.#scoped.get('')?.values() ?? []), ...(this.#scoped.get(workload.namespace)?.values() ?? []), ...named]
  }

  /** Whether the address lies in a pod or service block of the mesh. */
  isInMesh(ip: IpAddress): boolean {
    return this.#networks.length > 0 && anyBlockContains(this.#networks, ipToBytes(ip))
  }

  /** Calls `tell` after each change that may alter an authorization decision (policies, or what workloads name). */
  onPolicyChange(tell: () => void): Disposable {
    this.#policyListeners.add(tell)
    return { [Symbol.dispose]: () => void this.#policyListeners.delete(tell) }
  }

  /** Waits until a workload with this address is described. @returns undefined when `waitMs` have passed */
  async waitForWorkload(network: string, ip: IpAddress, waitMs: number): Promise<Workload | undefined> {
    const known = this.workloadByAddress(network, ip)
    if (known !== undefined) return known
    const key = `${network}/${ip}`
    const waiter = new AbortController()
    const waiters = this.#waiters.get(key) ?? new Set()
    this.#waiters.set(key, waiters.add(waiter))
    await pause(this.#clock, waitMs, waiter.signal)
    waiters.delete(waiter)
    if (waiters.size === 0 && this.#waiters.get(key) === waiters) this.#waiters.delete(key)
    return this.workloadByAddress(network, ip)
  }

  /** Everything, for dumps. */
  dump(): { workloads: Workload[]; services: Service[]; policies: Authorization[] } {
    return { workloads: [...this.#workloads.values()], services: [...this.#services.values()], policies: [...this.#policies.values()] }
  }

  #putWorkload(from: Workload): void {
    this.#removeWorkload(from.uid)
    const workload = this.#sharing.workload(from)
    this.#workloads.set(workload.uid, workload)
    for (const key of addressKeys(workload)) this.#byAddress.set(key, [workload, ...(this.#byAddress.get(key) ?? [])])
    for (const service of workload.services.keys()) getOrMake(this.#endpoints, service).set(workload.uid, workload)
  }

  #removeWorkload(uid: string): void {
    const old = this.#workloads.get(uid)
    if (old === undefined) return
    this.#workloads.delete(uid)
    for (const key of addressKeys(old)) {
      const rest = (this.#byAddress.get(key) ?? []).filter((workload) => workload.uid !== uid)
      if (rest.length === 0) this.#byAddress.delete(key)
      else this.#byAddress.set(key, rest)
    }
    for (const service of old.services.keys()) removeFrom(this.#endpoints, service, uid)
  }

  #putService(service: Service): void {
    const key = serviceKeyOf(service)
    this.#removeService(key)
    this.#services.set(key, service)
    const sameHost = [...(this.#byHost.get(service.hostname) ?? []), service]
    this.#byHost.set(
      service.hostname,
      sameHost.sort((a, b) => Number(b.isCanonical) - Number(a.isCanonical)),
    )
    this.#vips.put(service)
  }

  #removeService(key: ServiceKey): void {
    const old = this.#services.get(key)
    if (old === undefined) return
    this.#services.delete(key)
    this.#vips.remove(old)
    const rest = (this.#byHost.get(old.hostname) ?? []).filter((service) => service !== old)
    if (rest.length === 0) this.#byHost.delete(old.hostname)
    else this.#byHost.set(old.hostname, rest)
  }

  #putPolicy(policy: Authorization): void {
    const name = `${policy.namespace}/${policy.name}`
    this.#removePolicy(name)
    this.#policies.set(name, policy)
    if (policy.scope === 'GLOBAL') getOrMake(this.#scoped, '').set(name, policy)
    else if (policy.scope === 'NAMESPACE') getOrMake(this.#scoped, policy.namespace).set(name, policy)
  }

  #removePolicy(name: string): void {
    const old = this.#policies.get(name)
    if (old === undefined) return
    this.#policies.delete(name)
    removeFrom(this.#scoped, '', name)
    removeFrom(this.#scoped, old.namespace, name)
  }

  #wake(workload: Workload): void {
    if (this.#waiters.size === 0) return
    for (const key of addressKeys(workload)) for (const waiter of this.#waiters.get(key) ?? []) waiter.abort()
  }
}

/** Host-network workloads share the node's address, which therefore names nobody. */
function addressKeys(workload: Workload): string[] {
  return workload.isHostNetwork ? [] : workload.addresses.map((ip) => `${workload.network}/${ip}`)
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i])
}

function getOrMake<T>(maps: Map<string, Map<string, T>>, key: string): Map<string, T> {
  let found = maps.get(key)
  if (found === undefined) {
    found = new Map()
    maps.set(key, found)
  }
  return found
}

function removeFrom<T>(maps: Map<string, Map<string, T>>, key: string, name: string): void {
  const found = maps.get(key)
  found?.delete(name)
  if (found?.size === 0) maps.delete(key)
}
