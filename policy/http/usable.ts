// What configuration must not make a proxy do, whatever object it came from: break framing or speak in the mesh's name.
// A rule that asks for it answers 500 in place of being carried out in part; translation says so in the object's status.
import type { HeaderEdits, PathRewrite, RouteFilter, RouteRule, WeightedBackend } from '../../model/route.ts'
import { compileRegex } from './regex.ts'

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
/** Printable Latin-1 and tabs: a wider character would lose its upper byte on the wire, and U+010D would become CR. */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/
/** As a normalised path: visible ASCII without what ends a path. */
const PATH = /^[!"$-;=@-_a-z|~]*$/
const DOTS = /(?:^|\/)(?:\.|%2e){1,2}(?:\/|$)/i
const HOST = /^(?:[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?$/i
const MAX_HOST_CHARACTERS = 260
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])

/** Fields that the codecs alone write; editing one could change where a message ends or what a connection is for. */
const OWN_FIELDS: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'expect',
  'host',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/**
 * Why a rule must not be carried out, in one sentence for a status; undefined = it may.
 *
 * Refused are: edits of names that are not tokens (also `:authority` and the like), of host, framing and hop-by-hop fields
 * (connection, content-length, expect, host, http2-settings, keep-alive, proxy-connection, te, trailer, transfer-encoding,
 * upgrade) and of `x-weft-…`; values with control characters or characters beyond Latin-1; new paths that are not
 * normalised paths (`?`, `#`, dot segments, spaces, not starting with `/`); hosts that are none; patterns that are not RE2;
 * statuses of redirects other than 301, 302, 303, 307, 308.
 */
export function problemOf(rule: RouteRule): string | undefined {
  const own = problemOfFilters(rule.filters)
  if (own !== undefined) return own
  for (const backend of rule.backends) {
    const problem = problemOfFilters(backend.filters)
    if (problem !== undefined) return problem
  }
  return undefined
}

/**
 * The rule as a proxy may carry it out: itself when nothing is wrong; else a backend whose filters are refused is `invalid`
 * and keeps its share, and with refused filters of the rule's own every request gets 500.
 */
export function usableRule(rule: RouteRule): RouteRule {
  const reason = problemOfFilters(rule.filters)
  if (reason !== undefined) return { ...rule, filters: [], backends: [{ kind: 'invalid', weight: 1, filters: [], reason }] }
  if (rule.backends.every((backend) => problemOfFilters(backend.filters) === undefined)) return rule
  return { ...rule, backends: rule.backends.map(usableBackend) }
}

/** Why a list of filters must not be carried out; undefined = it may. */
export function problemOfFilters(filters: readonly RouteFilter[]): string | undefined {
  for (const filter of filters) {
    const problem = problemOfFilter(filter)
    if (problem !== undefined) return problem
  }
  return undefined
}

/** Why edits of headers are refused; undefined = they are taken. */
export function problemOfEdits(edits: HeaderEdits): string | undefined {
  for (const name of edits.remove) {
    const problem = problemOfName(name)
    if (problem !== undefined) return problem
  }
  for (const [name, value] of [...edits.set, ...edits.add]) {
    const problem = problemOfName(name)
    if (problem !== undefined) return problem
    if (!VALUE.test(value)) return `value of header ${name} holds a character that no header may carry`
  }
  return undefined
}

function usableBackend(backend: WeightedBackend): WeightedBackend {
  const reason = problemOfFilters(backend.filters)
  return reason === undefined ? backend : { kind: 'invalid', weight: backend.weight, filters: [], reason }
}

function problemOfFilter(filter: RouteFilter): string | undefined {
  switch (filter.kind) {
    case 'requestHeaders':
    case 'responseHeaders':
      return problemOfEdits(filter.edits)
    case 'redirect':
      if (!REDIRECTS.has(filter.status)) return `redirect with status ${filter.status}`
      if (filter.port !== undefined && !(filter.port >= 1 && filter.port <= 65_535)) return `redirect to port ${filter.port}`
      return problemOfHost(filter.hostname) ?? problemOfRewrite(filter.path)
    case 'rewrite':
      return problemOfHost(filter.hostname) ?? problemOfRewrite(filter.path)
    case 'cors': {
      const { allowOrigins, allowMethods, allowHeaders, exposeHeaders } = filter.policy
      const bad = [...allowOrigins, ...allowMethods, ...allowHeaders, ...exposeHeaders].find((text) => !VALUE.test(text))
      return bad === undefined ? undefined : `CORS entry ${JSON.stringify(bad)} holds a character that no header may carry`
    }
    case 'mirror':
      return undefined
    default:
      return filter satisfies never
  }
}

function problemOfName(name: string): string | undefined {
  if (!TOKEN.test(name)) return `${JSON.stringify(name)} is no name of a header`
  const lower = name.toLowerCase()
  if (lower === 'host') return 'header host is set by a rewrite of the hostname, not by edits of headers'
  return OWN_FIELDS.has(lower) || lower.startsWith('x-weft-') ? `header ${lower} belongs to the proxy` : undefined
}

function problemOfHost(hostname: string | undefined): string | undefined {
  if (hostname === undefined) return undefined
  // The parser of URLs knows ports, IPv6, and names that end in a number and are no IPv4 address (`09`): clients refuse those.
  if (hostname.length <= MAX_HOST_CHARACTERS && HOST.test(hostname) && URL.canParse(`http://${hostname}/`)) return undefined
  return `${JSON.stringify(hostname)} is no host`
}

function problemOfRewrite(rewrite: PathRewrite | undefined): string | undefined {
  if (rewrite === undefined) return undefined
  if (rewrite.kind === 'regex') {
    const regex = compileRegex(rewrite.pattern)
    if (!regex.ok) return regex.errors[0]
    const plain = rewrite.substitution.replaceAll(/\\[0-9\\]/g, '')
    if (plain.includes('\\')) return `substitution ${JSON.stringify(rewrite.substitution)} has a \\ before something else than a digit`
    const groups = regex.value.groupCount()
    for (const [, digit] of rewrite.substitution.matchAll(/\\([0-9])/g))
      if (Number(digit) > groups) return `substitution ${JSON.stringify(rewrite.substitution)} names group ${digit} of ${groups}`
    return PATH.test(plain) ? undefined : `substitution ${JSON.stringify(rewrite.substitution)} holds a character that no path may carry`
  }
  const { value } = rewrite
  const isFine = PATH.test(value) && !DOTS.test(value) && (value === '' || value.startsWith('/'))
  return isFine ? undefined : `${JSON.stringify(value)} is no path`
}
