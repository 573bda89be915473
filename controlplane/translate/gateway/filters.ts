// Filters of rules and backends -> RouteFilter. A filter is never skipped: when one cannot be applied as written, the rule answers 500.
import type { GatewayRouteFilter, HeaderModifier, PathModifier } from '../../../model/gateway-api.ts'
import type { HeaderField } from '../../../model/http.ts'
import type { CorsPolicy, HeaderEdits, PathRewrite, RouteFilter } from '../../../model/route.ts'
import { problemOfFilters } from '../../../policy/http/usable.ts'
import { type BackendContext, resolveBackend } from './backends.ts'
import type { RuleNotes } from './finding.ts'

/** Where filters stand. */
export interface FilterContext extends BackendContext {
  readonly kind: 'HTTPRoute' | 'GRPCRoute'
  /** Value of the rule's only match when that is a prefix; else undefined, and prefixes cannot be replaced. */
  readonly prefix: string | undefined
}

const DEFAULT_REDIRECT = 302
const DEFAULT_CORS_AGE_SECONDS = 5
const GRPC_FILTERS = ['RequestHeaderModifier', 'ResponseHeaderModifier', 'RequestMirror']
const ORIGIN = /^(?:\*|(?:\*|[a-z][a-z0-9+.-]*):\/\/[-a-z0-9.*[\]:]+)$/i
const METHOD = /^[-A-Z]+$|^\*$/

/** Filters in the order given; faults are noted. */
export function filtersOf(
  filters: readonly GatewayRouteFilter[] | undefined,
  context: FilterContext,
  field: string,
  notes: RuleNotes,
): RouteFilter[] {
  return (filters ?? []).flatMap((given, i) => {
    const filter = filterOf(given, context, `${field}[${i}]`, notes)
    const problem = filter === undefined ? undefined : problemOfFilters([filter])
    if (problem !== undefined) notes.break(`${field}[${i}]`, problem)
    return filter === undefined ? [] : [filter]
  })
}

function filterOf(filter: GatewayRouteFilter, context: FilterContext, field: string, notes: RuleNotes): RouteFilter | undefined {
  const { type } = filter
  if (context.kind === 'GRPCRoute' && !GRPC_FILTERS.includes(type))
    return lost(notes, field, `filter ${type} is not supported in a GRPCRoute`)
  if (filter.requestHeaderModifier !== undefined) return { kind: 'requestHeaders', edits: editsOf(filter.requestHeaderModifier) }
  if (filter.responseHeaderModifier !== undefined) return { kind: 'responseHeaders', edits: editsOf(filter.responseHeaderModifier) }
  if (filter.requestMirror !== undefined) return mirrorOf(filter.requestMirror, context, `${field}.requestMirror`, notes)
  if (filter.requestRedirect !== undefined) {
    const { scheme, hostname, port, path, statusCode } = filter.requestRedirect
    return {
      kind: 'redirect',
      scheme: scheme === 'http' || scheme === 'https' ? scheme : undefined,
      hostname,
      port,
      path: pathOf(path, context, `${field}.requestRedirect.path`, notes),
      status: statusCode ?? DEFAULT_REDIRECT,
    }
  }
  if (filter.urlRewrite !== undefined) {
    const { hostname, path } = filter.urlRewrite
    return { kind: 'rewrite', hostname, path: pathOf(path, context, `${field}.urlRewrite.path`, notes) }
  }
  if (filter.cors !== undefined) return { kind: 'cors', policy: corsOf(filter.cors, `${field}.cors`, notes) }
  return lost(notes, field, `filter ${type} is not supported`)
}

function lost(notes: RuleNotes, field: string, message: string): undefined {
  notes.break(field, message)
}

/** Of several entries with one name the first counts. */
function editsOf(modifier: HeaderModifier): HeaderEdits {
  const fieldsOf = (list: HeaderModifier['set']): HeaderField[] => {
    const fields = new Map<string, HeaderField>()
    for (const { name, value } of list ?? [])
      if (!fields.has(name.toLowerCase())) fields.set(name.toLowerCase(), [name.toLowerCase(), value])
    return [...fields.values()]
  }
  const remove = (modifier.remove ?? []).map((name) => name.toLowerCase())
  return { set: fieldsOf(modifier.set), add: fieldsOf(modifier.add), remove }
}

function mirrorOf(
  mirror: NonNullable<GatewayRouteFilter['requestMirror']>,
  context: FilterContext,
  field: string,
  notes: RuleNotes,
): RouteFilter | undefined {
  // A mirror that leads nowhere is left out, as the API says: the answer does not depend on it.
  const backend = resolveBackend(mirror.backendRef, context, `${field}.backendRef`, notes)
  if (backend === undefined) return undefined
  const { numerator, denominator = 100 } = mirror.fraction ?? { numerator: mirror.percent ?? 100 }
  return { kind: 'mirror', mirror: { backend, numerator, denominator } }
}

function pathOf(path: PathModifier | undefined, context: FilterContext, field: string, notes: RuleNotes): PathRewrite | undefined {
  if (path === undefined) return undefined
  const value = path.replaceFullPath ?? path.replacePrefixMatch ?? ''
  if (path.type === 'ReplaceFullPath') return { kind: 'full', value }
  if (context.prefix === undefined) return lost(notes, field, 'ReplacePrefixMatch needs a rule with exactly one match, of type PathPrefix')
  return { kind: 'prefix', prefix: context.prefix, value }
}

function corsOf(cors: NonNullable<GatewayRouteFilter['cors']>, field: string, notes: RuleNotes): CorsPolicy {
  const { allowOrigins = [], allowMethods = [], allowHeaders = [], exposeHeaders = [] } = cors
  for (const origin of allowOrigins) if (!ORIGIN.test(origin)) notes.break(field, `${JSON.stringify(origin.slice(0, 80))} is not an origin`)
  for (const method of allowMethods) if (!METHOD.test(method)) notes.break(field, `${JSON.stringify(method)} is not a method`)
  return {
    allowOrigins,
    allowMethods,
    allowHeaders,
    exposeHeaders,
    allowCredentials: cors.allowCredentials === true,
    maxAgeSeconds: cors.maxAge ?? DEFAULT_CORS_AGE_SECONDS,
  }
}
