// The xDS resource weft.gateway.v1.Listener, bytes <-> model. A listener that cannot be read is refused as a whole: a part of its
// routes could lead where the rest forbids.
import { create, toBinary } from '@bufbuild/protobuf'
import { type Result, success } from '../../kit/error.ts'
import type { Listener, ListenerProtocol, Route, RouteRule } from '../../model/route.ts'
import {
  type Listener as WireListener,
  ListenerProtocol as WireProtocol,
  ListenerSchema,
  type Route as WireRoute,
  type Rule as WireRule,
  RuleSchema,
} from '../../proto/gateway_pb.ts'
import { decodeMessage, encodeMessage } from '../../proto/wire.ts'
import { Faults } from './check.ts'
import { numberOf } from './gateway.ts'
import { httpPoliciesFromWire, httpPolicyToWire } from './http-policy.ts'
import { rateLimitsFromWire, rateLimitToWire } from './rate-limit.ts'
import { matchFromWire, matchToWire } from './route-match.ts'
import { ruleFromWire, ruleToWire } from './route-rule.ts'

const ROUTES_LIMIT = 16_384
const CONSUMERS_LIMIT = 4096

const PROTOCOLS = {
  [WireProtocol.HTTP]: 'HTTP',
  [WireProtocol.TCP]: 'TCP',
  [WireProtocol.DETECT]: 'DETECT',
} as const satisfies Readonly<Record<number, ListenerProtocol>>

/** Decodes and checks one listener; on failure every fault found (at most 16). Never throws. */
export function decodeListener(bytes: Uint8Array): Result<Listener> {
  const message = decodeMessage(ListenerSchema, bytes)
  if (!message.ok) return message
  const wire = message.value
  const faults = new Faults()
  const rules = faults.many('rules', wire.rules, ROUTES_LIMIT).map((rule) => ruleFromWire(faults, 'rules', rule))
  const value: Listener = {
    name: wire.name,
    gateway: faults.serviceKey('gateway', wire.gateway),
    service: faults.serviceKey('service', wire.service),
    port: faults.port('port', wire.port),
    protocol: faults.choice('protocol', wire.protocol, PROTOCOLS, 'TCP'),
    routes: routesFromWire(faults, 'routes', wire.routes, rules),
    consumerRoutes: consumersFromWire(faults, wire, rules),
    authorization: httpPoliciesFromWire(faults, wire.authorization),
    rateLimits: rateLimitsFromWire(faults, 'rate_limits', wire.rateLimits),
    isGrpcOnly: wire.grpcOnly,
  }
  // Two names for one port of one service would let an old listener outlive its removal.
  if (value.name !== `${value.gateway}/${value.service}/${value.port}`) faults.note('name', 'is not GATEWAY/SERVICE/PORT')
  return faults.list.length === 0 ? success(value) : { ok: false, errors: faults.list }
}

/** The resource's bytes; equal listeners give equal bytes, whatever the order of `consumerRoutes`. */
export function encodeListener(listener: Listener): Buffer {
  const { name, gateway, service, port, protocol, authorization, rateLimits, isGrpcOnly } = listener
  const rules = new RuleTable()
  const routes = listener.routes.map((route) => routeToWire(route, rules))
  const consumers = [...listener.consumerRoutes].sort(([a], [b]) => (a < b ? -1 : 1))
  return encodeMessage(ListenerSchema, {
    name,
    gateway,
    service,
    port,
    protocol: numberOf(PROTOCOLS, protocol),
    routes,
    consumerRoutes: consumers.map(([namespace, list]) => ({ namespace, routes: list.map((route) => routeToWire(route, rules)) })),
    rules: rules.messages,
    authorization: authorization.map(httpPolicyToWire),
    rateLimits: rateLimits.map(rateLimitToWire),
    grpcOnly: isGrpcOnly,
  })
}

function consumersFromWire(faults: Faults, wire: WireListener, rules: readonly RouteRule[]): Map<string, Route[]> {
  const consumers = new Map<string, Route[]>()
  for (const { namespace, routes } of faults.many('consumer_routes', wire.consumerRoutes, CONSUMERS_LIMIT)) {
    if (consumers.has(namespace)) faults.note('consumer_routes', 'a namespace comes twice')
    consumers.set(faults.name('consumer_routes.namespace', namespace), routesFromWire(faults, 'consumer_routes', routes, rules))
  }
  return consumers
}

function routesFromWire(faults: Faults, field: string, list: readonly WireRoute[], rules: readonly RouteRule[]): Route[] {
  const routes: Route[] = []
  for (const { name, match, rule: index } of faults.many(field, list, ROUTES_LIMIT)) {
    const rule = rules[index]
    if (rule === undefined) faults.note(`${field}.rule`, `${index} of ${rules.length} rules`)
    else routes.push({ name: faults.text(`${field}.name`, name), match: matchFromWire(faults, `${field}.match`, match), rule })
  }
  return routes
}

function routeToWire(route: Route, rules: RuleTable): { name: string; match: ReturnType<typeof matchToWire>; rule: number } {
  return { name: route.name, match: matchToWire(route.match), rule: rules.indexOf(route.rule) }
}

/** Rules that were written, each content once, in the order of their first use. */
class RuleTable {
  readonly messages: WireRule[] = []
  readonly #byObject = new Map<RouteRule, number>()
  readonly #byContent = new Map<string, number>()

  indexOf(rule: RouteRule): number {
    const known = this.#byObject.get(rule)
    if (known !== undefined) return known
    const message = create(RuleSchema, ruleToWire(rule))
    const content = Buffer.from(toBinary(RuleSchema, message)).toString('latin1')
    const index = this.#byContent.get(content) ?? this.messages.push(message) - 1
    this.#byContent.set(content, index)
    this.#byObject.set(rule, index)
    return index
  }
}
