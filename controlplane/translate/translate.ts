// All objects of one moment -> all resources of the proxies. Deterministic: the same objects give the same resources. What did
// not change since the last run is taken over by reference, so a run costs a look-up per pod, not an encoding.
import { messageOf } from '../../kit/error.ts'
import type { Cidr } from '../../model/address.ts'
import type { AuthorizationPolicy, EndpointSlice, MeshObject, Namespace, Node, Pod, Service as KubeService } from '../../model/object.ts'
import { SERVICE_NAME_LABEL } from '../../model/object.ts'
import type { Authorization } from '../../model/policy.ts'
import { type Service, serviceKeyOf } from '../../model/service.ts'
import type { PortPair, ServiceKey, Workload } from '../../model/workload.ts'
import { type PolicyOutcome, type PolicyTranslation, translateAuthorization } from './authorization.ts'
import { type Membership, type SliceTranslation, translateSlice } from './endpoint-slice.ts'
import { labelsMatch, type MeshNames, namespaceOf, noteFor, type ObjectFault, type World } from './mesh.ts'
import { RoutesTranslator, type RoutesTranslation } from './gateway/routes.ts'
import { type IstioTranslation, IstioTranslator } from './istio/istio.ts'
import { translateNetworks } from './networks.ts'
import { type PeerAuthenticationView, translatePeerAuthentications } from './peer-authentication.ts'
import { podToWorkload, uidOf } from './pod.ts'
import { isModelled, serviceToModel } from './service.ts'
import { WaypointPods } from './waypoint-pod.ts'
import { bindingOf, indexWaypoints, type WaypointBinding, withReadiness } from './waypoint.ts'

/** Everything that is published, and what is to be said about the objects. */
export interface Translation extends RoutesTranslation, IstioTranslation {
  readonly workloads: ReadonlyMap<string, Workload>
  readonly services: ReadonlyMap<ServiceKey, Service>
  /** By `namespace/name`. */
  readonly policies: ReadonlyMap<string, Authorization>
  readonly networks: readonly Cidr[]
  readonly outcomes: ReadonlyMap<AuthorizationPolicy, PolicyOutcome>
  /** Services that name a waypoint. */
  readonly bindings: ReadonlyMap<KubeService, WaypointBinding>
  /** Gateways (`namespace/name`) of which a pod takes connections. */
  readonly readyGateways: ReadonlySet<string>
  readonly faults: readonly ObjectFault[]
}

interface Memo<T> {
  readonly inputs: readonly unknown[]
  readonly value: T
  readonly faults: readonly ObjectFault[]
}

interface PodContext {
  readonly namespaces: ReadonlyMap<string, Namespace>
  readonly nodes: ReadonlyMap<string, Node>
  readonly waypoints: ReturnType<typeof indexWaypoints>
  readonly memberships: ReadonlyMap<string, readonly Membership[]>
  readonly selecting: ReadonlyMap<string, readonly AuthorizationPolicy[]>
  readonly peers: PeerAuthenticationView
  readonly waypointPods: WaypointPods
}

/** Translates again and again. Keeps what it made per object (dropped with the object). */
export class Translator {
  readonly #names: MeshNames
  readonly #routes: RoutesTranslator
  readonly #istio: IstioTranslator
  #memos = new Map<object, Memo<unknown>>()
  #next = new Map<object, Memo<unknown>>() // memos used in the run under way; the others are dropped after it

  constructor(names: MeshNames) {
    this.#names = names
    this.#routes = new RoutesTranslator(names)
    this.#istio = new IstioTranslator(names)
  }

