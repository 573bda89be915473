// AuthorizationPolicy with targetRefs -> HttpPolicy for waypoints. As in authorization.ts, what a waypoint cannot see makes an ALLOW rule
// disappear and a DENY rule match more, never less. Follows istio/istio:pilot/pkg/security/authz/model, stricter.
import type { HeaderCondition, HttpPolicy, HttpPolicyMatch } from '../../model/http-policy.ts'
import type { AuthorizationOperation, AuthorizationPolicy, AuthorizationRule, PolicyTargetReference } from '../../model/istio-security.ts'
import { EMPTY_MATCH, type PolicyMatch, type StringMatch } from '../../model/policy.ts'
import { authorizationPolicySpec } from '../../objects/schema/policy.ts'
import { type Condition, conditionMatch, DRY_RUN, type Lost, type RuleContext, sourceMatch } from './authorization.ts'
import { namespaceOf } from './mesh.ts'
import { type MutableMatch, parseAll, portsOf, stringMatch } from './policy-field.ts'

/** A policy that names services or waypoints, as it was read. */
export interface TargetedPolicy {
  readonly namespace: string
  readonly name: string
  readonly targets: readonly PolicyTargetReference[]
  /** What is enforced at the targets; undefined = nothing (AUDIT). */
  readonly policy: Omit<HttpPolicy, 'isGatewayWide'> | undefined
  /** What of it could not be taken as written. */
  readonly notes: readonly string[]
  /** Set when it is not enforced, or not as what it is. */
  readonly unsupported: string | undefined
}

/** Whether a policy is for waypoints. */
export function isTargeted({ spec }: AuthorizationPolicy): boolean {
  return spec?.targetRef !== undefined || (Array.isArray(spec?.targetRefs) && spec.targetRefs.length > 0)
}

/** Pure; never throws. A policy that cannot be read denies everything at the targets that can be. */
export function translateTargeted(object: AuthorizationPolicy): TargetedPolicy {
  const namespace = namespaceOf(object)
  const { name } = object.metadata
  const targets = targetsOf(object)
  const head = { namespace, name, targets }
  const key = `${namespace}/${name}`
  const closed = { name: key, action: 'DENY', rules: [[]] } as const
  const parsed = authorizationPolicySpec.safeParse(object.spec ?? {})
  const { spec = {} } = object
  const { action = 'ALLOW', rules } = spec
  if (action === 'AUDIT') return { ...head, policy: undefined, notes: [], unsupported: 'action AUDIT is not supported: nothing is logged' }
  if (rules !== undefined && !Array.isArray(rules))
    return { ...head, policy: closed, notes: [], unsupported: `it cannot be read: ${UNREADABLE}` }
  const notes: string[] = parsed.success
    ? []
    : parsed.error.issues.slice(0, 8).map(({ path, message }) => `spec.${path.join('.')}: ${message}`)
  if (object.metadata.annotations?.[DRY_RUN] === 'true')
    return { ...head, policy: undefined, notes, unsupported: `${DRY_RUN} is not supported: the policy is not enforced` }
  if (action !== 'ALLOW' && action !== 'DENY') {
    const custom = rulesOf(rules ?? [], { action: 'DENY', namespace }, notes)
    return {
      ...head,
      policy: { name: key, action: 'DENY', rules: custom },
      notes,
      unsupported: `action ${action} asks nobody: what its rules match is denied`,
    }
  }
  return {
    ...head,
    policy: { name: key, action, rules: rulesOf(rules ?? [], { action, namespace }, notes) },
    notes,
    unsupported: undefined,
  }
}

const UNREADABLE = 'everything is denied at its targets'

function targetsOf({ spec }: AuthorizationPolicy): PolicyTargetReference[] {
  const given: unknown[] = [
    ...(Array.isArray(spec?.targetRefs) ? spec.targetRefs : []),
    ...(spec?.targetRef === undefined ? [] : [spec.targetRef]),
  ]
  return given.slice(0, 32).filter((target): target is PolicyTargetReference => {
    const { kind, name } = (target ?? {}) as { readonly kind?: unknown; readonly name?: unknown }
    return typeof kind === 'string' && typeof name === 'string'
  })
}

function rulesOf(
  rules: readonly AuthorizationRule[],
  context: Pick<RuleContext, 'action' | 'namespace'>,
  notes: string[],
): HttpPolicyMatch[][][] {
  return rules.flatMap((rule, i) => {
    const path = `spec.rules[${i}]`
    try {
      const clauses = clausesOf(rule, { ...context, path, note: (field, message) => void notes.push(`${field}: ${message}`) })
      return clauses === undefined ? [] : [clauses]
    } catch {
      notes.push(`${path}: cannot be read`)
      return context.action === 'DENY' ? [[]] : []
    }
  })
}

