// All pods -> workloads, kept from run to run. A run translates the pods that changed and those that something else changed for
// (their namespace, node, policies, waypoints, memberships); of these, only what has become another value counts as changed.
import { isDeepStrictEqual } from 'node:util'
import type { Gateway } from '../../model/gateway-api.ts'
import type { AuthorizationPolicy } from '../../model/istio-security.ts'
import type { Namespace, Node, Pod } from '../../model/object.ts'
import type { PortPair, ServiceKey, Workload } from '../../model/workload.ts'
import { attempt } from './memo.ts'
import type { Memberships, SliceMember } from './memberships.ts'
import { labelsMatch, type MeshNames, namespaceOf, noteFor, type ObjectFault } from './mesh.ts'
import type { PeerAuthenticationView } from './peer-authentication.ts'
import { localityOf, podToWorkload, uidOf } from './pod.ts'
import type { EntriesResult, EntrySelection } from './service-entry/service-entries.ts'
import type { WaypointPods } from './waypoint-pod.ts'
import { bindingOf } from './waypoint.ts'

/** What pods are translated with, besides themselves. */
export interface PodContext {
  readonly namespaces: ReadonlyMap<string, Namespace>
  readonly nodes: ReadonlyMap<string, Node>
  /** By `namespace/name`; the same map while no waypoint has changed but in its status. */
  readonly waypoints: ReadonlyMap<string, Gateway>
  /** The same value while it answers the same. */
  readonly waypointPods: WaypointPods
  /** Selector policies by namespace. */
  readonly selecting: ReadonlyMap<string, readonly AuthorizationPolicy[]>
  /** The same value while it answers the same. */
  readonly peers: PeerAuthenticationView
  /** Uids. */
  readonly settling: ReadonlySet<string>
  readonly memberships: Memberships
  /** Pods that ServiceEntries select, and endpoints that they write. */
  readonly entries: Pick<EntriesResult, 'selecting' | 'members'>
}

/** What to look at. */
export interface PodRun {
  /** Pods that changed since the last run, by `namespace/name`; undefined = gone. */
  readonly changed: ReadonlyMap<string, Pod | undefined>
  /** Pods (`namespace/name`) whose memberships have changed. */
  readonly moved: ReadonlySet<string>
  readonly context: PodContext
}

const NO_POLICIES: readonly string[] = []

/** All pods and all endpoints without a pod. */
export class PodTranslator {
  readonly #names: MeshNames
  readonly #pods = new Map<string, Pod>()
  readonly #workloads = new Map<string, Workload>()
  readonly #faults = new Map<string, readonly ObjectFault[]>() // of pods that have any
  readonly #tunnels = new Map<string, Workload>() // those that take HBONE by themselves: few
  readonly #services = new WeakMap<readonly SliceMember[], ReadonlyMap<ServiceKey, readonly PortPair[]>>()
  #bare = new Set<string>()
  #last: PodContext | undefined

  constructor(names: MeshNames) {
    this.#names = names
  }

  /** By uid; changes in place with the next run. */
  get workloads(): ReadonlyMap<string, Workload> {
    return this.#workloads
  }

  get tunnels(): Iterable<Workload> {
    return this.#tunnels.values()
  }