  /** One run. */
  translate(world: World): Translation {
    const names = this.#names
    const faults: ObjectFault[] = []
    const namespaces = new Map<string, Namespace>()
    for (const namespace of world.namespaces) namespaces.set(namespace.metadata.name, namespace)
    const nodes = new Map<string, Node>()
    for (const node of world.nodes) nodes.set(node.metadata.name, node)
    const waypoints = indexWaypoints(world.gateways)
    const waypointPods = new WaypointPods(waypoints, world.serviceAccounts, names)
    const { services, byName, bindings } = this.#services(world, namespaces, waypoints, faults)
    const { memberships, bare } = this.#slices(world, byName, faults)
    const peers = translatePeerAuthentications(world.peerAuthentications, names, faults)
    const { policies, selecting, outcomes } = this.#policies(world, faults)
    for (const policy of peers.policies) policies.set(`${policy.namespace}/${policy.name}`, policy)
    const workloads = this.#workloads(world, { namespaces, nodes, waypoints, memberships, selecting, peers, waypointPods }, faults)
    for (const workload of bare) {
      const isAllowed = [...workload.services.keys()].every((service) => waypointPods.allows(service, undefined))
      if (isAllowed) workloads.set(workload.uid, workload)
    }
    const readyGateways = waypointPods.ready(workloads.values())
    for (const [service, binding] of bindings) bindings.set(service, withReadiness(binding, readyGateways))
    const networks = translateNetworks(world.nodes, world.serviceCidrs, names, faults)
    this.#memos = this.#next
    this.#next = new Map()
    const routes = this.#routes.translate({ world, services, waypoints })
    const istio = this.#istio.translate({ world, services, workloads, listeners: routes.listeners })
    faults.push(...routes.faults, ...istio.faults)
    return { ...routes, ...istio, workloads, services, policies, networks, outcomes, bindings, readyGateways, faults }
  }

  #workloads(world: World, context: PodContext, faults: ObjectFault[]): Map<string, Workload> {
    const { namespaces, nodes, waypoints, memberships, selecting, peers, waypointPods } = context
    const workloads = new Map<string, Workload>()
    eachOf(world.pods, faults, (pod) => {
      const namespace = namespaces.get(namespaceOf(pod))
      const node = nodes.get(pod.spec?.nodeName ?? '')
      const own = waypointPods.gatewayOf(pod)
      const isWaypoint = own !== undefined
      const waypoint = isWaypoint ? undefined : bindingOf(pod, namespace, 'workload', waypoints, this.#names)?.address
      const references = policyReferences(pod, selecting, peers, this.#names, world.settling)
      const all = memberships.get(`${namespaceOf(pod)}/${pod.metadata.name}`) ?? []
      const members = all.filter(({ serviceKey }) => waypointPods.allows(serviceKey, own))
      const inputs = [namespace, node, isWaypoint, waypoint?.kind === 'hostname' ? waypoint.hostname : '', references.join(), ...members]
      const workload = this.#memo(pod, inputs, faults, (found) => {
        const services = mergePorts(members)
        return podToWorkload(
          pod,
          { namespace, node, waypoint, isWaypoint, policies: references, services },
          this.#names,
          noteFor(pod, found),
        )
      })
      if (workload !== undefined) workloads.set(workload.uid, workload)
    })
    return workloads
  }

  #services(
    world: World,
    namespaces: ReadonlyMap<string, Namespace>,
    waypoints: ReturnType<typeof indexWaypoints>,
    faults: ObjectFault[],
  ): { services: Map<ServiceKey, Service>; byName: Map<string, KubeService>; bindings: Map<KubeService, WaypointBinding> } {
    const services = new Map<ServiceKey, Service>()
    const bindings = new Map<KubeService, WaypointBinding>()
    const byName = new Map<string, KubeService>()
    eachOf(world.services, faults, (service) => {
      if (!isModelled(service)) return
      const namespace = namespaces.get(namespaceOf(service))
      const binding = bindingOf(service, namespace, 'service', waypoints, this.#names)
      const waypoint = binding?.address
      if (binding !== undefined) bindings.set(service, binding)
      byName.set(`${namespaceOf(service)}/${service.metadata.name}`, service)
      const inputs = [namespace, waypoint?.kind === 'hostname' ? waypoint.hostname : '']
      const model = this.#memo(service, inputs, faults, (own) =>
        serviceToModel(service, namespace, waypoint, this.#names, noteFor(service, own)),
      )
      if (model !== undefined) services.set(serviceKeyOf(model), model)
    })
    return { services, byName, bindings }
  }

  #slices(
    world: World,
    services: ReadonlyMap<string, KubeService>,
    faults: ObjectFault[],
  ): { memberships: Map<string, Membership[]>; bare: Workload[] } {
    const memberships = new Map<string, Membership[]>()
    const bare: Workload[] = []
    for (const slice of sortedByName(world.endpointSlices)) {
      const service = services.get(`${namespaceOf(slice)}/${slice.metadata.labels?.[SERVICE_NAME_LABEL] ?? ''}`)
      if (service === undefined) continue // it comes with the service, or never
      const translation = this.#memo<SliceTranslation>(slice, [service], faults, (own) =>
        translateSlice(slice, service, this.#names, noteFor(slice, own)),
      )
      for (const [key, membership] of translation?.pods ?? []) {
        const list = memberships.get(key)
        if (list === undefined) memberships.set(key, [membership])
        else list.push(membership)
      }
      bare.push(...(translation?.workloads ?? []))
    }
    return { memberships, bare }
  }

  #policies(
    world: World,
    faults: ObjectFault[],
  ): {
    policies: Map<string, Authorization>
    selecting: Map<string, AuthorizationPolicy[]>
    outcomes: Map<AuthorizationPolicy, PolicyOutcome>
  } {
    const policies = new Map<string, Authorization>()
    const selecting = new Map<string, AuthorizationPolicy[]>()
    const outcomes = new Map<AuthorizationPolicy, PolicyOutcome>()
    for (const object of world.authorizationPolicies) {
      const { policy, outcome } =
        this.#memo<PolicyTranslation>(object, [], faults, (own) => translateAuthorization(object, this.#names, noteFor(object, own))) ??
        UNREADABLE
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

  /** The value of the last run while the inputs are the same; undefined = the object cannot be translated at all. */
  #memo<T>(object: MeshObject, inputs: readonly unknown[], faults: ObjectFault[], make: (faults: ObjectFault[]) => T): T | undefined {
    let memo = this.#memos.get(object) as Memo<T | undefined> | undefined
    if (memo === undefined || memo.inputs.length !== inputs.length || !memo.inputs.every((input, i) => input === inputs[i])) {
      const own: ObjectFault[] = []
      memo = { inputs, value: attempt(object, own, make), faults: own }
    }
    this.#next.set(object, memo)
    faults.push(...memo.faults)
    return memo.value
  }
}