/** Clauses of one rule; undefined = the rule is dropped (ALLOW only). */
function clausesOf(rule: AuthorizationRule, context: RuleContext): HttpPolicyMatch[][] | undefined {
  const state = { isWhole: true }
  const lost: Lost = (field, message) => {
    state.isWhole = false
    context.note(`${context.path}.${field}`, message.replace('which node proxies do not see', 'which waypoints do not see'))
  }
  const clauses: HttpPolicyMatch[][] = []
  const add = (field: string, matches: readonly HttpPolicyMatch[]): void => {
    const constrainsNothing = matches.length === 0 || matches.some(isEmpty)
    if (!constrainsNothing) clauses.push([...matches])
    else if (state.isWhole) lost(field, 'holds nothing that could be matched')
  }
  for (const key of Object.keys(rule)) if (!['from', 'to', 'when'].includes(key)) lost(key, 'is not known')
  if (rule.from !== undefined)
    add(
      'from',
      rule.from.map(({ source }) => ({ ...NO_HTTP, connection: sourceMatch(source ?? {}, context, lost) })),
    )
  if (rule.to !== undefined)
    add(
      'to',
      rule.to.map(({ operation }) => operationOf(operation ?? {}, lost)),
    )
  for (const condition of rule.when ?? []) add('when', [conditionOf(condition, context, lost)])
  return state.isWhole || context.action === 'DENY' ? clauses : undefined
}

const NO_HTTP: HttpPolicyMatch = {
  connection: EMPTY_MATCH,
  hosts: [],
  notHosts: [],
  methods: [],
  notMethods: [],
  paths: [],
  notPaths: [],
  headers: [],
}

function isEmpty({ connection, headers, ...texts }: HttpPolicyMatch): boolean {
  return headers.length === 0 && [...Object.values(connection), ...Object.values(texts)].every((list) => list.length === 0)
}

type TextField = 'hosts' | 'notHosts' | 'methods' | 'notMethods' | 'paths' | 'notPaths'

const TEXTS: Readonly<Record<TextField, (text: string) => StringMatch | undefined>> = {
  hosts: (text) => stringMatch(text.toLowerCase()),
  notHosts: (text) => stringMatch(text.toLowerCase()),
  methods: stringMatch,
  notMethods: stringMatch,
  paths: pathMatch,
  notPaths: pathMatch,
}

/** Templates (`/a/{*}`) would match only themselves. */
function pathMatch(text: string): StringMatch | undefined {
  return /[{}?#]/.test(text) ? undefined : stringMatch(text)
}

function operationOf(operation: AuthorizationOperation, lost: Lost): HttpPolicyMatch {
  const connection: MutableMatch = { ...EMPTY_MATCH }
  const texts: Partial<Record<TextField, readonly StringMatch[]>> = {}
  for (const [key, values] of Object.entries(operation)) {
    const path = `to.operation.${key}`
    if (values === undefined) continue
    if (!isTexts(values)) lost(path, 'is not a list of text')
    else if (key === 'ports' || key === 'notPorts') {
      const bad = portsOf(key === 'ports' ? 'destinationPorts' : 'notDestinationPorts')(connection, values)
      if (bad !== undefined) lost(path, `${JSON.stringify(bad.slice(0, 100))} is not valid here`)
    } else if (Object.hasOwn(TEXTS, key)) {
      const parsed = parseAll(values, TEXTS[key as TextField])
      if ('bad' in parsed) lost(path, `${JSON.stringify(parsed.bad.slice(0, 100))} is not valid here`)
      else texts[key as TextField] = parsed.values
    } else lost(path, 'is not known')
  }
  return { ...NO_HTTP, ...texts, connection }
}

/** Waypoints take these off, or read them by another name. */
const UNSEEN: ReadonlySet<string> = new Set([
  ...['host', 'connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade', 'te', 'trailer', 'content-length'],
])
const HEADER = /^request\.headers\[([A-Za-z0-9!#$%&'*+\-.^_`|~]{1,256})\]$/

function conditionOf(condition: Condition, context: RuleContext, lost: Lost): HttpPolicyMatch {
  const { key, values, notValues } = condition
  const name = HEADER.exec(String(key))?.[1]?.toLowerCase()
  if (name === undefined || UNSEEN.has(name)) {
    // The address behind a service is chosen later: what was dialled says nothing.
    if (name === undefined && key !== 'destination.ip') return { ...NO_HTTP, connection: connectionOf(condition, context, lost) }
    lost('when', `${JSON.stringify(key)} cannot be seen by waypoints`)
    return NO_HTTP
  }
  const header: { -readonly [K in keyof HeaderCondition]: HeaderCondition[K] } = { name, values: [], notValues: [] }
  for (const [field, list] of [
    ['values', values],
    ['notValues', notValues],
  ] as const) {
    if (list === undefined) continue
    const parsed = isTexts(list) ? parseAll(list, stringMatch) : { bad: '' }
    if ('bad' in parsed) lost(`when[${key}].${field}`, `${JSON.stringify(parsed.bad.slice(0, 100))} is not valid here`)
    else header[field] = parsed.values
  }
  return header.values.length + header.notValues.length === 0 ? NO_HTTP : { ...NO_HTTP, headers: [header] }
}

function connectionOf(condition: Condition, context: RuleContext, lost: Lost): PolicyMatch {
  return conditionMatch(condition, context, (field, message) => lost(field, message.replace('node proxies', 'waypoints')))
}

function isTexts(list: unknown): list is readonly string[] {
  return Array.isArray(list) && list.every((value) => typeof value === 'string')
}
