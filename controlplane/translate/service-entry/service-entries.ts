// All ServiceEntries -> services and workloads, and what is said of each entry. Keeps what it made: the same facts give the same values.
import { isDeepStrictEqual } from 'node:util'
import { type Cidr, isIpv6 } from '../../../model/address.ts'
import type { Gateway } from '../../../model/gateway-api.ts'
import type { Namespace, StringMap } from '../../../model/object.ts'
import type { EntryAddress, ServiceEntry } from '../../../model/service-entry.ts'
import type { Service } from '../../../model/service.ts'
import type { PortPair, ServiceKey, Workload } from '../../../model/workload.ts'
import type { Finding } from '../gateway/finding.ts'
import type { RoutedService } from '../gateway/routed-service.ts'
import { type MeshNames, namespaceOf } from '../mesh.ts'
import { preferenceOf, TRAFFIC_DISTRIBUTION } from '../service.ts'
import { bindingOf, type WaypointBinding } from '../waypoint.ts'
import { allocate, ALLOCATED_BLOCKS } from './allocate.ts'
import { entryFinding } from './finding.ts'
import { Claims, type ClaimedHost } from './claims.ts'
import { endpointUid, pairsOf, routedEntry, serviceOf, single, workloadsOf } from './model.ts'
import { type ParsedEntry, parseEntry } from './parse.ts'

/** What a run depends on. */
export interface EntriesInput {
  readonly objects: readonly ServiceEntry[]
  readonly namespaces: ReadonlyMap<string, Namespace>
  readonly waypoints: ReadonlyMap<string, Gateway>
  /** Blocks of pods and Services: nobody's entry may have addresses there. */
  readonly networks: readonly Cidr[]
  readonly isService: (key: ServiceKey) => boolean
}

/** Pods that an entry selects, and the ports by which they serve its hosts. */
export interface EntrySelection {
  readonly labels: StringMap
  readonly services: readonly ServiceKey[]
  readonly ports: readonly PortPair[]
}

/** What is said of an entry. */
export interface EntryOutcome {
  readonly finding: Finding
  readonly binding: WaypointBinding | undefined
  /** Addresses that were given to its hosts. */
  readonly addresses: readonly EntryAddress[]
}

/** A published endpoint and the labels that were written for it. */
export interface EntryMember {
  readonly workload: Workload
  readonly labels: StringMap
}

/** What a run gives. */
export interface EntriesResult {
  readonly services: ReadonlyMap<ServiceKey, Service>
  readonly routed: ReadonlyMap<ServiceKey, RoutedService>
  /** Hosts in force by the entry's `namespace/name`. */
  readonly hosts: ReadonlyMap<string, readonly ServiceKey[]>
  readonly members: readonly EntryMember[]
  /** By namespace. */
  readonly selecting: ReadonlyMap<string, readonly EntrySelection[]>
  readonly outcomes: ReadonlyMap<ServiceEntry, EntryOutcome>
  /** Blocks that addresses were given from. */
  readonly blocks: readonly Cidr[]
}

/** An entry with what others leave of it. */
interface Placed {
  readonly object: ServiceEntry
  readonly parsed: ParsedEntry
  readonly hosts: readonly ClaimedHost[]
  readonly addresses: readonly Cidr[]
  /** Hosts and addresses that are not in force. */
  readonly refused: readonly string[]
}

interface Made {
  readonly facts: unknown
  readonly services: readonly (readonly [ServiceKey, Service])[]
  readonly members: readonly EntryMember[]
  readonly routed: RoutedService
  readonly selection: EntrySelection | undefined
}

interface Kept {
  readonly object: ServiceEntry
  readonly parsed: ParsedEntry
  made?: Made
  outcome?: EntryOutcome
}

/** Without entries. */
export const NO_ENTRIES: EntriesResult = {
  services: new Map(),
  routed: new Map(),
  hosts: new Map(),
  members: [],
  selecting: new Map(),
  outcomes: new Map(),
  blocks: [],
}

/** Translates again and again. */
export class ServiceEntries {
  readonly #names: MeshNames
  #kept = new Map<string, Kept>()

  constructor(names: MeshNames) {
    this.#names = names
  }

  /** One run. Never throws for what objects hold. */
  run(input: EntriesInput): EntriesResult {
    if (input.objects.length === 0) return NO_ENTRIES
    const placed = this.#place(input)
    const wanting = placed.flatMap(({ object, parsed, hosts, addresses }) =>
      parsed.allocates || (parsed.addresses.length > 0 && addresses.length === 0 && parsed.resolution !== 'NONE')
        ? hosts.filter(({ host }) => !host.startsWith('*')).map(({ host }) => ({ key: placeOf(parsed, host), host, object }))
        : [],
    )
    const hasIpv6 = input.networks.some(({ ip }) => isIpv6(ip))
    const given = allocate(wanting, hasIpv6)
    const result = emptyResult(given.size > 0 ? ALLOCATED_BLOCKS.filter(({ ip }) => hasIpv6 || !isIpv6(ip)) : [])
    for (const one of placed) this.#add(one, given, input, result)
    return result
  }

