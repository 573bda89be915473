// May this request pass? Policies that name a service or its waypoint: DENY first, then, once there is an ALLOW policy, one must match.
// What is no HTTP has no host, method, path or header: an ALLOW that asks for one does not match, a DENY that asks for one does.
// Follows the corners of policy/l4.ts for what concerns the connection. Pure.
import { type HeaderField, headerOf, type RequestHead } from '../../model/http.ts'
import type { HeaderCondition, HttpPolicy, HttpPolicyMatch } from '../../model/http-policy.ts'
import type { PolicyAction, PolicyConnection, PolicyVerdict, StringMatch } from '../../model/policy.ts'
import { bareOf } from './parameters.ts'
import { connectionJudge, isEmptyMatch, isText } from '../l4.ts'

/** What of a request is looked at. */
export type JudgedHead = Pick<RequestHead, 'method' | 'authority' | 'path' | 'headers'>

/** @param head undefined = the connection carries no HTTP */
export function judgeHttp(policies: readonly HttpPolicy[], connection: PolicyConnection, head: JudgedHead | undefined): PolicyVerdict {
  const judge = connectionJudge(connection)
  for (const policy of policies)
    if (policy.action === 'DENY' && policyMatches(policy, judge, head)) return { isAllowed: false, reason: 'DENIED_BY', by: policy.name }
  let hasAllow = false
  for (const policy of policies) {
    if (policy.action !== 'ALLOW') continue
    hasAllow = true
    if (policyMatches(policy, judge, head)) return { isAllowed: true, by: policy.name }
  }
  return hasAllow ? { isAllowed: false, reason: 'NOT_ALLOWED', by: undefined } : { isAllowed: true, by: undefined }
}

type ConnectionJudge = ReturnType<typeof connectionJudge>

function policyMatches({ rules, action }: HttpPolicy, judge: ConnectionJudge, head: JudgedHead | undefined): boolean {
  for (const clauses of rules) if (clauses.every((matches) => matches.some((match) => matchHolds(match, action, judge, head)))) return true
  return false
}

/** A match that asks for nothing holds for nothing, as in the policies of node proxies. */
function matchHolds(match: HttpPolicyMatch, action: PolicyAction, judge: ConnectionJudge, head: JudgedHead | undefined): boolean {
  const asksConnection = !isEmptyMatch(match.connection)
  const asksHttp = hasHttp(match)
  if (!asksConnection && !asksHttp) return false
  if (asksConnection && !judge(match.connection)) return false
  if (!asksHttp) return true
  if (head === undefined) return action === 'DENY'
  return (
    listsHold(match.methods, match.notMethods, head.method) &&
    pathHolds(match, action, head.path) &&
    hostsHold(match.hosts, match.notHosts, head.authority.toLowerCase()) &&
    match.headers.every((condition) => headerHolds(condition, action, head.headers))
  )
}

function hasHttp({ hosts, notHosts, methods, notMethods, paths, notPaths, headers }: HttpPolicyMatch): boolean {
  return hosts.length + notHosts.length + methods.length + notMethods.length + paths.length + notPaths.length + headers.length > 0
}

/** A path with parameters is two: servers differ in whether they count. ALLOW must mean both, DENY either. */
function pathHolds({ paths, notPaths }: HttpPolicyMatch, action: PolicyAction, path: string): boolean {
  const holds = listsHold(paths, notPaths, path)
  const bare = bareOf(path)
  if (bare === undefined || holds === (action === 'DENY')) return holds
  return listsHold(paths, notPaths, bare)
}

function listsHold(wanted: readonly StringMatch[], unwanted: readonly StringMatch[], text: string): boolean {
  return (wanted.length === 0 || any(wanted, text)) && !any(unwanted, text)
}

/** The port counts where the value has one. */
function hostsHold(wanted: readonly StringMatch[], unwanted: readonly StringMatch[], authority: string): boolean {
  const host = authority.replace(/:\d{1,5}$/, '').replace(/\.$/, '')
  const holds = (list: readonly StringMatch[]): boolean => any(list, host) || any(list, authority)
  return (wanted.length === 0 || holds(wanted)) && !holds(unwanted)
}

/**
 * A header that comes several times is taken as strictly as the action asks: an ALLOW wants every value to match, a DENY one of them,
 * or what they are together.
 */
function headerHolds({ name, values, notValues }: HeaderCondition, action: PolicyAction, headers: readonly HeaderField[]): boolean {
  if (headerOf(headers, name) === undefined) return values.length === 0
  const fields = headers.filter(([own]) => own === name).map(([, value]) => value)
  const all = fields.length > 1 ? [...fields, fields.join(',')] : fields
  const isDeny = action === 'DENY'
  const isWanted = values.length === 0 || (isDeny ? all.some((value) => any(values, value)) : fields.every((value) => any(values, value)))
  const isUnwanted =
    notValues.length > 0 && (isDeny ? fields.every((value) => any(notValues, value)) : all.some((value) => any(notValues, value)))
  return isWanted && !isUnwanted
}

/** A text that is not there matches nothing, not even presence. */
function any(list: readonly StringMatch[], text: string): boolean {
  if (text !== '') for (const match of list) if (isText(match, text)) return true
  return false
}