  *faults(): Generator<ObjectFault> {
    for (const list of this.#faults.values()) yield* list
  }

  pod(key: string): Pod | undefined {
    return this.#pods.get(key)
  }

  *podsIn(namespace: string): Generator<Pod> {
    for (const pod of this.#pods.values()) if (namespaceOf(pod) === namespace) yield pod
  }

  /** Differences between what was given to the runs before and a full list. */
  compare(pods: Iterable<Pod>): Map<string, Pod | undefined> {
    const changed = new Map<string, Pod | undefined>()
    const seen = new Set<string>()
    for (const pod of pods) {
      const key = keyOf(pod)
      seen.add(key)
      if (this.#pods.get(key) !== pod) changed.set(key, pod)
      else changed.delete(key) // a list may name one twice: the last counts
    }
    for (const key of this.#pods.keys()) if (!seen.has(key)) changed.set(key, undefined)
    return changed
  }

  /** @returns workloads that are other values now, by uid, as they were before */
  run({ changed, moved, context }: PodRun): Map<string, Workload | undefined> {
    const before = new Map<string, Workload | undefined>()
    for (const key of new Set([...moved, ...this.#stale(context)])) {
      const pod = changed.has(key) ? undefined : this.#pods.get(key)
      if (pod !== undefined) this.#translate(key, pod, context, before)
    }
    for (const [key, pod] of changed) {
      if (pod === undefined) this.#remove(key, before)
      else this.#translate(key, pod, context, before)
    }
    this.#placeBare(context, before)
    this.#last = { ...context, settling: new Set(context.settling) }
    return before
  }

  /** Pods for which something of the context has changed. */
  #stale(context: PodContext): Set<string> {
    const last = this.#last
    const stale = new Set<string>()
    if (last === undefined) return stale
    const { isAll, namespaces, nodes } = differenceOf(last, context, this.#names)
    if (isAll || namespaces.size + nodes.size > 0)
      for (const [key, pod] of this.#pods)
        if (isAll || namespaces.has(namespaceOf(pod)) || nodes.has(pod.spec?.nodeName ?? '')) stale.add(key)
    const prefix = uidOf({ metadata: { name: '' } } as Pod, this.#names).length - 1
    for (const uid of new Set([...last.settling, ...context.settling]))
      if (last.settling.has(uid) !== context.settling.has(uid)) stale.add(uid.slice(prefix))
    return stale
  }

  #translate(key: string, pod: Pod, context: PodContext, before: Map<string, Workload | undefined>): void {
    const faults: ObjectFault[] = []
    const workload = attempt(pod, faults, (own) => this.#make(key, pod, context, own))
    this.#pods.set(key, pod)
    if (faults.length > 0) this.#faults.set(key, faults)
    else this.#faults.delete(key)
    this.#put(workload?.uid ?? uidOf(pod, this.#names), workload, before) // the same text, kept once
  }

  #make(key: string, pod: Pod, context: PodContext, faults: ObjectFault[]): Workload | undefined {
    const { namespaces, nodes, waypoints, waypointPods, selecting, peers, settling, memberships, entries } = context
    const namespace = namespaces.get(namespaceOf(pod))
    const own = waypointPods.gatewayOf(pod)
    const waypoint = own === undefined ? bindingOf(pod, namespace, 'workload', waypoints, this.#names)?.address : undefined
    const all = memberships.of(key)
    const members = all.every(({ membership }) => waypointPods.allows(membership.serviceKey, own))
      ? all
      : all.filter(({ membership }) => waypointPods.allows(membership.serviceKey, own))
    const inputs = {
      namespace,
      node: nodes.get(pod.spec?.nodeName ?? ''),
      waypoint,
      isWaypoint: own !== undefined,
      policies: policyReferences(pod, selecting, peers, this.#names, settling),
      services: withEntries(this.#servicesOf(members), entries.selecting.get(namespaceOf(pod)), pod),
    }
    return podToWorkload(pod, inputs, this.#names, noteFor(pod, faults))
  }

  /** One map for all pods that are in the same slices. */
  #servicesOf(members: readonly SliceMember[]): ReadonlyMap<ServiceKey, readonly PortPair[]> {
    const kept = this.#services.get(members)
    if (kept !== undefined) return kept
    const services = mergePorts(members)
    this.#services.set(members, services)
    return services
  }

  #remove(key: string, before: Map<string, Workload | undefined>): void {
    const pod = this.#pods.get(key)
    this.#pods.delete(key)
    this.#faults.delete(key)
    if (pod !== undefined) this.#put(uidOf(pod, this.#names), undefined, before)
  }

  #placeBare({ memberships, waypointPods, entries }: PodContext, before: Map<string, Workload | undefined>): void {
    const bare = new Set<string>()
    for (const workload of memberships.bare()) {
      if (![...workload.services.keys()].every((service) => waypointPods.allows(service, undefined))) continue
      bare.add(workload.uid)
      this.#put(workload.uid, workload, before)
    }
    for (const { workload } of entries.members) {
      bare.add(workload.uid)
      this.#put(workload.uid, workload, before)
    }
    for (const uid of this.#bare) if (!bare.has(uid)) this.#put(uid, undefined, before)
    this.#bare = bare
  }

  #put(uid: string, workload: Workload | undefined, before: Map<string, Workload | undefined>): void {
    const old = this.#workloads.get(uid)
    if (old === workload || (old !== undefined && workload !== undefined && isSameWorkload(old, workload))) return
    if (!before.has(uid)) before.set(uid, old)
    if (workload === undefined) this.#workloads.delete(uid)
    else this.#workloads.set(uid, workload)
    if (workload?.hasNativeTunnel === true) this.#tunnels.set(uid, workload)
    else this.#tunnels.delete(uid)
  }
}

/** Services of a pod with the hosts of the ServiceEntries that select it. */
function withEntries(
  services: ReadonlyMap<ServiceKey, readonly PortPair[]>,
  selections: readonly EntrySelection[] | undefined,
  pod: Pod,
): ReadonlyMap<ServiceKey, readonly PortPair[]> {
  const own = (selections ?? []).filter(({ labels }) => labelsMatch(labels, pod.metadata.labels))
  if (own.length === 0) return services
  const all = new Map(services)
  for (const selection of own) for (const key of selection.services) all.set(key, selection.ports)
  return all
}

/** `namespace/name` */
export function keyOf({ metadata }: Pod): string {
  return `${metadata.namespace ?? ''}/${metadata.name}`
}

/** Whose pods are to be looked at again. */
function differenceOf(
  last: PodContext,
  next: PodContext,
  names: MeshNames,
): { readonly isAll: boolean; readonly namespaces: ReadonlySet<string>; readonly nodes: ReadonlySet<string> } {
  const namespaces = new Set(differingKeys(last.namespaces, next.namespaces, (a, b) => a === b))
  for (const namespace of differingKeys(last.selecting, next.selecting, hasSameSelectors)) namespaces.add(namespace)
  for (const namespace of differingKeys(last.entries.selecting, next.entries.selecting, isDeepStrictEqual)) namespaces.add(namespace)
  const isSameLocality = (a: Node | undefined, b: Node | undefined): boolean => a === b || isDeepStrictEqual(localityOf(a), localityOf(b))
  const nodes = new Set(differingKeys(last.nodes, next.nodes, isSameLocality))
  const isAll =
    last.waypoints !== next.waypoints ||
    last.waypointPods !== next.waypointPods ||
    last.peers !== next.peers ||
    !hasSameSelectors(last.selecting.get(names.rootNamespace), next.selecting.get(names.rootNamespace))
  return { isAll, namespaces, nodes }
}

function differingKeys<T>(
  last: ReadonlyMap<string, T>,
  next: ReadonlyMap<string, T>,
  isSame: (a: T | undefined, b: T | undefined) => boolean,
): string[] {
  const keys: string[] = []
  for (const [key, value] of next) if (!isSame(last.get(key), value)) keys.push(key)
  for (const key of last.keys()) if (!next.has(key)) keys.push(key)
  return keys
}

/** Whether the policies of a namespace select the same pods under the same names. */
function hasSameSelectors(a: readonly AuthorizationPolicy[] = [], b: readonly AuthorizationPolicy[] = []): boolean {
  const isSame = (policy: AuthorizationPolicy, other: AuthorizationPolicy | undefined): boolean =>
    policy === other || (policy.metadata.name === other?.metadata.name && isDeepStrictEqual(policy.spec?.selector, other.spec?.selector))
  return a === b || (a.length === b.length && a.every((policy, i) => isSame(policy, b[i])))
}

function isSameWorkload(a: Workload, b: Workload): boolean {
  return (Object.keys(a) as (keyof Workload)[]).every(
    (key) => a[key] === b[key] || (typeof a[key] === 'object' && isDeepStrictEqual(a[key], b[key])),
  )
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
  const references: string[] = []
  for (const place of places)
    for (const policy of selecting.get(place) ?? [])
      if (labelsMatch(policy.spec?.selector?.matchLabels ?? {}, labels)) references.push(`${place}/${policy.metadata.name}`)
  // Nodes that have not heard of the pod's enrolment yet still send it plaintext: STRICT waits for them.
  if (!settling.has(uidOf(pod, names))) references.push(...peers.referencesFor(namespace, labels))
  return references.length === 0 ? NO_POLICIES : references.sort()
}

function mergePorts(members: readonly SliceMember[]): ReadonlyMap<ServiceKey, readonly PortPair[]> {
  const services = new Map<ServiceKey, PortPair[]>()
  for (const { membership } of members) {
    const { serviceKey, ports } = membership
    const list = services.get(serviceKey) ?? []
    services.set(serviceKey, list)
    // A dual-stack service has a slice per family that say the same.
    for (const pair of ports) if (!list.some((known) => known.servicePort === pair.servicePort)) list.push(pair)
  }
  return services
}