  /** Oldest first: of two that want the same the older has it. */
  #place(input: EntriesInput): Placed[] {
    const next = new Map<string, Kept>()
    const entries = input.objects.map((object) => {
      const known = this.#kept.get(keyOf(object))
      const kept: Kept =
        known !== undefined && isSame(known.object, object) ? { ...known, object } : { object, parsed: parseEntry(object, this.#names) }
      next.set(keyOf(object), kept)
      return kept
    })
    this.#kept = next
    const claims = new Claims(input, this.#names)
    return entries
      .sort((a, b) => compareAge(a.parsed, b.parsed))
      .map(({ object, parsed }) => {
        const refused: string[] = []
        const hosts = claims.hosts(parsed, refused)
        return { object, parsed, hosts, addresses: hosts.length === 0 ? [] : claims.addresses(parsed, refused), refused }
      })
  }

  #add(
    { object, parsed, hosts, addresses, refused }: Placed,
    given: ReadonlyMap<string, readonly Cidr['ip'][]>,
    input: EntriesInput,
    result: Filling,
  ): void {
    const namespace = input.namespaces.get(parsed.namespace)
    const binding = hosts.length === 0 ? undefined : bindingOf(object, namespace, 'service', input.waypoints, this.#names)
    const notes: string[] = []
    const own = object.metadata.annotations?.[TRAFFIC_DISTRIBUTION]
    const balancing = preferenceOf(own, namespace, false, (_, message) => notes.push(`metadata.annotations: ${message}`))
    const facts = hosts.map(({ host, isCanonical }) => {
      const vips = addresses.length > 0 ? addresses : (given.get(placeOf(parsed, host)) ?? []).map(single)
      return { host, isCanonical, vips }
    })
    const made = this.#make(parsed, { waypoint: binding?.address, balancing, names: this.#names }, facts)
    for (const [key, service] of made.services) {
      result.services.set(key, service)
      result.routed.set(key, made.routed)
    }
    result.hosts.set(
      `${parsed.namespace}/${parsed.name}`,
      made.services.map(([key]) => key),
    )
    result.members.push(...made.members)
    if (made.selection !== undefined)
      result.selecting.set(parsed.namespace, [...(result.selecting.get(parsed.namespace) ?? []), made.selection])
    const finding = entryFinding(parsed, {
      services: made.services.map(([, service]) => service),
      refused: [...refused, ...notes],
      binding,
    })
    const allocated = facts.flatMap(({ host }) => (given.get(placeOf(parsed, host)) ?? []).map((value) => ({ value, host })))
    result.outcomes.set(object, this.#keep(object, { finding, binding, addresses: allocated }))
  }

  #make(parsed: ParsedEntry, facts: Parameters<typeof serviceOf>[2], hosts: readonly Parameters<typeof serviceOf>[1][]): Made {
    const kept = this.#kept.get(`${parsed.namespace}/${parsed.name}`)
    const inputs = { waypoint: facts.waypoint, balancing: facts.balancing, hosts }
    if (kept?.made !== undefined && isDeepStrictEqual(kept.made.facts, inputs)) return kept.made
    const services = hosts.map((host): readonly [ServiceKey, Service] => [
      `${parsed.namespace}/${host.host}`,
      serviceOf(parsed, host, facts),
    ])
    const keys = services.map(([key]) => key)
    const labels = new Map(parsed.endpoints.map((endpoint) => [endpointUid(parsed, endpoint, this.#names), endpoint.labels ?? {}]))
    const workloads = keys.length === 0 ? [] : workloadsOf(parsed, keys, this.#names)
    const made: Made = {
      facts: inputs,
      services,
      members: workloads.map((workload) => ({ workload, labels: labels.get(workload.uid) ?? {} })),
      routed: routedEntry(parsed),
      selection:
        parsed.selector === undefined || keys.length === 0
          ? undefined
          : { labels: parsed.selector, services: keys, ports: pairsOf(parsed) },
    }
    if (kept !== undefined) kept.made = made
    return made
  }

  #keep(object: ServiceEntry, outcome: EntryOutcome): EntryOutcome {
    const kept = this.#kept.get(keyOf(object))
    if (kept?.outcome !== undefined && isDeepStrictEqual(kept.outcome, outcome)) return kept.outcome
    if (kept !== undefined) kept.outcome = outcome
    return outcome
  }
}

/** A result that is being filled. */
interface Filling extends EntriesResult {
  readonly services: Map<ServiceKey, Service>
  readonly routed: Map<ServiceKey, RoutedService>
  readonly hosts: Map<string, readonly ServiceKey[]>
  readonly members: EntryMember[]
  readonly selecting: Map<string, readonly EntrySelection[]>
  readonly outcomes: Map<ServiceEntry, EntryOutcome>
}

function emptyResult(blocks: readonly Cidr[]): Filling {
  return { services: new Map(), routed: new Map(), hosts: new Map(), members: [], selecting: new Map(), outcomes: new Map(), blocks }
}

function placeOf({ namespace, name }: ParsedEntry, host: string): string {
  return `${namespace}/${name}/${host}`
}

function keyOf(object: ServiceEntry): string {
  return `${namespaceOf(object)}/${object.metadata.name}`
}

/** What parsing depends on: not the status. */
function isSame(a: ServiceEntry, b: ServiceEntry): boolean {
  const facts = ({ metadata, spec }: ServiceEntry): unknown => [metadata.creationTimestamp, metadata.labels, spec]
  return a === b || isDeepStrictEqual(facts(a), facts(b))
}

/** Oldest first; one without a time is newest. */
function compareAge(a: ParsedEntry, b: ParsedEntry): number {
  const [left, right] = [a, b].map(({ createdAt, namespace, name }) => `${createdAt === '' ? '~' : createdAt} ${namespace}/${name}`)
  return (left ?? '') < (right ?? '') ? -1 : 1
}
