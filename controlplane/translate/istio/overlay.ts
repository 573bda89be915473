// Faults of a VirtualService over the routes of others: each route gets doubles in front that take what a fault also matches.
// The first match counts, so a request still meets the rule that it met before, now with the fault.
import type { FaultPolicy, Route, RouteFilter, RouteMatch, RouteRule } from '../../../model/route.ts'
import { trimPrefix } from '../../../policy/http/match.ts'
import { conjoin } from './conjoin.ts'
import type { OverlayEntry } from './virtual-service.ts'

/** Routes with faults, and where they could not be laid over. */
export interface Overlaid {
  readonly routes: readonly Route[]
  /** Names of routes for which a fault is not in force, as no single match says when both hold. */
  readonly missed: readonly string[]
}

/** Pairs of matches that are looked at for one listener: 60 ms where all are regexes of the worst kind (measured). */
const MAX_PAIRS = 16_384

/** @param most routes in all, as pairs are bounded too; undefined is returned when there would be more */
export function overlay(routes: readonly Route[], entries: readonly OverlayEntry[], most: number): Overlaid | undefined {
  const matches = entries.flatMap(({ matches: list, fault }) => list.map((match) => ({ match, fault })))
  if (routes.length * matches.length > MAX_PAIRS) return undefined
  const rules = new Map<RouteRule, Map<FaultPolicy | undefined, RouteRule>>()
  const missed = new Set<string>()
  const result: Route[] = []
  for (const route of routes) {
    let isCovered = false
    for (const { match, fault } of matches) {
      const both = conjoin(route.match, match)
      if (both === 'never') continue
      if (both === 'unknown' || !isRewrittenAlike(route, both)) {
        // Entries after this one must not take what is its.
        missed.add(route.name)
        break
      }
      result.push({ ...route, match: both, rule: ruleWith(route, both, fault, rules) })
      isCovered = isSame(both, route.match)
      if (isCovered) break
    }
    if (!isCovered) result.push(route)
    if (result.length > most) return undefined
  }
  return { routes: result, missed: [...missed] }
}

function ruleWith(
  { rule, match }: Route,
  both: RouteMatch,
  fault: FaultPolicy | undefined,
  rules: Map<RouteRule, Map<FaultPolicy | undefined, RouteRule>>,
): RouteRule {
  const isText = match.path?.kind === 'prefix' && both.path?.kind === 'textPrefix'
  const made = rules.get(rule) ?? new Map<FaultPolicy | undefined, RouteRule>()
  rules.set(rule, made)
  const known = isText ? undefined : made.get(fault)
  if (known !== undefined) return known
  const result = { ...(isText ? withoutSlashes(rule) : rule), fault }
  if (!isText) made.set(fault, result)
  return result
}

/** What a rewrite of a prefix makes of a path depends on how that was matched. */
function isRewrittenAlike({ rule, match }: Route, both: RouteMatch): boolean {
  const filters = [...rule.filters, ...rule.backends.flatMap((backend) => backend.filters)]
  if (!filters.some((filter) => 'path' in filter && filter.path?.kind === 'prefix')) return true
  const isText = (path: RouteMatch['path']): boolean => path?.kind === 'textPrefix'
  const isSameCase = (match.path?.ignoresCase ?? false) === (both.path?.ignoresCase ?? false)
  return isSameCase && (!isText(match.path) || isText(both.path))
}

function withoutSlashes(rule: RouteRule): RouteRule {
  const backends = rule.backends.map((backend) => ({ ...backend, filters: backend.filters.map(withoutSlash) }))
  return { ...rule, filters: rule.filters.map(withoutSlash), backends }
}

/** A prefix by elements, which a slash at the end does not change, says the same by characters without it. */
function withoutSlash(filter: RouteFilter): RouteFilter {
  if ((filter.kind !== 'rewrite' && filter.kind !== 'redirect') || filter.path?.kind !== 'prefix') return filter
  return { ...filter, path: { ...filter.path, prefix: trimPrefix(filter.path.prefix) } }
}

function isSame(a: RouteMatch, b: RouteMatch): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b)
}
