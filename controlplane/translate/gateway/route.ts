// One route -> its matches and rules in force, and what is said of it at every parent that takes it. Common to HTTPRoute and GRPCRoute.
// Whatever is not in force as written is named in the conditions; a rule whose action cannot be done answers 500, it is not skipped.
import type { z } from 'zod'
import type { Ordered } from '../../../policy/http/order.ts'
import type { GatewayRouteRule, GrpcRoute, HttpRoute, ParentReference, RouteBackend } from '../../../model/gateway-api.ts'
import type { RetryPolicy, Route, RouteMatch, RouteRule, RouteTimeouts, WeightedBackend } from '../../../model/route.ts'
import { formatFault } from '../../../objects/schema/validate.ts'
import { type MeshNames, namespaceOf } from '../mesh.ts'
import { resolveBackend, type ServiceLookup } from './backends.ts'
import { accepted, type Finding, joined, RuleNotes } from './finding.ts'
import { type FilterContext, filtersOf } from './filters.ts'
import { readbackFault } from './readback.ts'
import { sessionOf } from './rule-limits.ts'

/** Kinds of routes. */
export type RouteKind = 'HTTPRoute' | 'GRPCRoute'

/** A route by itself, before it is attached. */
export interface RouteTranslation {
  readonly kind: RouteKind
  readonly namespace: string
  /** `namespace/name`. */
  readonly key: string
  readonly createdAt: string
  readonly parents: readonly ParentReference[]
  /** Not ordered yet; empty = nothing is in force. */
  readonly matches: readonly Ordered[]
  /** Bytes that the route takes in a listener, about. */
  readonly cost: number
  /** Accepted as far as the route itself is concerned. */
  readonly accepted: Finding
  /** ResolvedRefs, and PartiallyInvalid when some rules are wrong. */
  readonly others: readonly Finding[]
}

/** What differs between kinds: reading a rule. */
export interface RuleReading {
  readonly matches: readonly RouteMatch[]
  readonly timeouts: RouteTimeouts
  readonly retry: RetryPolicy | undefined
  /** Value of the only match when that is a prefix. */
  readonly prefix: string | undefined
}

/** How a kind is read. */
export interface RouteReader<Rule> {
  readonly kind: RouteKind
  /** The API's own check, made again: what is not of this shape never reaches a proxy. */
  readonly schema: z.ZodType
  read(rule: Rule, notes: RuleNotes): RuleReading
}

interface RouteContext {
  readonly kind: RouteKind
  readonly namespace: string
  readonly name: string
  readonly createdAt: string
  readonly names: MeshNames
  readonly services: ServiceLookup
}

/** Pure. */
export function translateRoute<Rule extends GatewayRouteRule<unknown>>(
  object: HttpRoute | GrpcRoute,
  reader: RouteReader<Rule>,
  names: MeshNames,
  services: ServiceLookup,
): RouteTranslation {
  const { name, creationTimestamp } = object.metadata
  const createdAt = typeof creationTimestamp === 'string' ? creationTimestamp : ''
  const context: RouteContext = { kind: reader.kind, namespace: namespaceOf(object), name, createdAt, names, services }
  const head = { kind: reader.kind, namespace: context.namespace, key: `${context.namespace}/${name}`, createdAt }
  const parsed = reader.schema.safeParse(object.spec ?? {})
  if (!parsed.success) {
    const notes = parsed.error.issues.map(({ path, message }) =>
      formatFault({ path: ['spec', ...path.map((part) => (typeof part === 'symbol' ? String(part) : part))], message }),
    )
    return { ...head, parents: readableParents(object), matches: [], cost: 0, ...refused(joined(notes)) }
  }
  const spec = parsed.data as { readonly parentRefs?: readonly ParentReference[]; readonly rules?: readonly Rule[] } // the schema's shape
  // No rule at all is one rule for everything, without backends: the CRD's default.
  const rules = spec.rules ?? [{} as Rule]
  const notes: RuleNotes[] = []
  const matches = rules.flatMap((rule, index) => {
    const own = new RuleNotes(`rules[${index}]`)
    notes.push(own)
    return matchesOf(rule, index, reader, context, own)
  })
  const unreadable = readbackFault(matches.map(({ route }) => route))
  const parents = spec.parentRefs ?? []
  if (unreadable !== undefined) return { ...head, parents, matches: [], cost: 0, ...refused(`no proxy could read it: ${unreadable}`) }
  return { ...head, parents, matches, cost: Buffer.byteLength(JSON.stringify(rules)), ...verdict(notes) }
}

/** A route of which not even the outline can be read. */
export function unreadableRoute(object: HttpRoute | GrpcRoute, message: string): RouteTranslation {
  const namespace = namespaceOf(object)
  const kind = object.kind === 'GRPCRoute' ? 'GRPCRoute' : 'HTTPRoute'
  const head = { kind, namespace, key: `${namespace}/${object.metadata.name}`, createdAt: '' } as const
  return { ...head, parents: [], matches: [], cost: 0, ...refused(`the object cannot be read: ${message}`) }
}

