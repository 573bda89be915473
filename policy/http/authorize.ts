// L4 policies of a destination behind its waypoint. Two identities stand behind such a request: the client that the waypoint
// verified and the waypoint that carries it. A principal (or service account) matches when either of them does; but where
// that would let more through, the waypoint must be named exactly: `ALLOW ns/shop/*` is about clients, though the waypoint
// itself lives in shop. Namespaces and addresses are the client's alone.
import type { Identity } from '../../model/identity.ts'
import { spiffeIdOf } from '../../model/identity.ts'
import type { Authorization, PolicyAction, PolicyConnection, PolicyMatch, PolicyVerdict, StringMatch } from '../../model/policy.ts'
import { EMPTY_MATCH } from '../../model/policy.ts'
import { decide } from '../l4.ts'

interface Widened {
  readonly waypoint: string
  readonly policy: Authorization
}

/** Policies are immutable values, asked about one waypoint almost always. */
const widened = new WeakMap<Authorization, Widened>()
/** Excludes nobody, but keeps a match from being empty, which would be skipped. */
const NOBODY: StringMatch = Object.freeze({ kind: 'exact', value: '' })

/**
 * Decides as policy/l4.ts does, for the original client and the waypoint together.
 * @param policies those that apply to the destination workload
 * @param connection `source` = the original client (undefined = unknown), the real addresses and port
 * @param waypoint the waypoint's own identity
 */
export function authorize(policies: readonly Authorization[], connection: PolicyConnection, waypoint: Identity): PolicyVerdict {
  if (policies.length === 0) return decide(policies, connection)
  const id = spiffeIdOf(waypoint)
  return decide(
    policies.map((policy) => widen(policy, waypoint, id)),
    connection,
  )
}

function widen(policy: Authorization, waypoint: Identity, id: string): Authorization {
  const known = widened.get(policy)
  if (known?.waypoint === id) return known.policy
  const rules = policy.rules.map((rule) =>
    rule.map((clause) => clause.flatMap((match) => widenMatch(match, policy.action, waypoint, id.slice('spiffe://'.length)))),
  )
  const wide = { ...policy, rules }
  widened.set(policy, { waypoint: id, policy: wide })
  return wide
}

/** The matches that stand for one, at least one. */
function widenMatch(match: PolicyMatch, action: PolicyAction, waypoint: Identity, principal: string): PolicyMatch[] {
  const { principals, serviceAccounts } = match
  const isExcluded = isNamed(match.notPrincipals, principal, action === 'DENY') || isAccount(match.notServiceAccounts, waypoint)
  // An empty match never holds.
  if (isExcluded) return [EMPTY_MATCH]
  if (principals.length + serviceAccounts.length === 0) return [match]
  const isWanted =
    (principals.length === 0 || isNamed(principals, principal, action === 'ALLOW')) &&
    (serviceAccounts.length === 0 || isAccount(serviceAccounts, waypoint))
  if (!isWanted) return [match]
  return [match, { ...match, principals: [], serviceAccounts: [], notNamespaces: [...match.notNamespaces, NOBODY] }]
}

function isNamed(list: readonly StringMatch[], principal: string, isExactOnly: boolean): boolean {
  for (const match of list) {
    if (match.kind === 'exact' && match.value === principal) return true
    if (isExactOnly) continue
    if (match.kind === 'presence') return true
    if (match.kind === 'prefix' && principal.startsWith(match.value)) return true
    if (match.kind === 'suffix' && principal.endsWith(match.value)) return true
  }
  return false
}

function isAccount(list: PolicyMatch['serviceAccounts'], { namespace, serviceAccount }: Identity): boolean {
  return list.some((account) => account.namespace === namespace && account.serviceAccount === serviceAccount)
}
