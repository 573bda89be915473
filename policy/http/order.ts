// Precedence of the matches of all routes of one listener: Gateway API v1, HTTPRouteRule.matches and GRPCRouteRule.matches.
// Hostnames take no part: a listener of a mesh has one. Used by controlplane/translate; the proxy takes the order as it is.
import type { PathMatch, Route, RouteMatch } from '../../model/route.ts'
import { trimPrefix } from './match.ts'

/** One match with what its place depends on. */
export interface Ordered {
  readonly route: Route
  /** RFC 3339, as in metadata.creationTimestamp; what cannot be read counts as newest. */
  readonly createdAt: string
  /** `namespace/name` */
  readonly object: string
  /** Place of the rule in its object, and of the match in its rule. */
  readonly rule: number
  readonly match: number
}

type Rank = readonly number[]

/** A gRPC path as regex: each part is any (`[^/]+`), a pattern in a group, or, of the method, plain text. */
const GRPC_REGEX = /^\/(?:\[\^\/\]\+|\(\?:(.*)\))\/(?:\[\^\/\]\+|\(\?:(.*)\)|(.*))$/

/**
 * Exact path, then regex (longest pattern; the specification leaves its place open), then prefixes (longest; `/a/` is `/a`),
 * then no path; a method; most headers; most query parameters; then the oldest object, `namespace/name`, rule, match.
 */
export function orderHttpRoutes(list: readonly Ordered[]): Route[] {
  return order(list, httpRank)
}

/**
 * Most characters of the service, most of the method, most headers; then as orderHttpRoutes. A gRPC match is a path:
 * `/service/method` exact, `/service/` as prefix, or a regex `/(?:service)/(?:method)`, with `[^/]+` for a part that is any.
 */
export function orderGrpcRoutes(list: readonly Ordered[]): Route[] {
  return order(list, grpcRank)
}

function order(list: readonly Ordered[], rank: (match: RouteMatch) => Rank): Route[] {
  const ranked = list.map((item) => ({ item, rank: rank(item.route.match), age: ageOf(item.createdAt) }))
  ranked.sort((a, b) => {
    for (const [index, value] of a.rank.entries()) {
      const other = b.rank[index] ?? 0
      if (value !== other) return other - value
    }
    if (a.age !== b.age) return a.age < b.age ? -1 : 1
    if (a.item.object !== b.item.object) return a.item.object < b.item.object ? -1 : 1
    return a.item.rule - b.item.rule || a.item.match - b.item.match
  })
  return ranked.map(({ item }) => item.route)
}

function ageOf(createdAt: string): number {
  const ms = Date.parse(createdAt)
  return Number.isNaN(ms) ? Number.POSITIVE_INFINITY : ms
}

/** Greater comes first, place by place. */
function httpRank(match: RouteMatch): Rank {
  const { path } = match
  const kind = path === undefined ? 0 : path.kind === 'exact' ? 3 : path.kind === 'regex' ? 2 : 1
  return [kind, path === undefined ? 0 : lengthOf(path), match.method === undefined ? 0 : 1, namesIn(match.headers), namesIn(match.query)]
}

/** Exact paths of one request are the same: their length decides nothing. */
function lengthOf(path: PathMatch): number {
  if (path.kind === 'exact') return 0
  return path.kind === 'prefix' ? trimPrefix(path.value).length : path.value.length
}

function grpcRank(match: RouteMatch): Rank {
  return [...partsOf(match.path), namesIn(match.headers)]
}

/** Characters of the service and of the method. */
function partsOf(path: PathMatch | undefined): readonly [service: number, method: number] {
  if (path === undefined) return [0, 0]
  if (path.kind === 'regex') {
    const [, service, method, text] = GRPC_REGEX.exec(path.value) ?? []
    return [service?.length ?? 0, (method ?? text)?.length ?? 0]
  }
  const [, service = '', method = ''] = path.value.split('/')
  return [service.length, method.length]
}

/** Entries that repeat a name do not count (match.ts). Names of headers are in lower case. */
function namesIn(list: RouteMatch['headers']): number {
  return list.length < 2 ? list.length : new Set(list.map(({ name, isInverted }) => `${isInverted} ${name}`)).size
}
