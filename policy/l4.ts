// L4 authorization: may this connection pass? Pure; the caller gathers the policies that apply to the destination.
// Order and corners follow istio/ztunnel:src/state.rs (assert_rbac) and src/rbac.rs. Called once per connection and again
// for each live one when policies change, so a match allocates nothing.
// Behind a waypoint there are two identities, the client's and the waypoint's: a principal or account matches if one of them does.
// Whoever names the waypoint itself means whatever it lets through. Where a pattern merely covers the waypoint, too, the stricter
// reading counts: it allows nobody else and excepts nobody from a DENY.
import { ipToBytes } from '../model/address.ts'
import type { Cidr } from '../model/address.ts'
import { spiffeIdOf } from '../model/identity.ts'
import type { Identity } from '../model/identity.ts'
import type { Authorization, PolicyConnection, PolicyMatch, PolicyVerdict, ServiceAccountMatch, StringMatch } from '../model/policy.ts'
import { anyBlockContains } from './cidr.ts'

/** What a dry-run policy would have done; it never changes the verdict. */
export interface DryRunFinding {
  readonly policy: string
  readonly effect: 'WOULD_DENY' | 'WOULD_ALLOW'
}

/** A verdict, and the findings of dry-run policies. */
export interface PolicyDecision {
  readonly verdict: PolicyVerdict
  readonly dryRun: readonly DryRunFinding[]
}

/**
 * Decides: an enforced DENY that matches denies; else without any enforced ALLOW it passes; else one of them must match.
 * @param policies those of the destination's namespace, the global ones, and the workload's own
 */
export function decide(policies: readonly Authorization[], connection: PolicyConnection): PolicyVerdict {
  return judge(policies, new Facts(connection))
}

/**
 * As `decide`, with what the dry-run policies say: each DENY that matches, each ALLOW that matches, and every dry-run ALLOW
 * when none of them matches (enforced, they would deny).
 */
export function decideWithDryRun(policies: readonly Authorization[], connection: PolicyConnection): PolicyDecision {
  const facts = new Facts(connection)
  const dryRun: DryRunFinding[] = []
  const missed: DryRunFinding[] = []
  let hasMatch = false
  for (const policy of policies) {
    if (!policy.isDryRun) continue
    const isMatch = policyMatches(policy, facts)
    if (policy.action === 'DENY') {
      if (isMatch) dryRun.push({ policy: nameOf(policy), effect: 'WOULD_DENY' })
    } else if (isMatch) {
      hasMatch = true
      dryRun.push({ policy: nameOf(policy), effect: 'WOULD_ALLOW' })
    } else missed.push({ policy: nameOf(policy), effect: 'WOULD_DENY' })
  }
  return { verdict: judge(policies, facts), dryRun: hasMatch ? dryRun : [...dryRun, ...missed] }
}

/** Judges single matches of one connection by its client alone; what is computed for one is kept for the next. */
export function connectionJudge(connection: PolicyConnection): (match: PolicyMatch) => boolean {
  const facts = new Facts(connection)
  return (match) => matches(match, facts)
}

/** One sentence for logs and explanations, in ztunnel's words. */
export function explain(verdict: PolicyVerdict): string {
  if (verdict.isAllowed) return verdict.by === undefined ? 'allowed: no ALLOW policy applies' : `allowed by: ${verdict.by}`
  return verdict.reason === 'DENIED_BY' ? `explicitly denied by: ${verdict.by}` : 'allow policies exist, but none allowed'
}

/** One identity as the matches see it; without one the texts are empty. */
class Party {
  readonly identity: Identity | undefined
  readonly namespace: string
  #principal: string | undefined

  constructor(identity: Identity | undefined) {
    this.identity = identity
    this.namespace = identity?.namespace ?? ''
  }

  /** The SPIFFE ID without `spiffe://`; made when first asked for. */
  get principal(): string {
    this.#principal ??= this.identity === undefined ? '' : spiffeIdOf(this.identity).slice('spiffe://'.length)
    return this.#principal
  }
}

/** What the matches look at, made when first asked for. */
class Facts {
  readonly client: Party
  readonly waypoint: Party | undefined
  readonly destinationPort: number
  /** Of the two the one that the rule under way is asked about. */
  subject: Party
  /** Action of the policy under way. */
  isDeny = false
  readonly #connection: PolicyConnection
  #sourceIp: Uint8Array | undefined
  #destinationIp: Uint8Array | undefined

  constructor(connection: PolicyConnection) {
    this.#connection = connection
    this.client = new Party(connection.source)
    this.waypoint = connection.via === undefined ? undefined : new Party(connection.via)
    this.subject = this.client
    this.destinationPort = connection.destinationPort
  }

  get sourceIp(): Uint8Array {
    this.#sourceIp ??= ipToBytes(this.#connection.sourceIp)
    return this.#sourceIp
  }

  get destinationIp(): Uint8Array {
    this.#destinationIp ??= ipToBytes(this.#connection.destinationIp)
    return this.#destinationIp
  }
}

function judge(policies: readonly Authorization[], facts: Facts): PolicyVerdict {
  for (const policy of policies) {
    if (policy.action === 'DENY' && !policy.isDryRun && policyMatches(policy, facts))
      return { isAllowed: false, reason: 'DENIED_BY', by: nameOf(policy) }
  }
  let hasAllow = false
  for (const policy of policies) {
    if (policy.action !== 'ALLOW' || policy.isDryRun) continue
    hasAllow = true
    if (policyMatches(policy, facts)) return { isAllowed: true, by: nameOf(policy) }
  }
  return hasAllow ? { isAllowed: false, reason: 'NOT_ALLOWED', by: undefined } : { isAllowed: true, by: undefined }
}

