// All objects of one moment -> all resources of the proxies. Deterministic: the same objects give the same resources. What did not
// change since the last run is taken over by reference; a run costs a comparison per object, and for pods, of which there are many,
// nothing but those that have changed.
import type { Cidr } from '../../model/address.ts'
import type { Gateway } from '../../model/gateway-api.ts'
import type { AuthorizationPolicy } from '../../model/istio-security.ts'
import type { MeshObject, Namespace, Node, Pod, Service as KubeService } from '../../model/object.ts'
import { SERVICE_NAME_LABEL } from '../../model/object.ts'
import type { Authorization } from '../../model/policy.ts'
import { type Service, serviceKeyOf } from '../../model/service.ts'
import type { ServiceEntry } from '../../model/service-entry.ts'
import type { ServiceKey, Workload } from '../../model/workload.ts'
import { type PolicyOutcome, type PolicyTranslation, translateAuthorization } from './authorization.ts'
import { type SliceTranslation, translateSlice } from './endpoint-slice.ts'
import type { Finding } from './gateway/finding.ts'
import { RoutesTranslator, type RoutesTranslation } from './gateway/routes.ts'
import type { Member } from './istio/backends.ts'
import { type IstioTranslation, IstioTranslator } from './istio/istio.ts'
import { attempt, LastValue, ObjectMemos } from './memo.ts'
import { Memberships } from './memberships.ts'
import { type MeshNames, namespaceOf, noteFor, type ObjectFault, type World } from './mesh.ts'
import { translateNetworks } from './networks.ts'
import { type PeerAuthenticationView, translatePeerAuthentications } from './peer-authentication.ts'
import { uidOf } from './pod.ts'
import { PodTranslator } from './pods.ts'
import { isModelled, serviceToModel } from './service.ts'
import { type EntriesResult, type EntryOutcome, ServiceEntries } from './service-entry/service-entries.ts'
import { WaypointPods } from './waypoint-pod.ts'
import { WaypointPolicies } from './waypoint-policies.ts'
import { bindingOf, hasSameWaypoints, indexWaypoints, type WaypointBinding, withReadiness } from './waypoint.ts'

/** Everything that is published, and what is to be said about the objects. In force until the next run. */
export interface Translation extends RoutesTranslation, IstioTranslation {
  readonly workloads: ReadonlyMap<string, Workload>
  readonly services: ReadonlyMap<ServiceKey, Service>
  /** By `namespace/name`. */
  readonly policies: ReadonlyMap<string, Authorization>
  readonly networks: readonly Cidr[]
  readonly outcomes: ReadonlyMap<AuthorizationPolicy, PolicyOutcome>
  /** Services that name a waypoint. */
  readonly bindings: ReadonlyMap<KubeService, WaypointBinding>
  readonly entries: ReadonlyMap<ServiceEntry, EntryOutcome>
  /** Policies that name services or waypoints. */
  readonly waypointFindings: ReadonlyMap<AuthorizationPolicy, Finding>
  /** Gateways (`namespace/name`) of which a pod takes connections. */
  readonly readyGateways: ReadonlySet<string>
  readonly faults: readonly ObjectFault[]
  /** Workloads that are other values than in the run before, by uid, as they were then; undefined = it is not known which. */
  readonly changed: ReadonlyMap<string, Workload | undefined> | undefined
}

interface Services {
  readonly services: Map<ServiceKey, Service>
  readonly byName: Map<string, KubeService>
  readonly bindings: Map<KubeService, WaypointBinding>
}

interface Policies {
  readonly policies: Map<string, Authorization>
  readonly selecting: Map<string, AuthorizationPolicy[]>
  readonly outcomes: Map<AuthorizationPolicy, PolicyOutcome>
}

