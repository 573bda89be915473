// RateLimitPolicies -> limits on listeners and rules. A policy is one budget per proxy: all its targets draw on the same buckets.
import type { RateLimitPolicy, RateLimitPolicySpec, RateLimitTarget } from '../../../model/istio-networking.ts'
import type { Service as KubeService } from '../../../model/object.ts'
import type { Listener, LocalRateLimit, RateLimit, Route, RouteRule } from '../../../model/route.ts'
import { rateLimitPolicySpec } from '../../../objects/schema/rate-limit.ts'
import { type Finding, joined } from '../gateway/finding.ts'
import { hostnameOf, type MeshNames, namespaceOf } from '../mesh.ts'
import type { EntriesResult } from '../service-entry/service-entries.ts'
import { goDurationMs } from './duration.ts'
import { type AskedService, globalLimit, problemOfService } from './global-limit.ts'
import { refusal, verdictOf } from './outcomes.ts'
import { readSpec } from './read-spec.ts'

/** Type of the condition; the kind is the mesh's own. */
const CONDITION = 'Accepted'
/** What one list of limits holds at most; proxies refuse more. */
const MAX_LIMITS = 64

/** A policy that was read. */
export interface ParsedRateLimit {
  readonly namespace: string
  readonly name: string
  readonly createdAt: string
  readonly targets: readonly RateLimitTarget[]
  readonly limits: readonly RateLimit[]
  /** `namespace/name` and port of the rate limit service, if one is asked. */
  readonly asks: AskedService | undefined
  readonly problem: string | undefined
}

/** A policy on a listener: on all of it, or on routes whose names start so (or are so). */
export interface LimitHit {
  readonly parsed: ParsedRateLimit
  /** Index of the target. */
  readonly target: number
  readonly routes: { readonly prefix: string } | { readonly name: string } | undefined
}

/** What targets are looked up in. */
export interface LimitWorld {
  readonly names: MeshNames
  /** By `namespace/name`; for names of ports. */
  readonly kubeServices: ReadonlyMap<string, KubeService>
  readonly entries: Pick<EntriesResult, 'hosts' | 'routed'>
}

/** A listener with its limits, and the policies of which some had no room. */
export interface Limited {
  readonly listener: Listener
  readonly full: ReadonlySet<ParsedRateLimit>
}

/** Pure; never throws. */
export function parseRateLimit(object: RateLimitPolicy, names: MeshNames): ParsedRateLimit {
  const namespace = namespaceOf(object)
  const { name, creationTimestamp } = object.metadata
  const head = { namespace, name, createdAt: typeof creationTimestamp === 'string' ? creationTimestamp : '' }
  const spec = readSpec<RateLimitPolicySpec>(rateLimitPolicySpec, object)
  if ('problem' in spec) return { ...head, targets: [], limits: [], asks: undefined, problem: spec.problem }
  const limits = (spec.limits ?? []).map(({ requests, per, burst, by = [] }): LocalRateLimit => {
    const keys = by.map((key) =>
      key === 'identity' ? ({ kind: key } as const) : ({ kind: 'header', name: key.header.toLowerCase() } as const),
    )
    return { policy: `${namespace}/${name}`, requests, perMs: goDurationMs(per), burst: burst ?? requests, keys }
  })
  const bad = limits.findIndex(({ perMs }) => perMs === 0)
  const { global } = spec
  const asked = global === undefined ? undefined : globalLimit(global, namespace, name, names)
  const problem = bad === -1 ? asked?.problem : `limits[${bad}].per: must be longer than nothing`
  return {
    ...head,
    targets: spec.targetRefs,
    limits: asked === undefined ? limits : [...limits, asked.limit],
    asks: asked?.service,
    problem,
  }
}

/** Policies on one listener, in their order. A listener that carries no HTTP has none. */
export function hitsOn(listener: Listener, policies: readonly ParsedRateLimit[], world: LimitWorld): LimitHit[] {
  if (listener.protocol === 'TCP') return []
  return policies.flatMap((parsed) =>
    parsed.problem !== undefined
      ? []
      : parsed.targets.flatMap((target, i): LimitHit[] => {
          const routes = placeOf(listener, parsed.namespace, target, world)
          return routes === 'elsewhere' ? [] : [{ parsed, target: i, routes }]
        }),
  )
}

