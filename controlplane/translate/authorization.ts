// AuthorizationPolicy -> Authorization for the node proxies. Follows istio/istio:pilot/pkg/serviceregistry/ambient/authorization.go,
// but stricter: what L4 cannot see makes an ALLOW rule disappear and a DENY rule match more, never less.
import type { AuthorizationOperation, AuthorizationPolicy, AuthorizationRule, AuthorizationSource } from '../../model/istio-security.ts'
import { type Authorization, EMPTY_MATCH, type PolicyAction, type PolicyMatch } from '../../model/policy.ts'
import { type MeshNames, namespaceOf, type Note } from './mesh.ts'
import { cidrsOf, type Field, type MutableMatch, portsOf, serviceAccountsOf, stringsOf } from './policy-field.ts'

/** Annotation of policies that are to be logged only. */
export const DRY_RUN = 'istio.io/dry-run'

/** How a policy was taken; becomes its condition `ZtunnelAccepted`. */
export interface PolicyOutcome {
  readonly reason: 'Accepted' | 'PartiallyInvalid' | 'Invalid' | 'UnsupportedValue'
  readonly message: string
}

/** `policy` is absent when nothing is published; `outcome` when the policy is for waypoints only. */
export interface PolicyTranslation {
  readonly policy: Authorization | undefined
  readonly outcome: PolicyOutcome | undefined
}

/** Pure. Faults in single rules are noted and counted in the outcome. */
export function translateAuthorization(object: AuthorizationPolicy, names: MeshNames, note: Note): PolicyTranslation {
  const spec = object.spec ?? {}
  if (spec.targetRef !== undefined || (spec.targetRefs ?? []).length > 0) return { policy: undefined, outcome: undefined }
  const action = spec.action ?? 'ALLOW'
  if (action !== 'ALLOW' && action !== 'DENY') return refused(`action ${action} is not enforced by node proxies; target a waypoint`)
  if (object.metadata.annotations?.[DRY_RUN] === 'true') return refused(`${DRY_RUN} is not supported: the policy is not enforced`)
  const notes: string[] = []
  const noteBoth: Note = (field, message) => {
    notes.push(`${field}: ${message}`)
    note(field, message)
  }
  const rules = (spec.rules ?? [])
    .map((rule, i) => translateRule(rule, { action, namespace: namespaceOf(object), path: `spec.rules[${i}]`, note: noteBoth }))
    .filter((clauses) => clauses !== undefined)
  const hasSelector = Object.keys(spec.selector?.matchLabels ?? {}).length > 0
  const isRoot = namespaceOf(object) === names.rootNamespace
  const policy: Authorization = {
    name: object.metadata.name,
    namespace: namespaceOf(object),
    scope: hasSelector ? 'WORKLOAD_SELECTOR' : isRoot ? 'GLOBAL' : 'NAMESPACE',
    action,
    rules,
    isDryRun: false,
  }
  if (notes.length === 0) return { policy, outcome: { reason: 'Accepted', message: 'attached to the node proxies' } }
  const effect = action === 'ALLOW' ? 'the rules concerned allow nothing' : 'the rules concerned deny more'
  const message = `${notes.slice(0, 8).join('; ')}${notes.length > 8 ? `; and ${notes.length - 8} more` : ''}: ${effect}`
  return { policy, outcome: { reason: 'PartiallyInvalid', message } }
}

function refused(message: string): PolicyTranslation {
  return { policy: undefined, outcome: { reason: 'UnsupportedValue', message } }
}

/** The policy that a rule stands in. */
export interface RuleContext {
  readonly action: PolicyAction
  readonly namespace: string
  readonly path: string
  readonly note: Note
}

/** Clauses of one rule; undefined = the rule is dropped (ALLOW only). */
function translateRule(rule: AuthorizationRule, context: RuleContext): PolicyMatch[][] | undefined {
  const state = { isWhole: true } // false = something could not be expressed
  const lost = (field: string, message: string): void => {
    state.isWhole = false
    context.note(`${context.path}.${field}`, message)
  }
  const clauses: PolicyMatch[][] = []
  const add = (clause: PolicyMatch[] | undefined): void => {
    if (clause !== undefined) clauses.push(clause)
  }
  for (const key of Object.keys(rule)) if (!['from', 'to', 'when'].includes(key)) lost(key, 'is not known')
  const sources = rule.from?.map(({ source }) => sourceMatch(source ?? {}, context, lost))
  const operations = rule.to?.map(({ operation }) => operationMatch(operation ?? {}, lost))
  if (sources !== undefined) add(clauseOf('from', sources, state, lost))
  if (operations !== undefined) add(clauseOf('to', operations, state, lost))
  for (const condition of rule.when ?? []) add(clauseOf('when', [conditionMatch(condition, context, lost)], state, lost))
  if (state.isWhole) return clauses
  return context.action === 'DENY' ? clauses : undefined
}

