// All routes and all services behind waypoints -> listeners, and what is said of each route. Keeps what it made: a run in which
// nothing of this changed costs a comparison, a changed route costs its own translation and that of the services that it names.
import { isDeepStrictEqual } from 'node:util'
import { messageOf } from '../../../kit/error.ts'
import type { Gateway, GrpcRoute, HttpRoute } from '../../../model/gateway-api.ts'
import type { MeshObject } from '../../../model/object.ts'
import type { Listener } from '../../../model/route.ts'
import type { Service } from '../../../model/service.ts'
import type { ServiceKey } from '../../../model/workload.ts'
import { hostnameOf, type MeshNames, namespaceOf, noteFor, type ObjectFault, type World } from '../mesh.ts'
import type { EntriesResult } from '../service-entry/service-entries.ts'
import { HostTable } from '../host-table.ts'
import { attach, type Attachment, type Claim } from './attach.ts'
import { isCurrentIn, ServiceLookup } from './backends.ts'
import type { ParentOutcome } from './finding.ts'
import { GRPC_ROUTE } from './grpc-route.ts'
import { HTTP_ROUTE } from './http-route.ts'
import { outcomesOf } from './outcomes.ts'
import { type ParentPlace, type ParentWorld, resolveParent } from './parents.ts'
import { type RouteTranslation, translateRoute, unreadableRoute } from './route.ts'
import { routedService } from './routed-service.ts'

/** What is known of a waypoint's Gateway from the objects. */
export interface GatewayFacts {
  readonly object: Gateway
  /** Accepted routes of services behind it. */
  readonly attachedRoutes: number
  /** Those of its Service. */
  readonly addresses: readonly { readonly type: 'IPAddress'; readonly value: string }[]
}

/** What waypoints route by. */
export interface RoutesTranslation {
  /** By name, of every gateway. */
  readonly listeners: ReadonlyMap<string, Listener>
  /** Per route what is said of it at each parent that is ours. */
  readonly routeOutcomes: ReadonlyMap<HttpRoute | GrpcRoute, readonly ParentOutcome[]>
  /** Waypoints by `namespace/name`. */
  readonly gateways: ReadonlyMap<string, GatewayFacts>
  readonly faults: readonly ObjectFault[]
}

/** What a run depends on; compared by reference, entry by entry. */
export interface RoutesInput {
  readonly world: Pick<World, 'httpRoutes' | 'grpcRoutes' | 'services'>
  readonly services: ReadonlyMap<ServiceKey, Service>
  /** Waypoints by `namespace/name`. */
  readonly waypoints: ReadonlyMap<string, Gateway>
  readonly entries: Pick<EntriesResult, 'hosts' | 'routed'>
}

interface RouteMemo {
  readonly object: HttpRoute | GrpcRoute
  readonly asked: ReadonlyMap<string, unknown>
  readonly translation: RouteTranslation
  readonly fault: ObjectFault | undefined
  /** Where its parents are in `world`. */
  places: { readonly world: ParentWorld; readonly list: readonly ParentPlace[] }
  outcome: { readonly inputs: readonly unknown[]; readonly parents: readonly ParentOutcome[] } | undefined
}

interface ServiceMemo {
  readonly inputs: readonly unknown[]
  readonly attachment: Attachment
}

interface Placed {
  readonly object: HttpRoute | GrpcRoute
  readonly memo: RouteMemo
}

/** Translates again and again. */
export class RoutesTranslator {
  readonly #names: MeshNames
  #routes = new Map<string, RouteMemo>()
  #services = new Map<ServiceKey, ServiceMemo>()
  #world: { readonly inputs: readonly unknown[]; readonly value: ParentWorld } | undefined
  #last: { readonly inputs: readonly unknown[]; readonly result: RoutesTranslation } | undefined

  constructor(names: MeshNames) {
    this.#names = names
  }

