// Whether a request meets one match of a route. Semantics: Gateway API v1 (HTTPRouteMatch, GRPCRouteMatch) and Istio's
// HTTPMatchRequest. Compiled once per configuration (table.ts, for each candidate of each request, asks `matches`); only a
// percent-decoded query value, a header that came several times, and re2js allocate.
import type { HeaderField, RequestHead } from '../../model/http.ts'
import type { NamedMatch, PathMatch, RouteMatch, TextMatch } from '../../model/route.ts'
import { compileRegex } from './regex.ts'
import { queryValue } from './query.ts'

type Test = (text: string) => boolean
/** What a pattern that cannot be compiled becomes: the whole match then matches nothing, also where it is inverted. */
const NOTHING = 'nothing'
const SLASH = 0x2f

interface NamedTest {
  /** Place of the name in Lookup. */
  readonly slot: number
  readonly test: Test
  readonly isInverted: boolean
}

/**
 * Looks a request's headers and query parameters up, each once, however many matches ask for it. One for all matches of a
 * table; `begin` comes before the matches of a request.
 */
export class Lookup {
  #request: RequestHead | undefined
  /** Counts requests: a value is good when its stamp is this. */
  #round = 0
  readonly #slots = new Map<string, number>()
  readonly #names: string[] = []
  readonly #isHeader: boolean[] = []
  readonly #values: (string | undefined)[] = []
  readonly #stamps: number[] = []

  /** @returns the place of a name; header names in lower case */
  slotOf(name: string, isHeader: boolean): number {
    const key = `${isHeader ? 'h' : 'q'} ${name}`
    const known = this.#slots.get(key)
    if (known !== undefined) return known
    const slot = this.#names.push(name) - 1
    this.#slots.set(key, slot)
    this.#isHeader.push(isHeader)
    this.#values.push(undefined)
    this.#stamps.push(0)
    return slot
  }

  /** Another request from here on. */
  begin(request: RequestHead): void {
    this.#request = request
    this.#round++
  }

