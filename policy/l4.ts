// L4 authorization: may this connection pass? Pure; the caller gathers the policies that apply to the destination.
// Order and corners follow istio/ztunnel:src/state.rs (assert_rbac) and src/rbac.rs.
import { cidrContains } from '../model/address.ts'
import { spiffeIdOf } from '../model/identity.ts'
import type { Authorization, PolicyConnection, PolicyMatch, PolicyVerdict, ServiceAccountMatch, StringMatch } from '../model/policy.ts'

/** A verdict, and what dry-run policies would have decided (`namespace/name` of each that matched or would have denied). */
export interface PolicyDecision {
  readonly verdict: PolicyVerdict
  readonly dryRun: readonly string[]
}

/**
 * Decides: an enforced DENY that matches denies; else without any enforced ALLOW it passes; else one of them must match.
 * @param policies those of the destination's namespace, the global ones, and the workload's own
 */
export function decide(policies: readonly Authorization[], connection: PolicyConnection): PolicyVerdict {
  return decideWithDryRun(policies, connection).verdict
}

/** As `decide`, with the findings of dry-run policies, which never change the verdict. */
export function decideWithDryRun(policies: readonly Authorization[], connection: PolicyConnection): PolicyDecision {
  const facts = factsOf(connection)
  const dryRun: string[] = []
  let allowedBy: string | undefined
  let hasAllow = false
  let deniedBy: string | undefined
  for (const policy of policies) {
    if (policy.action === 'ALLOW' && !policy.isDryRun) hasAllow = true
    if (policy.action === 'ALLOW' && allowedBy !== undefined && !policy.isDryRun) continue
    if (!policyMatches(policy, facts)) continue
    if (policy.isDryRun) dryRun.push(nameOf(policy))
    else if (policy.action === 'ALLOW') allowedBy = nameOf(policy)
    else deniedBy ??= nameOf(policy)
  }
  return { verdict: verdictOf(deniedBy, hasAllow, allowedBy), dryRun }
}

/** One sentence for logs and explanations, in ztunnel's words. */
export function explain(verdict: PolicyVerdict): string {
  if (verdict.isAllowed) return verdict.by === undefined ? 'allowed: no ALLOW policy applies' : `allowed by: ${verdict.by}`
  return verdict.reason === 'DENIED_BY' ? `explicitly denied by: ${verdict.by}` : 'allow policies exist, but none allowed'
}

/** What the matches look at, computed once per decision; absent identity is the empty string everywhere. */
interface Facts {
  readonly connection: PolicyConnection
  /** The SPIFFE ID without `spiffe://`; empty for plaintext. */
  readonly principal: string
  readonly namespace: string
}

function factsOf(connection: PolicyConnection): Facts {
  const { source } = connection
  return {
    connection,
    principal: source === undefined ? '' : spiffeIdOf(source).slice('spiffe://'.length),
    namespace: source?.namespace ?? '',
  }
}

function verdictOf(deniedBy: string | undefined, hasAllow: boolean, allowedBy: string | undefined): PolicyVerdict {
  if (deniedBy !== undefined) return { isAllowed: false, reason: 'DENIED_BY', by: deniedBy }
  if (!hasAllow || allowedBy !== undefined) return { isAllowed: true, by: allowedBy }
  return { isAllowed: false, reason: 'NOT_ALLOWED', by: undefined }
}

function nameOf(policy: Authorization): string {
  return `${policy.namespace}/${policy.name}`
}

/** Rules OR. No rules never match: an ALLOW of nothing, a DENY of nothing. */
function policyMatches(policy: Authorization, facts: Facts): boolean {
  for (const rule of policy.rules) if (ruleMatches(rule, facts)) return true
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
  for (const match of clause) if (!isEmpty(match) && matches(match, facts)) return true
  return false
}

function isEmpty(match: PolicyMatch): boolean {
  for (const list of Object.values(match)) if (list.length > 0) return false
  return true
}

function matches(match: PolicyMatch, facts: Facts): boolean {
  const { sourceIp, destinationIp, destinationPort } = facts.connection
  return (
    anyString(match.principals, match.notPrincipals, facts.principal) &&
    anyString(match.namespaces, match.notNamespaces, facts.namespace) &&
    accountsMatch(match.serviceAccounts, match.notServiceAccounts, facts) &&
    anyOf(match.sourceIps, match.notSourceIps, (block) => cidrContains(block, sourceIp)) &&
    anyOf(match.destinationIps, match.notDestinationIps, (block) => cidrContains(block, destinationIp)) &&
    anyOf(match.destinationPorts, match.notDestinationPorts, (port) => port === destinationPort)
  )
}

function anyOf<T>(wanted: readonly T[], unwanted: readonly T[], test: (value: T) => boolean): boolean {
  return (wanted.length === 0 || wanted.some(test)) && !unwanted.some(test)
}

function anyString(wanted: readonly StringMatch[], unwanted: readonly StringMatch[], text: string): boolean {
  return anyOf(wanted, unwanted, (match) => stringMatches(match, text))
}

/** Without an identity the text is empty: nothing matches it, not even an empty prefix. */
function stringMatches(match: StringMatch, text: string): boolean {
  if (text === '') return false
  switch (match.kind) {
    case 'presence':
      return true
    case 'exact':
      return text === match.value
    case 'prefix':
      return text.startsWith(match.value)
    case 'suffix':
      return text.endsWith(match.value)
  }
}

function accountsMatch(wanted: readonly ServiceAccountMatch[], unwanted: readonly ServiceAccountMatch[], facts: Facts): boolean {
  const { source } = facts.connection
  return anyOf(
    wanted,
    unwanted,
    (account) => source !== undefined && account.namespace === source.namespace && account.serviceAccount === source.serviceAccount,
  )
}