/** Translates again and again. Keeps what it made per object (dropped with the object). */
export class Translator {
  readonly #names: MeshNames
  readonly #routes: RoutesTranslator
  readonly #istio: IstioTranslator
  readonly #entries: ServiceEntries
  readonly #waypointPolicies = new WaypointPolicies()
  readonly #memos = new ObjectMemos()
  readonly #networks = new LastValue<{ readonly networks: readonly Cidr[]; readonly faults: readonly ObjectFault[] }>()
  readonly #peers = new LastValue<{ readonly peers: PeerAuthenticationView; readonly faults: readonly ObjectFault[] }>()
  readonly #allNetworks = new LastValue<readonly Cidr[]>()
  #pods: PodTranslator
  #memberships = new Memberships()
  #waypoints: ReadonlyMap<string, Gateway> = new Map() // the same map while no waypoint changes but in its status
  #waypointPods: WaypointPods | undefined
  #isWhole = false // the last run has come to its end

  constructor(names: MeshNames) {
    this.#names = names
    this.#routes = new RoutesTranslator(names)
    this.#istio = new IstioTranslator(names)
    this.#entries = new ServiceEntries(names)
    this.#pods = new PodTranslator(names)
  }

  /**
   * One run.
   * @param changedPods pods that changed since the last run, by `namespace/name` (undefined = gone); when not given, all are compared
   */
  translate(world: World, changedPods?: ReadonlyMap<string, Pod | undefined>): Translation {
    const isWhole = this.#isWhole
    if (!isWhole) {
      this.#pods = new PodTranslator(this.#names)
      this.#memberships = new Memberships()
    }
    this.#isWhole = false
    const translation = this.#run(world, isWhole ? changedPods : undefined)
    this.#isWhole = true
    return isWhole ? translation : { ...translation, changed: undefined }
  }

