// The mesh as a data thread knows it: the store with its indexes, seen through the view that decisions read, plus what must
// happen beside a change: asking for unknown addresses (on-demand mode), telling who is gone. Called by data.ts.
import { randomBytes } from 'node:crypto'
import type { Clock } from '../kit/clock.ts'
import { pause } from '../kit/clock.ts'
import type { IpAddress } from '../model/address.ts'
import { spiffeIdOf } from '../model/identity.ts'
import type { Identity, SpiffeId } from '../model/identity.ts'
import type { Authorization } from '../model/policy.ts'
import { serviceKeyOf } from '../model/service.ts'
import type { Service } from '../model/service.ts'
import type { GatewayAddress, ServiceKey, Workload, WorkloadEndpoint } from '../model/workload.ts'
import type { MeshReplica } from './proxy/context.ts'
import { chooseEndpoint, isNamed, namesBehind } from '../state/balance.ts'
import type { Names } from '../state/names.ts'
import { MeshState } from '../state/store.ts'
import type { StateChange } from '../state/store.ts'
import { WaypointChanges } from './waypoint-changes.ts'

const POLL_MS = 20

/** Wraps the store of one thread. */
export class Replica implements MeshReplica {
  readonly #clock: Clock
  readonly #state: MeshState
  readonly #waypointChanges: WaypointChanges
  readonly #demand: ((name: string) => void) | undefined
  readonly #names: Names | undefined
  readonly #goneListeners: ((addresses: ReadonlySet<IpAddress>) => void)[] = []

  /** @param demand asks the control plane for `network/ip`; undefined = it sends everything */
  /** Made when a pod is not found by uid (a local file names as it likes); dropped by every change. */
  #byName: Map<string, Workload> | undefined

  /** @param names undefined = endpoints that have a name only are never found */
  constructor(clock: Clock, demand: ((name: string) => void) | undefined, names?: Names) {
    this.#clock = clock
    this.#state = new MeshState(clock)
    this.#waypointChanges = new WaypointChanges(clock)
    this.#demand = demand
    this.#names = names
  }