function matchesOf<Rule extends GatewayRouteRule<unknown>>(
  rule: Rule,
  index: number,
  reader: RouteReader<Rule>,
  context: RouteContext,
  notes: RuleNotes,
): Ordered[] {
  const { matches, timeouts, retry, prefix } = reader.read(rule, notes)
  const place: FilterContext = { ...context, prefix }
  const label = rule.name ?? String(index)
  const name = `${context.kind}/${context.namespace}/${context.name}/${label}`
  const made: RouteRule = {
    filters: filtersOf(rule.filters, place, 'filters', notes),
    backends: (rule.backendRefs ?? []).map((backend, i) => backendOf(backend, place, `backendRefs[${i}]`, notes)),
    timeouts,
    retry,
    fault: undefined,
    rateLimits: [],
    sessionPersistence: sessionOf(rule.sessionPersistence, sessionName(context, label), prefix ?? '/', notes),
  }
  if (notes.dropped.length > 0) return []
  const shared = notes.broken.length > 0 ? brokenRule(notes) : made
  return matches.map((match, i) => {
    const route: Route = { name, match, rule: shared }
    return { route, createdAt: context.createdAt, object: `${context.namespace}/${context.name}`, rule: index, match: i }
  })
}

function backendOf(backend: RouteBackend, context: FilterContext, field: string, notes: RuleNotes): WeightedBackend {
  const { weight = 1 } = backend
  const before = notes.unresolved.length
  const ref = resolveBackend(backend, context, field, notes)
  const filters = filtersOf(backend.filters, context, `${field}.filters`, notes)
  if (ref !== undefined) return { kind: 'service', ref, weight, filters }
  return { kind: 'invalid', reason: notes.unresolved[before]?.message ?? '', weight, filters: [] }
}

/** A valid token for a cookie; unique per rule, so that sessions of two rules do not meet. */
function sessionName({ namespace, name }: RouteContext, label: string): string {
  return `weft-${namespace}-${name}-${label}`.slice(0, 128)
}

function brokenRule(notes: RuleNotes): RouteRule {
  return {
    filters: [],
    backends: [{ kind: 'invalid', reason: joined(notes.broken), weight: 1, filters: [] }],
    timeouts: { requestMs: undefined, backendRequestMs: undefined },
    retry: undefined,
    fault: undefined,
    rateLimits: [],
    sessionPersistence: undefined,
  }
}

/** A route in which no rule is good is not accepted; one with some good rules is, and says which are not. */
function verdict(notes: readonly RuleNotes[]): Pick<RouteTranslation, 'accepted' | 'others'> {
  const dropped = notes.flatMap((each) => each.dropped)
  const broken = notes.filter((each) => each.dropped.length === 0).flatMap((each) => each.broken)
  const isGood = notes.some((each) => each.dropped.length === 0 && each.broken.length === 0)
  const texts = [
    ...(dropped.length > 0 ? [`not in force: ${joined(dropped)}`] : []),
    ...(broken.length > 0 ? [`answered 500: ${joined(broken)}`] : []),
  ].join('. ')
  const references = resolvedRefs(notes.flatMap((each) => each.unresolved))
  if (texts === '') return { accepted: accepted('Accepted', 'in force'), others: [references] }
  if (!isGood) return { accepted: accepted('UnsupportedValue', texts), others: [references] }
  const partial: Finding = { type: 'PartiallyInvalid', status: 'True', reason: 'UnsupportedValue', message: `Dropped Rule: ${texts}` }
  return { accepted: accepted('Accepted', 'in force in part'), others: [references, partial] }
}

function refused(message: string): Pick<RouteTranslation, 'accepted' | 'others'> {
  return { accepted: accepted('UnsupportedValue', `nothing is in force: ${message}`), others: [resolvedRefs([])] }
}

function resolvedRefs(unresolved: readonly { readonly reason: string; readonly message: string }[]): Finding {
  const [first] = unresolved
  if (first === undefined) return { type: 'ResolvedRefs', status: 'True', reason: 'ResolvedRefs', message: 'all references are good' }
  const message = `${joined(unresolved.map((each) => each.message))}: requests to them are answered 500`
  return { type: 'ResolvedRefs', status: 'False', reason: first.reason, message }
}

/** The parents of a route whose spec is not readable as a whole: its status must go somewhere. */
function readableParents(object: HttpRoute | GrpcRoute): readonly ParentReference[] {
  const given: unknown = (object.spec as { readonly parentRefs?: unknown } | null | undefined)?.parentRefs
  if (!Array.isArray(given)) return []
  const isText = (value: unknown): boolean => value === undefined || (typeof value === 'string' && value.length <= 253)
  return given
    .slice(0, 32)
    .filter((parent: Readonly<Record<string, unknown>> | null): parent is ParentReference & Record<string, unknown> => {
      if (typeof parent !== 'object' || parent === null || typeof parent.name !== 'string') return false
      const { group, kind, namespace, name, sectionName, port } = parent
      return [group, kind, namespace, name, sectionName].every(isText) && (port === undefined || Number.isInteger(port))
    })
}
