// One HTTP entry of a VirtualService on one port -> routes. An entry whose action cannot be done as written answers 500.
import type { IstioDestination, IstioHttpRoute, IstioRouteDestination } from '../../../model/istio-networking.ts'
import type { Route, RouteFilter, RouteMatch, RouteRule, WeightedBackend } from '../../../model/route.ts'
import { joined } from '../gateway/finding.ts'
import { NO_TIMEOUTS } from '../gateway/rule-limits.ts'
import { corsFilter } from './cors.ts'
import { type DestinationContext, resolveDestination } from './destinations.ts'
import { faultOf } from './fault.ts'
import { headerFilters } from './header-edits.ts'
import { EVERYTHING, isForPort, routeMatchOf } from './matches.ts'
import type { EntryNotes } from './notes.ts'
import { retryOf, timeoutsOf } from './retry.ts'
import { redirectFilter, rewriteFilter } from './rewrites.ts'

/** Parts per million, so that shares with fractions are whole numbers. */
const MILLION = 1_000_000

/** @returns matches of the entry on a port; undefined = it is not for this port. What cannot be read is noted as dropped */
export function entryMatches(entry: IstioHttpRoute, port: number, notes: EntryNotes): readonly RouteMatch[] | undefined {
  const given = entry.match ?? []
  if (given.length === 0) return [EVERYTHING]
  const here = given.flatMap((match, i) => (isForPort(match, port) ? [routeMatchOf(match, `match[${i}]`, notes)] : []))
  return here.length === 0 ? undefined : here
}

/** @param name of the routes */
export function entryRoutes(entry: IstioHttpRoute, name: string, context: DestinationContext, notes: EntryNotes): readonly Route[] {
  const matches = entryMatches(entry, context.port, notes)
  if (matches === undefined) return []
  checkAction(entry, notes)
  // What also holds for answers of the proxy's own comes before redirects.
  const first = [
    ...(entry.corsPolicy === undefined ? [] : [corsFilter(entry.corsPolicy, notes)]),
    ...headerFilters(entry.headers, 'headers', notes),
  ]
  const shared = ruleOf(entry, [...first, ...mirrorsOf(entry, context, notes)], context, notes)
  const routes = matches.map((match): Route => {
    const own = pathFilters(entry, match, notes)
    const filters = [...first, ...own, ...shared.filters.slice(first.length)]
    return { name, match: withPath(match, own), rule: own.length === 0 ? shared : { ...shared, filters } }
  })
  if (notes.dropped.length > 0) return []
  if (notes.broken.length === 0) return routes
  const broken = brokenRule(notes)
  return routes.map((route) => ({ ...route, rule: broken }))
}

/** Where an entry without an action sends its requests: to the service itself. */
export function plainRule(backend: WeightedBackend): RouteRule {
  return {
    filters: [],
    backends: [backend],
    timeouts: NO_TIMEOUTS,
    retry: undefined,
    fault: undefined,
    rateLimits: [],
    sessionPersistence: undefined,
  }
}

function checkAction(entry: IstioHttpRoute, notes: EntryNotes): void {
  if (entry.directResponse !== undefined) notes.break('directResponse', 'is not supported')
  if (entry.delegate !== undefined) notes.break('delegate', 'is not supported')
  const routes = entry.route?.length ?? 0
  if (entry.redirect !== undefined && (routes > 0 || entry.rewrite !== undefined))
    notes.break('redirect', 'must not be used together with route or rewrite')
  const hasOther = entry.redirect !== undefined || entry.directResponse !== undefined || entry.delegate !== undefined
  if (routes === 0 && !hasOther) notes.break('route', 'is absent, and so is redirect')
}

function ruleOf(entry: IstioHttpRoute, filters: readonly RouteFilter[], context: DestinationContext, notes: EntryNotes): RouteRule {
  return {
    filters,
    backends: backendsOf(entry.route ?? [], context, notes),
    timeouts: timeoutsOf(entry),
    retry: entry.redirect === undefined ? retryOf(entry, notes) : undefined,
    fault: faultOf(entry.fault, notes),
    rateLimits: [],
    sessionPersistence: undefined,
  }
}

/** Filters that depend on how the path was matched. */
function pathFilters(entry: IstioHttpRoute, match: RouteMatch, notes: EntryNotes): RouteFilter[] {
  if (entry.redirect !== undefined) return [redirectFilter(entry.redirect, match, notes)]
  const rewrite = rewriteFilter(entry, match, notes)
  return rewrite === undefined ? [] : [rewrite]
}

/** Istio's match of everything is the prefix `/`: a rewrite replaces that. */
function withPath(match: RouteMatch, filters: readonly RouteFilter[]): RouteMatch {
  const isPrefix = filters.some((filter) => filter.kind === 'rewrite' && filter.path?.kind === 'prefix')
  return isPrefix && match.path === undefined ? { ...match, path: { kind: 'textPrefix', value: '/', ignoresCase: false } } : match
}

/** A lone destination takes everything, whatever its weight. */
function backendsOf(list: readonly IstioRouteDestination[], context: DestinationContext, notes: EntryNotes): WeightedBackend[] {
  if (list.length > 1 && list.every(({ weight = 0 }) => weight === 0)) notes.break('route', 'no destination has a weight')
  return list.map(({ destination, weight = 0, headers }, i): WeightedBackend => {
    const field = `route[${i}]`
    const share = list.length === 1 ? 1 : weight
    const before = notes.unresolved.length
    const ref = resolveDestination(destination, context, `${field}.destination`, notes)
    const filters = headerFilters(headers, `${field}.headers`, notes)
    if (ref !== undefined) return { kind: 'service', ref, weight: share, filters }
    return { kind: 'invalid', reason: notes.unresolved[before]?.message ?? '', weight: share, filters: [] }
  })
}

/** A mirror that leads nowhere is left out: the answer does not depend on it. */
function mirrorsOf(entry: IstioHttpRoute, context: DestinationContext, notes: EntryNotes): RouteFilter[] {
  const one: { destination: IstioDestination; percent: number; field: string }[] =
    entry.mirror === undefined
      ? []
      : [{ destination: entry.mirror, percent: entry.mirrorPercentage?.value ?? entry.mirrorPercent ?? 100, field: 'mirror' }]
  const many = (entry.mirrors ?? []).map(({ destination, percentage }, i) => ({
    destination,
    percent: percentage?.value ?? 100,
    field: `mirrors[${i}]`,
  }))
  return [...one, ...many].flatMap(({ destination, percent, field }): RouteFilter[] => {
    const backend = resolveDestination(destination, context, field, notes)
    if (backend === undefined) return []
    return [{ kind: 'mirror', mirror: { backend, numerator: Math.round(percent * (MILLION / 100)), denominator: MILLION } }]
  })
}

function brokenRule(notes: EntryNotes): RouteRule {
  return plainRule({ kind: 'invalid', reason: joined(notes.broken), weight: 1, filters: [] })
}