  /** Takes a change, remembers what it does to waypoints, and tells whose addresses have another owner, another protocol or none now. */
  apply(change: StateChange): void {
    const gone = this.#addressesGone(change)
    this.#byName = undefined
    for (const service of change.services?.upserts ?? []) {
      const old = this.#state.serviceByHost(service.namespace, service.hostname)
      if (old !== undefined) this.#waypointChanges.note(serviceKeyOf(service), old.waypoint, service.waypoint)
    }
    for (const { uid, waypoint } of change.workloads?.upserts ?? []) {
      const old = this.#state.workloadByUid(uid)
      if (old !== undefined) this.#waypointChanges.note(uid, old.waypoint, waypoint)
    }
    this.#state.apply(change)
    if (gone.size > 0) for (const tell of this.#goneListeners) tell(gone)
  }

  onPolicyChange(tell: () => void): void {
    this.#state.onPolicyChange(tell)
  }

  onAddressesGone(tell: (addresses: ReadonlySet<IpAddress>) => void): void {
    this.#goneListeners.push(tell)
  }

  workloadByAddress(network: string, ip: IpAddress): Workload | undefined {
    return this.#state.workloadByAddress(network, ip)
  }

  serviceByVip(network: string, ip: IpAddress, fromNamespace: string): Service | undefined {
    return this.#state.serviceByVip(network, ip, fromNamespace)
  }

  serviceByHost(namespace: string, hostname: string): Service | undefined {
    return this.#state.serviceByHost(namespace, hostname)
  }

  servicesWithHost(hostname: string): readonly Service[] {
    return this.#state.servicesWithHost(hostname)
  }

  isInMesh(ip: IpAddress): boolean {
    return this.#state.isInMesh(ip)
  }

  chooseEndpoint(service: Service, port: number, source: Workload): WorkloadEndpoint | undefined {
    return chooseEndpoint(service, this.#state.endpointsOf(serviceKeyOf(service)), port, source, random, this.#addressesOf)
  }

  unresolvedNames(service: Service, port: number): readonly string[] {
    return namesBehind(service, this.#state.endpointsOf(serviceKeyOf(service)), port)
  }

  async resolveNames(hostnames: readonly string[]): Promise<void> {
    await this.#names?.resolve(hostnames)
  }

  identitiesOf(waypoint: GatewayAddress): readonly SpiffeId[] {
    const found = new Set<SpiffeId>()
    for (const workload of this.#podsOf(waypoint)) found.add(spiffeIdOf(workload))
    return [...found]
  }

  waypointBefore(name: string): { readonly waypoint: GatewayAddress | undefined } | undefined {
    return this.#waypointChanges.before(name)
  }

  async waitForServices(keys: Iterable<ServiceKey>, waitMs: number): Promise<boolean> {
    const demand = this.#demand
    if (demand === undefined) return true
    const missing = (): ServiceKey[] => [...keys].filter((key) => this.#serviceByKey(key) === undefined)
    for (const key of missing()) demand(key)
    for (let waitedMs = 0; missing().length > 0; waitedMs += POLL_MS) {
      if (waitedMs >= waitMs) return false
      await pause(this.#clock, POLL_MS)
    }
    return true
  }

  policiesFor(workload: Workload): readonly Authorization[] {
    return this.#state.policiesFor(workload)
  }

  waitForWorkload(network: string, ip: IpAddress, waitMs: number): Promise<Workload | undefined> {
    this.#demand?.(`${network}/${ip}`)
    return this.#state.waitForWorkload(network, ip, waitMs)
  }

  /** The description of a pod by its name, for the name server: it knows no address of the asker. */
  podWorkload(clusterId: string, name: string, identity: Identity): Workload | undefined {
    const key = `${identity.namespace}/${name}`
    const known = this.#state.workloadByUid(`${clusterId}//Pod/${key}`)
    if (known !== undefined) return known
    if (this.#byName === undefined) this.#byName = new Map(this.#state.dump().workloads.map((pod) => [`${pod.namespace}/${pod.name}`, pod]))
    return this.#byName.get(key)
  }

  /** The store itself, for the name server. */
  get state(): MeshState {
    return this.#state
  }

  readonly #addressesOf = (workload: Workload): readonly IpAddress[] =>
    isNamed(workload) ? (this.#names?.addresses(workload.hostname) ?? []) : workload.addresses

  #serviceByKey(key: ServiceKey): Service | undefined {
    const slash = key.indexOf('/')
    return this.#state.serviceByHost(key.slice(0, slash), key.slice(slash + 1))
  }

  #podsOf(waypoint: GatewayAddress): readonly Workload[] {
    if (waypoint.kind === 'hostname') return this.#state.endpointsOf(`${waypoint.namespace}/${waypoint.hostname}`)
    const service = this.#state.serviceByVip(waypoint.network, waypoint.ip, '')
    if (service !== undefined) return this.#state.endpointsOf(serviceKeyOf(service))
    const workload = this.#state.workloadByAddress(waypoint.network, waypoint.ip)
    return workload === undefined ? [] : [workload]
  }

  #addressesGone(change: StateChange): Set<IpAddress> {
    const gone = new Set<IpAddress>()
    const compare = (uid: string, now: Workload | undefined): void => {
      const old = this.#state.workloadByUid(uid)
      if (old === undefined || (now !== undefined && isSamePeer(old, now))) return
      for (const ip of old.addresses) gone.add(ip)
    }
    for (const uid of change.workloads?.removes ?? []) compare(uid, undefined)
    for (const workload of change.workloads?.upserts ?? []) compare(workload.uid, workload)
    return gone
  }
}

/** Whether a pooled connection to the old is one to the new. */
function isSamePeer(old: Workload, now: Workload): boolean {
  return (
    old.protocol === now.protocol &&
    old.isPending === now.isPending &&
    old.serviceAccount === now.serviceAccount &&
    old.namespace === now.namespace &&
    old.addresses.every((ip) => now.addresses.includes(ip))
  )
}

/** Uniform in [0, 1); unpredictable, so that a client cannot aim at one endpoint. */
export function random(): number {
  return randomBytes(4).readUInt32LE() / 2 ** 32
}
