// All VirtualServices over all listeners. Keeps what it made: a changed object costs its own translation and that of the listeners
// it is bound to.
import type { VirtualService } from '../../../model/istio-networking.ts'
import type { Listener } from '../../../model/route.ts'
import type { Finding } from '../gateway/finding.ts'
import type { MeshNames } from '../mesh.ts'
import { type BoundService, boundServices, claimsOn, HostIndex, mayClaim } from './bind.ts'
import { type Claim, type ClaimVerdict, compose, type Composed } from './compose.ts'
import { DestinationLookup, type DestinationWorld } from './destinations.ts'
import { hostCovers, hostRank } from './hosts.ts'
import { KeptValues } from './kept.ts'
import { virtualServiceFinding } from './outcomes.ts'
import { type ParsedVirtualService, parseVirtualService } from './virtual-service.ts'

interface ListenerMemo {
  readonly base: Listener
  readonly claims: readonly Claim[]
  readonly destinations: DestinationLookup
  readonly composed: Composed
}

type Verdicts = Map<ParsedVirtualService, Map<string, ClaimVerdict>>

/** Translates again and again. */
export class VirtualServices {
  readonly #names: MeshNames
  readonly #kept = new KeptValues<VirtualService, ParsedVirtualService>()
  #memos = new Map<string, ListenerMemo>()

  constructor(names: MeshNames) {
    this.#names = names
  }

  /** @returns the listeners, and a finding for each object that is the mesh's business */
  run(
    objects: readonly VirtualService[],
    listeners: ReadonlyMap<string, Listener>,
    world: DestinationWorld,
  ): { listeners: ReadonlyMap<string, Listener>; findings: ReturnType<KeptValues<VirtualService, unknown>['keep']> } {
    const parsed = this.#kept.parse(objects, (object) => parseVirtualService(object, this.#names))
    const services = [...boundServices(listeners.values()).values()]
    const verdicts: Verdicts = new Map()
    const composed = this.#compose([...parsed.values()], services, world, verdicts)
    const findings = new Map<VirtualService, Finding>()
    for (const [object, item] of parsed) {
      if (item.isForeign) continue
      const unbound = item.hosts.flatMap((host) => unboundReason(host, item, services, world, this.#names.rootNamespace) ?? [])
      findings.set(object, virtualServiceFinding(item, verdicts.get(item) ?? new Map(), unbound))
    }
    return { listeners: composed, findings: this.#kept.keep(findings) }
  }

  #compose(
    items: readonly ParsedVirtualService[],
    services: readonly BoundService[],
    world: DestinationWorld,
    verdicts: Verdicts,
  ): Map<string, Listener> {
    const index = new HostIndex(items.filter(({ isForeign, problem }) => !isForeign && problem === undefined))
    const listeners = new Map<string, Listener>()
    const memos = new Map<string, ListenerMemo>()
    for (const service of services) {
      const claims = claimsOn(service, index, this.#names.rootNamespace)
      for (const base of service.listeners) {
        const memo = this.#composeOne(base, base.protocol === 'TCP' ? [] : claims, world)
        memos.set(base.name, memo)
        listeners.set(base.name, memo.composed.listener)
        for (const [item, verdict] of memo.composed.verdicts) {
          const places = verdicts.get(item) ?? new Map<string, ClaimVerdict>()
          verdicts.set(item, places.set(`${service.hostname}:${base.port}`, verdict))
        }
      }
    }
    this.#memos = memos
    return listeners
  }

  #composeOne(base: Listener, claims: readonly Claim[], world: DestinationWorld): ListenerMemo {
    const known = this.#memos.get(base.name)
    if (known?.base === base && isSame(known.claims, claims) && known.destinations.isCurrentIn(world)) return known
    const destinations = new DestinationLookup(world)
    return { base, claims, destinations, composed: compose(base, claims, { names: this.#names, destinations }) }
  }
}

/** Why a host of an object has no part in what is in force; undefined = it has. */
function unboundReason(
  host: string,
  item: ParsedVirtualService,
  services: readonly BoundService[],
  { hosts }: DestinationWorld,
  rootNamespace: string,
): string | undefined {
  const bound = services.filter(({ hostname }) => hostCovers(host, hostname))
  if (bound.length === 0)
    return hosts.find(host, item.namespace) !== undefined
      ? `${host} has no waypoint, so nothing reads its requests`
      : `${host} is no service of the mesh`
  const seen = bound.filter((service) => mayClaim(item, hostRank(host), service.namespace, rootNamespace))
  if (seen.length === 0 && host.startsWith('*')) return `${host} stands only for services of the object's own namespace, which has none`
  if (seen.length === 0) return `exportTo does not name the namespace of ${host}`
  const isHttp = seen.some(({ listeners }) => listeners.some(({ protocol }) => protocol !== 'TCP'))
  return isHttp ? undefined : `no port of ${host} carries HTTP`
}

function isSame(a: readonly Claim[], b: readonly Claim[]): boolean {
  return a.length === b.length && a.every(({ parsed, callers }, i) => parsed === b[i]?.parsed && callers === b[i]?.callers)
}
