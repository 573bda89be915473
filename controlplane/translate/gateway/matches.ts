// Matches of HTTPRoute and GRPCRoute rules -> RouteMatch. A match that cannot be read drops its rule: part of a match would match more.
import { normalizeTarget } from '../../../http/normalize.ts'
import type { GrpcRouteMatch, HeaderMatch, HttpRouteMatch } from '../../../model/gateway-api.ts'
import type { NamedMatch, PathMatch, RouteMatch, TextMatch } from '../../../model/route.ts'
import type { RuleNotes } from './finding.ts'
import { regexFault } from './regex.ts'

const EVERYTHING: RouteMatch = {
  path: undefined,
  method: undefined,
  authority: undefined,
  headers: [],
  query: [],
  sourceNamespace: undefined,
  sourceLabels: {},
}

/** Matches of an HTTP rule; none given = every request. */
export function httpMatches(matches: readonly HttpRouteMatch[] | undefined, notes: RuleNotes): RouteMatch[] {
  const given = matches === undefined || matches.length === 0 ? [{}] : matches
  return given.map((match, i) => httpMatch(match, `matches[${i}]`, notes))
}

/** Matches of a gRPC rule; none given = every request. */
export function grpcMatches(matches: readonly GrpcRouteMatch[] | undefined, notes: RuleNotes): RouteMatch[] {
  const given = matches === undefined || matches.length === 0 ? [{}] : matches
  return given.map((match, i) => ({
    ...EVERYTHING,
    path: grpcPath(match.method, `matches[${i}].method`, notes),
    headers: headerMatches(match.headers, `matches[${i}].headers`, notes),
  }))
}

function httpMatch(match: HttpRouteMatch, path: string, notes: RuleNotes): RouteMatch {
  return {
    ...EVERYTHING,
    path: httpPath(match.path, `${path}.path`, notes),
    method: match.method === undefined ? undefined : { kind: 'exact', value: match.method },
    headers: headerMatches(match.headers, `${path}.headers`, notes),
    query: namedMatches(match.queryParams, `${path}.queryParams`, notes, (name) => name),
  }
}

function httpPath(path: HttpRouteMatch['path'], field: string, notes: RuleNotes): PathMatch {
  const value = path?.value ?? '/'
  switch (path?.type ?? 'PathPrefix') {
    case 'Exact':
      return { kind: 'exact', value: normalised(value, field, notes), ignoresCase: false }
    case 'RegularExpression':
      check(value, field, notes)
      return { kind: 'regex', value, ignoresCase: false }
    default:
      return { kind: 'prefix', value: normalised(value, field, notes), ignoresCase: false }
  }
}

/** In the spelling that requests have when they are matched: `/%61` would never match. */
function normalised(value: string, field: string, notes: RuleNotes): string {
  const target = normalizeTarget(value)
  if (target.ok) return target.value.path
  notes.drop(field, `no request has this path: ${target.errors.join('; ')}`)
  return value
}

/** A gRPC method is the path `/SERVICE/METHOD`. A part that is not given is any. */
function grpcPath(method: GrpcRouteMatch['method'], field: string, notes: RuleNotes): PathMatch | undefined {
  if (method === undefined) return undefined
  const { service, method: name } = method
  if (method.type === 'RegularExpression') {
    for (const part of [service, name]) if (part !== undefined) check(part, field, notes)
    return { kind: 'regex', value: `/${group(service)}/${group(name)}`, ignoresCase: false }
  }
  if (service !== undefined && name !== undefined) return { kind: 'exact', value: `/${service}/${name}`, ignoresCase: false }
  if (service !== undefined) return { kind: 'textPrefix', value: `/${service}/`, ignoresCase: false }
  return { kind: 'regex', value: `/[^/]+/${name ?? ''}`, ignoresCase: false }
}

function group(pattern: string | undefined): string {
  if (pattern === undefined) return '[^/]+'
  return pattern.includes('|') ? `(?:${pattern})` : pattern
}

function headerMatches(matches: readonly HeaderMatch[] | undefined, field: string, notes: RuleNotes): NamedMatch[] {
  return namedMatches(matches, field, notes, (name) => name.toLowerCase())
}

/** Of several with one name the first counts. */
function namedMatches(
  matches: readonly HeaderMatch[] | undefined,
  field: string,
  notes: RuleNotes,
  nameOf: (name: string) => string,
): NamedMatch[] {
  const found = new Map<string, NamedMatch>()
  for (const [i, match] of (matches ?? []).entries()) {
    const name = nameOf(match.name)
    if (found.has(name)) continue
    if (match.type === 'RegularExpression') check(match.value, `${field}[${i}]`, notes)
    const text: TextMatch = { kind: match.type === 'RegularExpression' ? 'regex' : 'exact', value: match.value }
    found.set(name, { name, match: text, isInverted: false })
  }
  return [...found.values()]
}

function check(pattern: string, field: string, notes: RuleNotes): void {
  const fault = regexFault(pattern)
  if (fault !== undefined) notes.drop(field, fault)
}