const UNREADABLE: PolicyTranslation = {
  policy: undefined,
  outcome: { reason: 'Invalid', message: 'the object cannot be read; nothing of it is enforced' },
}

function eachOf<T extends MeshObject>(objects: readonly T[], faults: ObjectFault[], work: (object: T) => void): void {
  for (const object of objects) attempt(object, faults, () => work(object))
}

/** One malformed object must not stop all others. */
function attempt<T>(object: MeshObject, faults: ObjectFault[], make: (faults: ObjectFault[]) => T): T | undefined {
  try {
    return make(faults)
  } catch (error) {
    noteFor(object, faults)('', `the object cannot be read: ${messageOf(error)}`)
    return undefined
  }
}

/** Selector policies that apply to a pod: of its namespace and of the root namespace; then those of mTLS. Sorted. */
function policyReferences(
  pod: Pod,
  selecting: ReadonlyMap<string, readonly AuthorizationPolicy[]>,
  peers: PeerAuthenticationView,
  names: MeshNames,
  settling: ReadonlySet<string>,
): readonly string[] {
  const namespace = namespaceOf(pod)
  const places = namespace === names.rootNamespace ? [namespace] : [namespace, names.rootNamespace]
  const { labels } = pod.metadata
  const references = places.flatMap((place) =>
    (selecting.get(place) ?? [])
      .filter((policy) => labelsMatch(policy.spec?.selector?.matchLabels ?? {}, labels))
      .map((policy) => `${place}/${policy.metadata.name}`),
  )
  // Nodes that have not heard of the pod's enrolment yet still send it plaintext: STRICT waits for them.
  if (!settling.has(uidOf(pod, names))) references.push(...peers.referencesFor(namespace, labels))
  return references.sort()
}

function mergePorts(members: readonly Membership[]): ReadonlyMap<ServiceKey, readonly PortPair[]> {
  const services = new Map<ServiceKey, PortPair[]>()
  for (const { serviceKey, ports } of members) {
    const list = services.get(serviceKey) ?? []
    services.set(serviceKey, list)
    // A dual-stack service has a slice per family that say the same.
    for (const pair of ports) if (!list.some((known) => known.servicePort === pair.servicePort)) list.push(pair)
  }
  return services
}

function sortedByName(slices: Iterable<EndpointSlice>): EndpointSlice[] {
  return [...slices].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
}