  #run(world: World, changedPods: ReadonlyMap<string, Pod | undefined> | undefined): Translation {
    const faults: ObjectFault[] = []
    const namespaces = new Map<string, Namespace>()
    for (const namespace of world.namespaces) namespaces.set(namespace.metadata.name, namespace)
    const nodes = new Map<string, Node>()
    for (const node of world.nodes) nodes.set(node.metadata.name, node)
    const waypoints = indexWaypoints(world.gateways)
    const waypointPods = this.#waypointPodsOf(world, waypoints)
    const networks = this.#networksOf(world, faults)
    const { services, byName, bindings } = this.#services(world, namespaces, waypoints, faults)
    const isService = (key: ServiceKey): boolean => services.has(key)
    const entries = this.#entries.run({ objects: world.serviceEntries, namespaces, waypoints, networks, isService })
    for (const [key, service] of entries.services) services.set(key, service)
    const moved = this.#memberships.update(this.#slices(world, byName, faults))
    const peers = this.#peersOf(world, faults)
    const { policies, selecting, outcomes } = this.#policies(world, faults)
    for (const policy of peers.policies) policies.set(`${policy.namespace}/${policy.name}`, policy)
    const { settling } = world
    const memberships = this.#memberships
    const context = { namespaces, nodes, waypoints: this.#waypoints, waypointPods, selecting, peers, settling, memberships, entries }
    const changed = this.#pods.run({ changed: changedPods ?? this.#pods.compare(world.pods), moved, context })
    faults.push(...this.#pods.faults())
    const { workloads } = this.#pods
    const readyGateways = waypointPods.ready(this.#pods.tunnels)
    for (const [service, binding] of bindings) bindings.set(service, withReadiness(binding, readyGateways))
    this.#memos.endRun()
    const routes = this.#routes.translate({ world, services, waypoints, entries })
    const membersOf = (wanted: ReadonlySet<ServiceKey>): Map<ServiceKey, Member[]> => this.#members(wanted, entries)
    const istio = this.#istio.translate({ world, services, membersOf, listeners: routes.listeners, entries })
    const targets = { names: this.#names, waypoints, entries, hasService: isService }
    const guarded = this.#waypointPolicies.run(world.authorizationPolicies, istio.listeners, targets)
    faults.push(...routes.faults, ...istio.faults, ...findingFaults(entryFindings(entries)), ...findingFaults(guarded.findings))
    const published = {
      workloads,
      services,
      policies,
      networks: this.#allNetworks.get([networks, entries.blocks.length], () => [...networks, ...entries.blocks]),
      entries: withReadyWaypoints(entries.outcomes, readyGateways),
      listeners: guarded.listeners,
      waypointFindings: guarded.findings,
    }
    return { ...routes, ...istio, ...published, outcomes, bindings, readyGateways, faults, changed }
  }

  #waypointPodsOf(world: World, waypoints: ReadonlyMap<string, Gateway>): WaypointPods {
    if (!hasSameWaypoints(this.#waypoints, waypoints)) this.#waypoints = waypoints
    const next = new WaypointPods(this.#waypoints, world.serviceAccounts, this.#names)
    if (this.#waypointPods?.isSame(next) !== true) this.#waypointPods = next
    return this.#waypointPods
  }

  #peersOf({ peerAuthentications }: World, faults: ObjectFault[]): PeerAuthenticationView {
    const kept = this.#peers.get(peerAuthentications, () => {
      const own: ObjectFault[] = []
      return { peers: translatePeerAuthentications(peerAuthentications, this.#names, own), faults: own }
    })
    faults.push(...kept.faults)
    return kept.peers
  }

  #networksOf({ nodes, serviceCidrs }: World, faults: ObjectFault[]): readonly Cidr[] {
    const kept = this.#networks.get([nodes.length, ...nodes, ...serviceCidrs], () => {
      const own: ObjectFault[] = []
      return { networks: translateNetworks(nodes, serviceCidrs, this.#names, own), faults: own }
    })
    faults.push(...kept.faults)
    return kept.networks
  }

  #services(
    world: World,
    namespaces: ReadonlyMap<string, Namespace>,
    waypoints: ReadonlyMap<string, Gateway>,
    faults: ObjectFault[],
  ): Services {
    const services = new Map<ServiceKey, Service>()
    const bindings = new Map<KubeService, WaypointBinding>()
    const byName = new Map<string, KubeService>()
    const add = (service: KubeService): void => {
      if (!isModelled(service)) return
      const namespace = namespaces.get(namespaceOf(service))
      const binding = bindingOf(service, namespace, 'service', waypoints, this.#names)
      const waypoint = binding?.address
      if (binding !== undefined) bindings.set(service, binding)
      byName.set(`${namespaceOf(service)}/${service.metadata.name}`, service)
      const inputs = [namespace, waypoint?.kind === 'hostname' ? waypoint.hostname : '']
      const model = this.#memos.get(service, inputs, faults, (own) =>
        serviceToModel(service, namespace, waypoint, this.#names, noteFor(service, own)),
      )
      if (model !== undefined) services.set(serviceKeyOf(model), model)
    }
    for (const service of world.services) attempt(service, faults, () => add(service))
    return { services, byName, bindings }
  }

  /** By the slice's `namespace/name`. */
  #slices(world: World, services: ReadonlyMap<string, KubeService>, faults: ObjectFault[]): Map<string, SliceTranslation> {
    const translations = new Map<string, SliceTranslation>()
    for (const slice of world.endpointSlices) {
      const service = services.get(`${namespaceOf(slice)}/${slice.metadata.labels?.[SERVICE_NAME_LABEL] ?? ''}`)
      if (service === undefined) continue // it comes with the service, or never
      const translation = this.#memos.get<SliceTranslation>(slice, [service], faults, (own) =>
        translateSlice(slice, service, this.#names, noteFor(slice, own)),
      )
      if (translation !== undefined) translations.set(`${namespaceOf(slice)}/${slice.metadata.name}`, translation)
    }
    return translations
  }

  #policies(world: World, faults: ObjectFault[]): Policies {
    const policies = new Map<string, Authorization>()
    const selecting = new Map<string, AuthorizationPolicy[]>()
    const outcomes = new Map<AuthorizationPolicy, PolicyOutcome>()
    for (const object of world.authorizationPolicies) {
      const { policy, outcome } =
        this.#memos.get<PolicyTranslation>(object, [], faults, (own) =>
          translateAuthorization(object, this.#names, noteFor(object, own)),
        ) ?? UNREADABLE
      if (outcome !== undefined) outcomes.set(object, outcome)
      if (policy === undefined) continue
      policies.set(`${policy.namespace}/${policy.name}`, policy)
      if (policy.scope !== 'WORKLOAD_SELECTOR') continue
      const list = selecting.get(policy.namespace)
      if (list === undefined) selecting.set(policy.namespace, [object])
      else list.push(object)
    }
    return { policies, selecting, outcomes }
  }

  /** Workloads behind services, with the labels of their pods. */
  #members(wanted: ReadonlySet<ServiceKey>, { members, selecting }: EntriesResult): Map<ServiceKey, Member[]> {
    const { workloads } = this.#pods
    const found = new Map<ServiceKey, Map<string, Member>>([...wanted].map((service) => [service, new Map()]))
    for (const [service, keys] of this.#memberships.podsOf(wanted)) {
      for (const key of keys) {
        const pod = this.#pods.pod(key)
        const uid = pod === undefined ? '' : uidOf(pod, this.#names)
        if (workloads.get(uid)?.services.has(service) === true) found.get(service)?.set(uid, { uid, labels: pod?.metadata.labels ?? {} })
      }
    }
    for (const [namespace, selections] of selecting) {
      if (!selections.some(({ services }) => services.some((service) => wanted.has(service)))) continue
      for (const pod of this.#pods.podsIn(namespace)) {
        const uid = uidOf(pod, this.#names)
        for (const service of workloads.get(uid)?.services.keys() ?? [])
          found.get(service)?.set(uid, { uid, labels: pod.metadata.labels ?? {} })
      }
    }
    for (const { workload, labels } of members)
      for (const service of workload.services.keys()) found.get(service)?.set(workload.uid, { uid: workload.uid, labels })
    for (const { uid, services } of this.#memberships.bare()) {
      if (!workloads.has(uid)) continue
      for (const service of services.keys()) found.get(service)?.set(uid, { uid, labels: {} })
    }
    return new Map([...found].map(([service, members]) => [service, [...members.values()]]))
  }
}

const READY = new WeakMap<EntryOutcome, EntryOutcome>()

/** An outcome that says the same is the same value again. */
function withReadyWaypoints(
  outcomes: ReadonlyMap<ServiceEntry, EntryOutcome>,
  ready: ReadonlySet<string>,
): ReadonlyMap<ServiceEntry, EntryOutcome> {
  return new Map(
    [...outcomes].map(([object, outcome]) => {
      const binding = outcome.binding === undefined ? undefined : withReadiness(outcome.binding, ready)
      if (binding === outcome.binding) return [object, outcome]
      const known = READY.get(outcome)
      const next = known?.binding?.reason === binding?.reason && known !== undefined ? known : { ...outcome, binding }
      READY.set(outcome, next)
      return [object, next]
    }),
  )
}

/** One fault per object of which something is not in force. */
function findingFaults(findings: Iterable<readonly [MeshObject, Finding]>): ObjectFault[] {
  const faults: ObjectFault[] = []
  for (const [object, { status, reason, message }] of findings)
    if (status !== 'True' || reason !== 'Accepted') noteFor(object, faults)('spec', message)
  return faults
}

function* entryFindings({ outcomes }: EntriesResult): Generator<readonly [MeshObject, Finding]> {
  for (const [object, { finding }] of outcomes) yield [object, finding]
}

const UNREADABLE: PolicyTranslation = {
  policy: undefined,
  outcome: { reason: 'Invalid', message: 'the object cannot be read; nothing of it is enforced' },
}
