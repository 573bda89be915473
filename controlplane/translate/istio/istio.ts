// Istio's traffic objects over what the Gateway API's routes have made: listeners with routes and faults of VirtualServices.
// Keeps what it made: a changed object costs its own translation and that of the listeners it is bound to.
import { isDeepStrictEqual } from 'node:util'
import type { VirtualService } from '../../../model/istio-networking.ts'
import type { MeshObject } from '../../../model/object.ts'
import type { Listener } from '../../../model/route.ts'
import type { Service } from '../../../model/service.ts'
import type { ServiceKey } from '../../../model/workload.ts'
import type { Finding } from '../gateway/finding.ts'
import { type MeshNames, namespaceOf, noteFor, type ObjectFault, type World } from '../mesh.ts'
import { boundServices, claimsOn, HostIndex } from './bind.ts'
import { type Claim, type ClaimVerdict, compose, type Composed } from './compose.ts'
import { DestinationLookup, type DestinationWorld } from './destinations.ts'
import { hostCovers } from './hosts.ts'
import { virtualServiceFinding } from './outcomes.ts'
import { type ParsedVirtualService, parseVirtualService } from './virtual-service.ts'

/** What a run depends on. */
export interface IstioInput {
  readonly world: Pick<World, 'virtualServices'>
  readonly services: ReadonlyMap<ServiceKey, Service>
  /** From the routes of the Gateway API. */
  readonly listeners: ReadonlyMap<string, Listener>
}

/** What is published and said. */
export interface IstioTranslation {
  readonly listeners: ReadonlyMap<string, Listener>
  /** One condition per object that is the mesh's business. */
  readonly istioOutcomes: ReadonlyMap<MeshObject, Finding>
  readonly faults: readonly ObjectFault[]
}

interface ListenerMemo {
  readonly base: Listener
  readonly claims: readonly Claim[]
  readonly destinations: DestinationLookup
  readonly composed: Composed
}

/** Translates again and again. */
export class IstioTranslator {
  readonly #names: MeshNames
  #virtualServices = new Map<string, { readonly object: VirtualService; readonly parsed: ParsedVirtualService }>()
  #listeners = new Map<string, ListenerMemo>()
  #findings = new Map<string, Finding>()

  constructor(names: MeshNames) {
    this.#names = names
  }

  /** One run. Never throws for what objects hold. */
  translate({ world, services, listeners }: IstioInput): IstioTranslation {
    const faults: ObjectFault[] = []
    const destinations: DestinationWorld = {
      byHost: new Map([...services.values()].map((each) => [each.hostname, each])),
      subsets: new Map(),
    }
    const parsed = this.#parse(world.virtualServices)
    const bound = boundServices(listeners.values())
    const index = new HostIndex([...parsed.values()].filter(({ isForeign, problem }) => !isForeign && problem === undefined))
    const verdicts = new Map<ParsedVirtualService, Map<string, ClaimVerdict>>()
    const composed = new Map<string, Listener>()
    const memos = new Map<string, ListenerMemo>()
    for (const service of bound.values()) {
      const claims = claimsOn(service, index, this.#names.rootNamespace)
      for (const base of service.listeners) {
        const own = base.protocol === 'TCP' ? [] : claims
        const memo = this.#compose(base, own, destinations)
        memos.set(base.name, memo)
        composed.set(base.name, memo.composed.listener)
        for (const [item, verdict] of memo.composed.verdicts) {
          const places = verdicts.get(item) ?? new Map<string, ClaimVerdict>()
          verdicts.set(item, places.set(`${service.hostname}:${base.port}`, verdict))
        }
      }
    }
    this.#listeners = memos
    const istioOutcomes = new Map<MeshObject, Finding>()
    const findings = new Map<string, Finding>()
    for (const [object, item] of parsed) {
      if (item.isForeign) continue
      const unbound = item.hosts.flatMap((host) => this.#unbound(host, bound, destinations))
      const finding = this.#kept(object, virtualServiceFinding(item, verdicts.get(item) ?? new Map(), unbound), findings)
      istioOutcomes.set(object, finding)
      if (finding.reason !== 'Accepted') noteFor(object, faults)('spec', finding.message)
    }
    this.#findings = findings
    return { listeners: composed, istioOutcomes, faults }
  }

  /** A write of the status makes a new object, but not a new translation. */
  #parse(objects: readonly VirtualService[]): Map<VirtualService, ParsedVirtualService> {
    const next = new Map<string, { object: VirtualService; parsed: ParsedVirtualService }>()
    const parsed = new Map<VirtualService, ParsedVirtualService>()
    for (const object of objects) {
      const key = keyOf(object)
      const known = this.#virtualServices.get(key)
      const isKnown = known !== undefined && isSameObject(known.object, object)
      const item = isKnown ? known.parsed : parseVirtualService(object, this.#names)
      next.set(key, { object, parsed: item })
      parsed.set(object, item)
    }
    this.#virtualServices = next
    return parsed
  }

  #compose(base: Listener, claims: readonly Claim[], world: DestinationWorld): ListenerMemo {
    const known = this.#listeners.get(base.name)
    if (known?.base === base && isSameClaims(known.claims, claims) && known.destinations.isCurrentIn(world)) return known
    const destinations = new DestinationLookup(world)
    return { base, claims, destinations, composed: compose(base, claims, { names: this.#names, destinations }) }
  }

  #unbound(host: string, bound: ReturnType<typeof boundServices>, { byHost }: DestinationWorld): string[] {
    const isBound = [...bound.values()].some(({ hostname }) => hostCovers(host, hostname))
    if (isBound) return []
    return [byHost.has(host) ? `${host} has no waypoint, so nothing reads its requests` : `${host} is no service of the mesh`]
  }

  /** The finding of the last run when it says the same: whoever compares by reference sees no change. */
  #kept(object: MeshObject, finding: Finding, next: Map<string, Finding>): Finding {
    const key = `${object.kind} ${keyOf(object)}`
    const before = this.#findings.get(key)
    const kept = before !== undefined && isDeepStrictEqual(before, finding) ? before : finding
    next.set(key, kept)
    return kept
  }
}

function keyOf(object: MeshObject): string {
  return `${namespaceOf(object)}/${object.metadata.name}`
}

function isSameObject(a: MeshObject, b: MeshObject): boolean {
  return a === b || (a.metadata.creationTimestamp === b.metadata.creationTimestamp && isDeepStrictEqual(a.spec, b.spec))
}

function isSameClaims(a: readonly Claim[], b: readonly Claim[]): boolean {
  return a.length === b.length && a.every(({ parsed, callers }, i) => parsed === b[i]?.parsed && callers === b[i]?.callers)
}