/** Adds the limits; where there is no room the earlier ones stay. */
export function limited(listener: Listener, hits: readonly LimitHit[]): Limited {
  const full = new Set<ParsedRateLimit>()
  const rateLimits = [...listener.rateLimits]
  const onRoutes = hits.filter(({ routes }) => routes !== undefined)
  for (const { parsed } of hits.filter(({ routes }) => routes === undefined)) add(rateLimits, parsed, full)
  const rules = new Map<RouteRule, Map<string, RouteRule>>()
  const onRoute = (route: Route): Route => {
    const own = onRoutes.filter(({ routes }) => takes(routes, route.name))
    if (own.length === 0) return route
    const made = rules.get(route.rule) ?? new Map<string, RouteRule>()
    rules.set(route.rule, made)
    const rule = made.get(route.name) ?? withLimits(route.rule, own, full)
    made.set(route.name, rule)
    return { ...route, rule }
  }
  const consumerRoutes = new Map([...listener.consumerRoutes].map(([namespace, routes]) => [namespace, routes.map(onRoute)]))
  return { listener: { ...listener, routes: listener.routes.map(onRoute), consumerRoutes, rateLimits }, full }
}

/** What is said of a policy. @param found indexes of targets that were found */
export function rateLimitFinding(parsed: ParsedRateLimit, found: ReadonlySet<number>, isFull: boolean, world: LimitWorld): Finding {
  if (parsed.problem !== undefined) return refusal(CONDITION, 'Invalid', `nothing is in force: ${parsed.problem}`)
  const lost = parsed.targets.flatMap(({ kind, name, sectionName }, i) => {
    const text = `targetRefs[${i}]: ${kind} ${parsed.namespace}/${name}${sectionName === undefined ? '' : ` (${sectionName})`}`
    return found.has(i) ? [] : [`${text} ${ABSENT[kind]}`]
  })
  if (found.size === 0) return refusal(CONDITION, 'TargetNotFound', joined(lost))
  const others = isFull ? [`not everywhere: other policies take all the room for limits that a listener or rule has (${MAX_LIMITS})`] : []
  const absent = parsed.asks === undefined ? undefined : problemOfService(parsed.asks, world.kubeServices)
  if (absent !== undefined) others.push(absent)
  return verdictOf(CONDITION, { ignored: lost, dropped: [], broken: [], unresolved: [], others })
}

const ABSENT = {
  Service: 'does not exist, has no waypoint, or no such port that carries HTTP',
  ServiceEntry: 'does not exist, has no waypoint, or no such port that carries HTTP',
  Gateway: 'is no waypoint, or no service is behind it',
  HTTPRoute: 'does not exist, or no such rule of it is in force',
} as const satisfies Record<RateLimitTarget['kind'], string>

function placeOf(listener: Listener, namespace: string, target: RateLimitTarget, world: LimitWorld): LimitHit['routes'] | 'elsewhere' {
  const { kind, name, sectionName } = target
  if (kind === 'Gateway') return listener.gateway === `${namespace}/${name}` ? undefined : 'elsewhere'
  if (kind === 'Service') {
    if (listener.service !== `${namespace}/${hostnameOf(world.names, namespace, name)}`) return 'elsewhere'
    if (sectionName === undefined) return undefined
    const ports = world.kubeServices.get(`${namespace}/${name}`)?.spec?.ports ?? []
    return ports.some((port) => port.name === sectionName && port.port === listener.port) ? undefined : 'elsewhere'
  }
  if (kind === 'ServiceEntry') {
    const { hosts, routed } = world.entries
    if (hosts.get(`${namespace}/${name}`)?.includes(listener.service) !== true) return 'elsewhere'
    const isHere = routed.get(listener.service)?.ports.some((port) => port.name === sectionName && port.port === listener.port) === true
    return sectionName === undefined || isHere ? undefined : 'elsewhere'
  }
  const prefix = `HTTPRoute/${namespace}/${name}/`
  const routes = sectionName === undefined ? { prefix } : { name: `${prefix}${sectionName}` }
  const lists = [listener.routes, ...listener.consumerRoutes.values()]
  return lists.some((list) => list.some((route) => takes(routes, route.name))) ? routes : 'elsewhere'
}

function takes(routes: LimitHit['routes'], name: string): boolean {
  if (routes === undefined) return false
  return 'name' in routes ? name === routes.name : name.startsWith(routes.prefix)
}

function withLimits(rule: RouteRule, hits: readonly LimitHit[], full: Set<ParsedRateLimit>): RouteRule {
  const rateLimits = [...rule.rateLimits]
  for (const { parsed } of hits) add(rateLimits, parsed, full)
  return { ...rule, rateLimits }
}

/** Once, even if several targets of a policy lead here: a request would be counted twice. */
function add(list: RateLimit[], parsed: ParsedRateLimit, full: Set<ParsedRateLimit>): void {
  const missing = parsed.limits.filter((limit) => !list.includes(limit))
  if (list.length + missing.length > MAX_LIMITS) full.add(parsed)
  else list.push(...missing)
}