  /** One run. Never throws for what objects hold. */
  translate(input: RoutesInput): RoutesTranslation {
    const { httpRoutes, grpcRoutes } = input.world
    const parents = this.#parents(input)
    const inputs = [parents, ...input.waypoints.values(), httpRoutes.length, ...httpRoutes, ...grpcRoutes]
    if (this.#last !== undefined && isSame(this.#last.inputs, inputs)) return this.#last.result
    const result = this.#run(input, parents)
    this.#last = { inputs, result }
    return result
  }

  /** The same value while services and waypoints are the same. */
  #parents({ world, services, waypoints, entries }: RoutesInput): ParentWorld {
    const inputs = [world.services.length, ...world.services, ...services.values(), ...waypoints.keys(), ...entries.hosts.keys()]
    if (this.#world !== undefined && isSame(this.#world.inputs, inputs)) return this.#world.value
    const names = this.#names
    const kubeServices = new Map(world.services.map((service) => [keyOf(service), service]))
    const hostOf = ({ metadata }: Gateway): string => hostnameOf(names, metadata.namespace ?? '', metadata.name)
    const gatewayByHost = new Map([...waypoints].map(([key, gateway]) => [hostOf(gateway), key]))
    const hosts = new HostTable(services.values())
    const value = { names, kubeServices, services, entries, hosts, gatewayByHost, waypoints: new Set(waypoints.keys()) }
    this.#world = { inputs, value }
    return value
  }

  #run({ world, services, waypoints }: RoutesInput, parents: ParentWorld): RoutesTranslation {
    const faults: ObjectFault[] = []
    const placed = this.#place([...world.httpRoutes, ...world.grpcRoutes], parents, faults)
    const attachments = this.#attach(parents, claimsOf(placed))
    const listeners = new Map<string, Listener>()
    for (const { listeners: list } of attachments.values()) for (const listener of list) listeners.set(listener.name, listener)
    const routeOutcomes = new Map<HttpRoute | GrpcRoute, readonly ParentOutcome[]>()
    const attachedRoutes = new Map<string, number>()
    for (const { object, memo } of placed) {
      const outcome = this.#outcome(memo, attachments)
      routeOutcomes.set(object, outcome)
      for (const gateway of gatewaysOf(memo.places.list, outcome)) attachedRoutes.set(gateway, (attachedRoutes.get(gateway) ?? 0) + 1)
    }
    return { listeners, routeOutcomes, gateways: this.#gateways(waypoints, services, attachedRoutes), faults }
  }

  #gateways(
    waypoints: ReadonlyMap<string, Gateway>,
    services: ReadonlyMap<ServiceKey, Service>,
    attachedRoutes: ReadonlyMap<string, number>,
  ): Map<string, GatewayFacts> {
    const facts = new Map<string, GatewayFacts>()
    for (const [key, object] of waypoints) {
      const { namespace = '', name } = object.metadata
      const vips = services.get(`${namespace}/${hostnameOf(this.#names, namespace, name)}`)?.vips ?? []
      const addresses = vips.map(({ cidr }) => ({ type: 'IPAddress', value: cidr.ip }) as const)
      facts.set(key, { object, attachedRoutes: attachedRoutes.get(key) ?? 0, addresses })
    }
    return facts
  }