  /** The value of a name in the request; undefined = it is not there. */
  value(slot: number): string | undefined {
    if (this.#stamps[slot] === this.#round) return this.#values[slot]
    const request = this.#request
    const name = this.#names[slot]
    let value: string | undefined
    if (request !== undefined && name !== undefined) {
      if (this.#isHeader[slot] === true) value = headerValue(request.headers, name)
      else if (request.query !== undefined) value = queryValue(request.query, name)
    }
    this.#values[slot] = value
    this.#stamps[slot] = this.#round
    return value
  }
}

/** A match made ready. The caller's namespace and labels are not looked at here. */
export class CompiledMatch {
  /** What the path must be, when it is compared character by character and nothing else will do; else undefined. */
  readonly exactPath: string | undefined
  readonly #path: Test | undefined
  readonly #method: Test | undefined
  readonly #authority: Test | undefined
  readonly #named: readonly NamedTest[]
  readonly #isNothing: boolean
  readonly #lookup: Lookup

  constructor(match: RouteMatch, lookup: Lookup) {
    this.#lookup = lookup
    const path = match.path === undefined ? undefined : pathTest(match.path)
    const method = match.method === undefined ? undefined : textTest(match.method)
    const authority = match.authority === undefined ? undefined : authorityTest(match.authority)
    const headers = namedTests(match.headers, true, lookup)
    const query = namedTests(match.query, false, lookup)
    this.exactPath = match.path?.kind === 'exact' && !match.path.ignoresCase ? match.path.value : undefined
    this.#isNothing = path === NOTHING || method === NOTHING || authority === NOTHING || headers === NOTHING || query === NOTHING
    this.#path = path === NOTHING ? undefined : path
    this.#method = method === NOTHING ? undefined : method
    this.#authority = authority === NOTHING ? undefined : authority
    this.#named = headers === NOTHING || query === NOTHING ? [] : [...headers, ...query]
  }

  /** Whether all parts hold for the request that the lookup began with. */
  matches(request: RequestHead): boolean {
    return !this.#isNothing && (this.#path === undefined || this.#path(request.path)) && this.matchesRest(request)
  }

  /** As `matches`, for a request whose path is known to be `exactPath`. */
  matchesRest(request: RequestHead): boolean {
    if (this.#isNothing) return false
    if (this.#method !== undefined && !this.#method(request.method)) return false
    if (this.#authority !== undefined && !this.#authority(request.authority)) return false
    for (const { slot, test, isInverted } of this.#named) {
      const value = this.#lookup.value(slot)
      if ((value !== undefined && test(value)) === isInverted) return false
    }
    return true
  }
}

/**
 * The value of a header as matches see it: fields of one name that came several times are one list, joined with `,` (RFC
 * 9110 5.3), cookies with `; ` (RFC 9113 8.2.3).
 * @param name in lower case
 */
export function headerValue(headers: readonly HeaderField[], name: string): string | undefined {
  let value: string | undefined
  for (const field of headers) {
    if (field[0] !== name) continue
    value = value === undefined ? field[1] : value + (name === 'cookie' ? '; ' : ',') + field[1]
  }
  return value
}

/** An element prefix without the `/` at its end, which does not count; `/` itself becomes empty. */
export function trimPrefix(prefix: string): string {
  return prefix.endsWith('/') ? prefix.slice(0, -1) : prefix
}

/** Whether `path` is `prefix` (as trimPrefix gives it) or continues it by whole elements; asks first what tells most paths apart. */
function hasElements(path: string, prefix: string): boolean {
  const { length } = prefix
  if (path.length === length) return path === prefix
  if (path.charCodeAt(length) !== SLASH) return false
  return (length === 0 || path.charCodeAt(length - 1) === prefix.charCodeAt(length - 1)) && path.startsWith(prefix)
}

function pathTest({ kind, value, ignoresCase }: PathMatch): Test | typeof NOTHING {
  // A regex says itself how it takes case: `ignoresCase` is about texts only, as in VirtualService.
  if (kind === 'regex') return regexTest(value)
  const text = ignoresCase ? value.toLowerCase() : value
  const plain = plainPathTest(kind, text)
  return ignoresCase ? (path) => plain(path.toLowerCase()) : plain
}

function plainPathTest(kind: Exclude<PathMatch['kind'], 'regex'>, text: string): Test {
  if (kind === 'exact') return (path) => path === text
  if (kind === 'textPrefix') return (path) => path.startsWith(text)
  const prefix = trimPrefix(text)
  return (path) => hasElements(path, prefix)
}

function textTest(match: TextMatch): Test | typeof NOTHING {
  switch (match.kind) {
    case 'present':
      return () => true
    case 'exact':
      return (text) => text === match.value
    case 'prefix':
      return (text) => text.startsWith(match.value)
    case 'regex':
      return regexTest(match.value)
    default:
      return match satisfies never
  }
}

/** Hosts have no case, and a port that the client wrote does not change which host it means: either form may match. */
function authorityTest(match: TextMatch): Test | typeof NOTHING {
  const isText = match.kind === 'exact' || match.kind === 'prefix'
  const test = textTest(isText ? { kind: match.kind, value: match.value.toLowerCase() } : match)
  if (test === NOTHING) return NOTHING
  return (authority) => test(authority) || (authority.includes(':') && test(withoutPort(authority)))
}

/** `host` of `host:port`; brackets of an IPv6 address stay. */
export function withoutPort(authority: string): string {
  const colon = authority.lastIndexOf(':')
  return colon > authority.lastIndexOf(']') ? authority.slice(0, colon) : authority
}

function regexTest(pattern: string): Test | typeof NOTHING {
  const regex = compileRegex(pattern)
  if (!regex.ok) return NOTHING
  const { value } = regex
  return (text) => value.testExact(text)
}

/** Of several entries of one name only the first counts (Gateway API); an inverted one stands beside one that is not. */
function namedTests(list: readonly NamedMatch[], isHeader: boolean, lookup: Lookup): readonly NamedTest[] | typeof NOTHING {
  const tests = new Map<string, NamedTest>()
  for (const { name: given, match, isInverted } of list) {
    const name = isHeader ? given.toLowerCase() : given
    const key = `${isInverted} ${name}`
    if (tests.has(key)) continue
    const test = textTest(match)
    if (test === NOTHING) return NOTHING
    tests.set(key, { slot: lookup.slotOf(name, isHeader), test, isInverted })
  }
  return [...tests.values()]
}