function nameOf(policy: Authorization): string {
  return `${policy.namespace}/${policy.name}`
}

/** Rules OR. No rules never match: an ALLOW of nothing, a DENY of nothing. */
function policyMatches(policy: Authorization, facts: Facts): boolean {
  const { client, waypoint } = facts
  facts.isDeny = policy.action === 'DENY'
  for (const rule of policy.rules) {
    facts.subject = client
    if (ruleMatches(rule, facts)) return true
    if (waypoint === undefined) continue
    facts.subject = waypoint
    if (ruleMatches(rule, facts)) return true
  }
  return false
}

/** Clauses AND. A rule without clauses (`- {}`) matches everything. */
function ruleMatches(rule: readonly (readonly PolicyMatch[])[], facts: Facts): boolean {
  for (const clause of rule) if (!clauseMatches(clause, facts)) return false
  return true
}

/** Matches OR. A clause without matches is true; a match with all fields empty is skipped, so only-empty matches are false. */
function clauseMatches(clause: readonly PolicyMatch[], facts: Facts): boolean {
  if (clause.length === 0) return true
  for (const match of clause) if (!isEmptyMatch(match) && matches(match, facts)) return true
  return false
}

/** Whether a match asks for nothing. */
export function isEmptyMatch(match: PolicyMatch): boolean {
  for (const field in match) if (match[field as keyof PolicyMatch].length > 0) return false
  return true
}

/** Fields AND; a field that is not asked for is not computed. */
function matches(match: PolicyMatch, facts: Facts): boolean {
  return (
    portsMatch(match.destinationPorts, match.notDestinationPorts, facts.destinationPort) &&
    namespacesMatch(match.namespaces, match.notNamespaces, facts) &&
    principalsMatch(match.principals, match.notPrincipals, facts) &&
    accountsMatch(match.serviceAccounts, match.notServiceAccounts, facts) &&
    blocksMatch(match.sourceIps, match.notSourceIps, facts, false) &&
    blocksMatch(match.destinationIps, match.notDestinationIps, facts, true)
  )
}

function portsMatch(wanted: readonly number[], unwanted: readonly number[], port: number): boolean {
  return (wanted.length === 0 || wanted.includes(port)) && !unwanted.includes(port)
}

/** Namespaces are the client's alone: a waypoint lives in the namespace of what it guards, which says nothing. */
function namespacesMatch(wanted: readonly StringMatch[], unwanted: readonly StringMatch[], { client }: Facts): boolean {
  if (wanted.length === 0 && unwanted.length === 0) return true
  return (wanted.length === 0 || anyText(wanted, client.namespace)) && !anyText(unwanted, client.namespace)
}

function principalsMatch(wanted: readonly StringMatch[], unwanted: readonly StringMatch[], facts: Facts): boolean {
  if (wanted.length === 0 && unwanted.length === 0) return true
  const { client, waypoint, subject, isDeny } = facts
  if (wanted.length > 0) {
    const holds = subject === waypoint && !isDeny ? isNamed(wanted, subject.principal) : anyText(wanted, subject.principal)
    if (!holds) return false
  }
  if (unwanted.length === 0) return true
  if (anyText(unwanted, client.principal)) return false
  if (waypoint === undefined) return true
  return !(isDeny ? isNamed(unwanted, waypoint.principal) : anyText(unwanted, waypoint.principal))
}

/** Whether a list has this very principal, written out. */
function isNamed(list: readonly StringMatch[], principal: string): boolean {
  for (const match of list) if (match.kind === 'exact' && match.value === principal) return true
  return false
}

/** Without an identity the text is empty: nothing matches it, not even an empty prefix. */
function anyText(list: readonly StringMatch[], text: string): boolean {
  if (text !== '') for (const match of list) if (isText(match, text)) return true
  return false
}

/** Whether a text is what a match asks for; it must not be empty. */
export function isText(match: StringMatch, text: string): boolean {
  switch (match.kind) {
    case 'presence':
      return true
    case 'exact':
      return text === match.value
    case 'prefix':
      return text.startsWith(match.value)
    case 'suffix':
      return text.endsWith(match.value)
    default:
      return match satisfies never
  }
}

function accountsMatch(wanted: readonly ServiceAccountMatch[], unwanted: readonly ServiceAccountMatch[], facts: Facts): boolean {
  const { client, waypoint, subject } = facts
  if (wanted.length > 0 && !anyAccount(wanted, subject.identity)) return false
  if (unwanted.length === 0) return true
  return !anyAccount(unwanted, client.identity) && !anyAccount(unwanted, waypoint?.identity)
}

function anyAccount(list: readonly ServiceAccountMatch[], source: Identity | undefined): boolean {
  if (source === undefined) return false
  for (const { namespace, serviceAccount } of list)
    if (namespace === source.namespace && serviceAccount === source.serviceAccount) return true
  return false
}

function blocksMatch(wanted: readonly Cidr[], unwanted: readonly Cidr[], facts: Facts, isDestination: boolean): boolean {
  if (wanted.length === 0 && unwanted.length === 0) return true
  const ip = isDestination ? facts.destinationIp : facts.sourceIp
  return (wanted.length === 0 || anyBlockContains(wanted, ip)) && (unwanted.length === 0 || !anyBlockContains(unwanted, ip))
}