  #place(routes: readonly (HttpRoute | GrpcRoute)[], parents: ParentWorld, faults: ObjectFault[]): Placed[] {
    const next = new Map<string, RouteMemo>()
    const placed: Placed[] = []
    for (const object of routes) {
      const key = `${object.kind} ${keyOf(object)}`
      const memo = this.#translateRoute(object, this.#routes.get(key), parents)
      if (memo.places.world !== parents) memo.places = placesOf(memo.translation, parents)
      next.set(key, memo)
      if (memo.fault !== undefined) faults.push(memo.fault)
      placed.push({ object, memo })
    }
    this.#routes = next
    return placed
  }

  /** A write of the route's status makes a new object, but not a new translation. */
  #translateRoute(object: HttpRoute | GrpcRoute, memo: RouteMemo | undefined, parents: ParentWorld): RouteMemo {
    if (memo !== undefined && isSameRoute(memo.object, object)) {
      if (memo.places.world === parents || isCurrentIn(memo.asked, parents)) return memo
    }
    const lookup = new ServiceLookup(parents)
    const translation = attempt(object, () =>
      object.kind === 'GRPCRoute'
        ? translateRoute(object, GRPC_ROUTE, this.#names, lookup)
        : translateRoute(object, HTTP_ROUTE, this.#names, lookup),
    )
    const fault = faultOf(object, translation)
    return { object, asked: lookup.asked, translation, fault, places: placesOf(translation, parents), outcome: undefined }
  }

  #attach(parents: ParentWorld, claims: ReadonlyMap<ServiceKey, readonly Claim[]>): Map<ServiceKey, Attachment> {
    const next = new Map<ServiceKey, ServiceMemo>()
    const attachments = new Map<ServiceKey, Attachment>()
    for (const [key, { waypoint, namespace, name }] of parents.services) {
      const gateway = waypoint?.kind === 'hostname' ? parents.gatewayByHost.get(waypoint.hostname) : undefined
      if (gateway === undefined) continue
      const object = parents.kubeServices.get(`${namespace}/${name}`)
      const service = parents.entries.routed.get(key) ?? (object === undefined ? undefined : routedService(object))
      if (service === undefined) continue
      const own = claims.get(key) ?? []
      const inputs = [service, gateway, ...own.flatMap(({ route, ports }) => [route, ports.join()])]
      let memo = this.#services.get(key)
      if (memo === undefined || !isSame(memo.inputs, inputs)) memo = { inputs, attachment: attach(service, key, gateway, own) }
      next.set(key, memo)
      attachments.set(key, memo.attachment)
    }
    this.#services = next
    return attachments
  }

  #outcome(memo: RouteMemo, attachments: ReadonlyMap<ServiceKey, Attachment>): readonly ParentOutcome[] {
    const { list } = memo.places
    const refusals = list.map((place) =>
      // Hosts of one ServiceEntry have the same claims, and so the same refusals.
      place.kind === 'service' ? attachments.get(place.services[0] ?? '')?.refusals.get(memo.translation) : undefined,
    )
    const inputs = [list, ...refusals.map((ports) => (ports === undefined ? '' : [...ports].join()))]
    if (memo.outcome !== undefined && isSame(memo.outcome.inputs, inputs)) return memo.outcome.parents
    const parents = outcomesOf(memo.translation, list, refusals)
    memo.outcome = { inputs, parents }
    return parents
  }
}

function placesOf(translation: RouteTranslation, world: ParentWorld): RouteMemo['places'] {
  return { world, list: translation.parents.map((parent) => resolveParent(parent, translation.namespace, world)) }
}

/** What is wrong with the route itself; one sentence. */
function faultOf(object: HttpRoute | GrpcRoute, { accepted, others }: RouteTranslation): ObjectFault | undefined {
  const wrong = [accepted, ...others].find(({ type, status }) => (type === 'PartiallyInvalid') === (status === 'True'))
  const list: ObjectFault[] = []
  if (wrong !== undefined) noteFor(object, list)('spec', wrong.message)
  return list[0]
}

/** Ports that a route asks for at each service; several parentRefs may name one service. */
function claimsOf(placed: readonly Placed[]): Map<ServiceKey, Claim[]> {
  const claims = new Map<ServiceKey, Claim[]>()
  for (const { memo } of placed) {
    const ports = new Map<ServiceKey, Set<number>>()
    for (const place of memo.places.list) {
      if (place.kind !== 'service') continue
      for (const service of place.services) {
        const set = ports.get(service) ?? new Set()
        ports.set(service, set)
        for (const port of place.ports) set.add(port)
      }
    }
    for (const [service, set] of ports) {
      const list = claims.get(service) ?? []
      claims.set(service, list)
      list.push({ route: memo.translation, ports: [...set].sort((a, b) => a - b) })
    }
  }
  return claims
}

function gatewaysOf(places: readonly ParentPlace[], outcomes: readonly ParentOutcome[]): ReadonlySet<string> {
  const ours = places.filter(({ kind }) => kind !== 'foreign')
  const isAccepted = (i: number): boolean =>
    outcomes[i]?.findings.some(({ type, status }) => type === 'Accepted' && status === 'True') === true
  return new Set(ours.flatMap((place, i) => (place.kind === 'service' && isAccepted(i) ? [place.gateway] : [])))
}

function keyOf(object: MeshObject): string {
  return `${namespaceOf(object)}/${object.metadata.name}`
}

function isSame(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i])
}

function isSameRoute(a: HttpRoute | GrpcRoute, b: HttpRoute | GrpcRoute): boolean {
  return a === b || (a.metadata.creationTimestamp === b.metadata.creationTimestamp && isDeepStrictEqual(a.spec, b.spec))
}

function attempt(object: HttpRoute | GrpcRoute, make: () => RouteTranslation): RouteTranslation {
  try {
    return make()
  } catch (error) {
    return unreadableRoute(object, messageOf(error))
  }
}