/** One clause of alternatives; undefined = it constrains nothing, as one of the alternatives matches everything. */
function clauseOf(
  field: string,
  matches: readonly PolicyMatch[],
  state: { readonly isWhole: boolean },
  lost: Lost,
): PolicyMatch[] | undefined {
  const hasEmpty = matches.length === 0 || matches.some((match) => Object.values(match).every((list) => list.length === 0))
  if (hasEmpty && state.isWhole) lost(field, 'holds nothing that node proxies could match')
  return hasEmpty ? undefined : [...matches]
}

/** Says what of a rule could not be expressed. */
export type Lost = (field: string, message: string) => void

const L7_SOURCE = ['requestPrincipals', 'notRequestPrincipals', 'remoteIpBlocks', 'notRemoteIpBlocks']
const L7_OPERATION = ['hosts', 'notHosts', 'methods', 'notMethods', 'paths', 'notPaths']

/** A source as far as the connection shows it. */
export function sourceMatch(source: AuthorizationSource, { namespace }: RuleContext, lost: Lost): PolicyMatch {
  const match: MutableMatch = { ...EMPTY_MATCH }
  const fields: Readonly<Record<string, Field>> = {
    principals: stringsOf('principals', withoutScheme),
    notPrincipals: stringsOf('notPrincipals', withoutScheme),
    namespaces: stringsOf('namespaces'),
    notNamespaces: stringsOf('notNamespaces'),
    serviceAccounts: serviceAccountsOf('serviceAccounts', namespace),
    notServiceAccounts: serviceAccountsOf('notServiceAccounts', namespace),
    ipBlocks: cidrsOf('sourceIps'),
    notIpBlocks: cidrsOf('notSourceIps'),
  }
  fill(match, source, fields, L7_SOURCE, 'from.source', lost)
  return match
}

function operationMatch(operation: AuthorizationOperation, lost: Lost): PolicyMatch {
  const match: MutableMatch = { ...EMPTY_MATCH }
  const fields = { ports: portsOf('destinationPorts'), notPorts: portsOf('notDestinationPorts') }
  fill(match, operation, fields, L7_OPERATION, 'to.operation', lost)
  return match
}

/** One entry of `when`. */
export type Condition = NonNullable<AuthorizationRule['when']>[number]

/** A condition as far as the connection shows it. */
export function conditionMatch({ key, values, notValues }: Condition, { namespace }: RuleContext, lost: Lost): PolicyMatch {
  const match: MutableMatch = { ...EMPTY_MATCH }
  const pairs: Readonly<Record<string, readonly [Field, Field]>> = {
    'source.ip': [cidrsOf('sourceIps'), cidrsOf('notSourceIps')],
    'source.namespace': [stringsOf('namespaces'), stringsOf('notNamespaces')],
    'source.principal': [stringsOf('principals', withoutScheme), stringsOf('notPrincipals', withoutScheme)],
    'source.serviceAccount': [serviceAccountsOf('serviceAccounts', namespace), serviceAccountsOf('notServiceAccounts', namespace)],
    'destination.ip': [cidrsOf('destinationIps'), cidrsOf('notDestinationIps')],
    'destination.port': [portsOf('destinationPorts'), portsOf('notDestinationPorts')],
  }
  const pair = Object.hasOwn(pairs, key) ? pairs[key] : undefined
  if (pair === undefined) {
    lost('when', `${JSON.stringify(key)} cannot be seen by node proxies`)
    return match
  }
  fill(match, { values, notValues }, { values: pair[0], notValues: pair[1] }, [], `when[${key}]`, lost)
  return match
}

/** Puts the fields of one source, operation or condition into a match; what cannot be put there is reported as lost. */
function fill(
  match: MutableMatch,
  given: object,
  fields: Readonly<Record<string, Field>>,
  l7: readonly string[],
  path: string,
  lost: Lost,
): void {
  for (const [key, values] of Object.entries(given)) {
    if (values === undefined) continue
    const field = Object.hasOwn(fields, key) ? fields[key] : undefined
    if (l7.includes(key)) lost(`${path}.${key}`, 'needs HTTP, which node proxies do not see')
    else if (field === undefined) lost(`${path}.${key}`, 'is not known')
    else if (!Array.isArray(values) || !values.every((value) => typeof value === 'string')) lost(`${path}.${key}`, 'is not a list of text')
    else {
      const bad = field(match, values)
      if (bad !== undefined) lost(`${path}.${key}`, `${JSON.stringify(bad.slice(0, 100))} is not valid here`)
    }
  }
}

function withoutScheme(value: string): string {
  return value.startsWith('spiffe://') ? value.slice('spiffe://'.length) : value
}
