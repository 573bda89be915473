// Filters that change a head or answer in a backend's place: edits of headers, rewrites, redirects. Semantics: Gateway API
// v1 and Istio's VirtualService. What configuration must not ask for is kept out by usable.ts beforehand.
import type { HeaderField, RequestHead, ResponseHead } from '../../model/http.ts'
import type { HeaderEdits, RouteFilter, RouteMatch } from '../../model/route.ts'
import { withoutPort } from './match.ts'
import { rewritePath } from './path.ts'
import { problemOfEdits } from './usable.ts'

interface Edits {
  readonly set: ReadonlyMap<string, string>
  readonly add: readonly HeaderField[]
  /** Names removed or set: fields of these do not stay as they are. */
  readonly replaced: ReadonlySet<string>
}

const compiled = new WeakMap<HeaderEdits, Edits>()
const DEFAULT_PORTS = { http: 80, https: 443 } as const

/**
 * Removes, then sets, then adds. A name that is set stands where its first field stood; each addition is a field of its own,
 * which means the same as appending with a comma (RFC 9110 5.3). Of several entries of one name in `set`, or in `add`, only
 * the first counts (Gateway API).
 * @throws RangeError for edits that problemOfEdits refuses; a RouteTable hands out none
 */
export function editHeaders(headers: readonly HeaderField[], edits: HeaderEdits): HeaderField[] {
  const { set, add, replaced } = editsOf(edits)
  const result: HeaderField[] = []
  const isPending = set.size === 0 ? undefined : new Set(set.keys())
  for (const field of headers) {
    const name = field[0]
    if (!replaced.has(name)) {
      result.push(field)
      continue
    }
    const value = set.get(name)
    if (value !== undefined && isPending?.delete(name)) result.push([name, value])
  }
  if (isPending !== undefined) for (const name of isPending) result.push([name, set.get(name) ?? ''])
  result.push(...add)
  return result
}

/** The head with another host, another path, or both; the query stays. */
export function rewriteRequest(head: RequestHead, filter: Extract<RouteFilter, { kind: 'rewrite' }>, match: RouteMatch): RequestHead {
  const authority = filter.hostname === undefined ? head.authority : filter.hostname.toLowerCase()
  const path = filter.path === undefined ? head.path : rewritePath(head.path, filter.path, match)
  return { ...head, authority, path }
}

/**
 * The answer of a redirect; the caller sends no body. Without a port: that of the given scheme, else the listener's. Default
 * ports are left out of Location; the query is kept; the request's host is kept without its port.
 */
export function redirectFor(
  head: RequestHead,
  filter: Extract<RouteFilter, { kind: 'redirect' }>,
  match: RouteMatch,
  listenerPort: number,
): ResponseHead {
  const scheme = filter.scheme ?? head.scheme
  const given = filter.hostname?.toLowerCase()
  const host = withoutPort(given ?? head.authority)
  const ownPort = given !== undefined && given.length > host.length ? Number(given.slice(host.length + 1)) : undefined
  const port = filter.port ?? ownPort ?? (filter.scheme === undefined ? listenerPort : DEFAULT_PORTS[scheme])
  const path = filter.path === undefined ? head.path : rewritePath(head.path, filter.path, match)
  const target = (path === '*' ? '' : path) + (head.query === undefined ? '' : `?${head.query}`)
  const location = `${scheme}://${host}${port === DEFAULT_PORTS[scheme] ? '' : `:${port}`}${encodeRest(target)}`
  return { status: filter.status, headers: [['location', location]] }
}

function editsOf(edits: HeaderEdits): Edits {
  const known = compiled.get(edits)
  if (known !== undefined) return known
  const problem = problemOfEdits(edits)
  if (problem !== undefined) throw new RangeError(problem)
  const set = firstOfEach(edits.set)
  const removed = edits.remove.map((name) => name.toLowerCase())
  const result = { set, add: [...firstOfEach(edits.add)], replaced: new Set([...removed, ...set.keys()]) }
  compiled.set(edits, result)
  return result
}

function firstOfEach(fields: readonly HeaderField[]): Map<string, string> {
  const first = new Map<string, string>()
  for (const [name, value] of fields) if (!first.has(name.toLowerCase())) first.set(name.toLowerCase(), value)
  return first
}

/** What no URI may carry is percent-encoded (Latin-1 byte by byte, as it came); what is encoded already stays. */
function encodeRest(target: string): string {
  return target.replaceAll(/[^!#-;=?-[\]_a-z~]/g, (char) => `%${(char.charCodeAt(0) & 0xff).toString(16).toUpperCase().padStart(2, '0')}`)
}
