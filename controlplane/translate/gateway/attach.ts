// A service behind a waypoint and the routes that name it -> its listeners, one per TCP port. Routes of the service's own namespace
// hold for everybody (producer routes); those of another namespace only for callers from there, in place of the former (GEP-1294).
import type { Listener, Route } from '../../../model/route.ts'
import type { ServiceKey } from '../../../model/workload.ts'
import { orderGrpcRoutes, orderHttpRoutes } from '../../../policy/http/order.ts'
import { protocolOf } from './protocol.ts'
import type { RouteTranslation } from './route.ts'
import type { RoutedService } from './routed-service.ts'

/** A route on a service. */
export interface Claim {
  readonly route: RouteTranslation
  readonly ports: readonly number[]
}

/** Why a route is not in force on a port that it asks for. */
export type Refusal = 'conflicted' | 'full'

/** What became of a service's claims. */
export interface Attachment {
  readonly listeners: readonly Listener[]
  /** Only what was refused. */
  readonly refusals: ReadonlyMap<RouteTranslation, ReadonlyMap<number, Refusal>>
}

/** What one namespace's routes may take of one port. The sum of both is below what a proxy reads of one listener (MESSAGE_LIMIT_BYTES). */
const PRODUCER_LIMIT = { matches: 4096, bytes: 2 * 1024 * 1024 }
const CONSUMER_LIMIT = { matches: 512, bytes: 512 * 1024 }
/** What the routes of all other namespaces may take together. */
const CONSUMERS_LIMIT = { matches: 4096, bytes: 1536 * 1024 }

interface Room {
  matches: number
  bytes: number
}

/** Pure; the order of the claims does not matter. Where there is too much, older routes stay. */
export function attach(service: RoutedService, key: ServiceKey, gateway: string, claims: readonly Claim[]): Attachment {
  const refusals = new Map<RouteTranslation, Map<number, Refusal>>()
  const sorted = [...claims].sort((a, b) => compareAge(a.route, b.route))
  const listeners = service.ports.map(({ port, name, appProtocol }): Listener => {
    const claimed = sorted.filter(({ ports }) => ports.includes(port)).map(({ route }) => route)
    const kept = keep(claimed, service.namespace, (route, refusal) => {
      const ports = refusals.get(route) ?? new Map<number, Refusal>()
      refusals.set(route, ports.set(port, refusal))
    })
    return {
      name: `${gateway}/${key}/${port}`,
      gateway,
      service: key,
      port,
      protocol: protocolOf({ ...(name === undefined ? {} : { name }), ...(appProtocol === undefined ? {} : { appProtocol }) }),
      routes: ordered(kept.producer),
      consumerRoutes: new Map([...kept.consumers].map(([namespace, list]) => [namespace, ordered(list)])),
      authorization: [],
      rateLimits: [],
      isGrpcOnly: isGrpcOnly([kept.producer, ...kept.consumers.values()].flat()),
    }
  })
  return { listeners, refusals }
}

interface Kept {
  readonly producer: RouteTranslation[]
  readonly consumers: Map<string, RouteTranslation[]>
}

/** The routes in force on one port. Each namespace is looked at by itself, so that none can push away the routes of another. */
function keep(claimed: readonly RouteTranslation[], own: string, refuse: (route: RouteTranslation, refusal: Refusal) => void): Kept {
  const isGrpc = new Set(
    claimed.filter(({ kind, matches }) => kind === 'GRPCRoute' && matches.length > 0).map(({ namespace }) => namespace),
  )
  const kept: Kept = { producer: [], consumers: new Map() }
  const rooms = new Map<string, Room>()
  const shared: Room = { ...CONSUMERS_LIMIT }
  for (const route of claimed) {
    const isProducer = route.namespace === own
    const room = rooms.get(route.namespace) ?? { ...(isProducer ? PRODUCER_LIMIT : CONSUMER_LIMIT) }
    rooms.set(route.namespace, room)
    if (route.kind === 'HTTPRoute' && isGrpc.has(route.namespace)) refuse(route, 'conflicted')
    else if (!takeRoom(route, isProducer ? [room] : [room, shared])) refuse(route, 'full')
    else if (route.matches.length > 0) listOf(kept, route, isProducer).push(route)
  }
  return kept
}

function listOf(kept: Kept, { namespace }: RouteTranslation, isProducer: boolean): RouteTranslation[] {
  if (isProducer) return kept.producer
  const list = kept.consumers.get(namespace) ?? []
  kept.consumers.set(namespace, list)
  return list
}

function isGrpcOnly(routes: readonly RouteTranslation[]): boolean {
  return routes.length > 0 && routes.every(({ kind }) => kind === 'GRPCRoute')
}

function takeRoom(route: RouteTranslation, rooms: readonly Room[]): boolean {
  if (rooms.some((room) => room.matches < route.matches.length || room.bytes < route.cost)) return false
  for (const room of rooms) {
    room.matches -= route.matches.length
    room.bytes -= route.cost
  }
  return true
}

function ordered(list: readonly RouteTranslation[]): readonly Route[] {
  const matches = list.flatMap((route) => route.matches)
  return list[0]?.kind === 'GRPCRoute' ? orderGrpcRoutes(matches) : orderHttpRoutes(matches)
}

/** Oldest first, then by name. */
function compareAge(a: RouteTranslation, b: RouteTranslation): number {
  if (a.createdAt !== b.createdAt) return a.createdAt < b.createdAt ? -1 : 1
  if (a.key !== b.key) return a.key < b.key ? -1 : 1
  return a.kind < b.kind ? -1 : 1
}
