// Matches: the tables of the specifications and their corners, then a slow evaluator written from the model's words, with
// which thousands of generated matches must agree.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { RequestHead } from '../../../../model/http.ts'
import type { NamedMatch, PathMatch, RouteMatch, TextMatch } from '../../../../model/route.ts'
import { CompiledMatch, Lookup } from '../../../../policy/http/match.ts'
import { requestOf } from '../../../support/request-values.ts'
import { ANY_MATCH } from '../../../support/route-values.ts'

interface Row {
  readonly name: string
  readonly given: readonly [Partial<RouteMatch>, RequestHead]
  readonly want: boolean
}

const path = (kind: PathMatch['kind'], value: string, ignoresCase = false): Partial<RouteMatch> => ({ path: { kind, value, ignoresCase } })
const exact = (value: string): TextMatch => ({ kind: 'exact', value })
const prefix = (value: string): TextMatch => ({ kind: 'prefix', value })
const regex = (value: string): TextMatch => ({ kind: 'regex', value })
const PRESENT: TextMatch = { kind: 'present' }
const named = (name: string, match: TextMatch, isInverted = false): NamedMatch => ({ name, match, isInverted })
const header = (name: string, match: TextMatch): Partial<RouteMatch> => ({ headers: [named(name, match)] })
const without = (name: string, match: TextMatch): Partial<RouteMatch> => ({ headers: [named(name, match, true)] })
const query = (name: string, match: TextMatch): Partial<RouteMatch> => ({ query: [named(name, match)] })
const to = requestOf
const as = (method: string): RequestHead => requestOf('/', {}, { method })
const at = (authority: string): RequestHead => requestOf('/', {}, { authority })

const PATHS: readonly Row[] = [
  { name: 'no part: everything', given: [{}, to('/a?b')], want: true },
  { name: 'exact: same', given: [path('exact', '/a/b'), to('/a/b')], want: true },
  { name: 'exact: query does not count', given: [path('exact', '/a/b'), to('/a/b?c=d')], want: true },
  { name: 'exact: a slash more', given: [path('exact', '/a/b'), to('/a/b/')], want: false },
  { name: 'exact: a slash less', given: [path('exact', '/a/b/'), to('/a/b')], want: false },
  { name: 'exact: case', given: [path('exact', '/a/b'), to('/a/B')], want: false },
  { name: 'exact: case ignored in the request', given: [path('exact', '/a/b', true), to('/A/B')], want: true },
  { name: 'exact: case ignored in the match', given: [path('exact', '/A/B', true), to('/a/b')], want: true },
  { name: 'exact: case ignored, another path', given: [path('exact', '/A/B', true), to('/a/c')], want: false },
  { name: 'exact: deeper', given: [path('exact', '/a'), to('/a/b')], want: false },
  { name: 'exact: percent-encoding is compared as it stands', given: [path('exact', '/a b'), to('/a%20b')], want: false },
  { name: 'prefix: itself', given: [path('prefix', '/abc'), to('/abc')], want: true },
  { name: 'prefix: itself with a slash', given: [path('prefix', '/abc'), to('/abc/')], want: true },
  { name: 'prefix: deeper', given: [path('prefix', '/abc'), to('/abc/def')], want: true },
  { name: 'prefix: part of an element', given: [path('prefix', '/abc'), to('/abcd')], want: false },
  { name: 'prefix: shorter', given: [path('prefix', '/abc'), to('/ab')], want: false },
  { name: 'prefix: slash at the end, itself without', given: [path('prefix', '/abc/'), to('/abc')], want: true },
  { name: 'prefix: slash at the end, deeper', given: [path('prefix', '/abc/'), to('/abc/d')], want: true },
  { name: 'prefix: slash at the end, part of an element', given: [path('prefix', '/abc/'), to('/abcd')], want: false },
  { name: 'prefix: root', given: [path('prefix', '/'), to('/')], want: true },
  { name: 'prefix: root, anything', given: [path('prefix', '/'), to('/a/b')], want: true },
  { name: 'prefix: empty is root', given: [path('prefix', ''), to('/x')], want: true },
  { name: 'prefix: root does not take the asterisk', given: [path('prefix', '/'), to('*')], want: false },
  { name: 'prefix: two elements', given: [path('prefix', '/a/b'), to('/a/b/c')], want: true },
  { name: 'prefix: one of two elements', given: [path('prefix', '/a/b'), to('/a/c/b')], want: false },
  { name: 'prefix: case', given: [path('prefix', '/abc'), to('/ABC/d')], want: false },
  { name: 'prefix: case ignored', given: [path('prefix', '/abC', true), to('/Abc/D')], want: true },
  { name: 'prefix: case ignored, part of an element', given: [path('prefix', '/abC', true), to('/ABCD')], want: false },
  { name: 'textPrefix: part of an element', given: [path('textPrefix', '/abc'), to('/abcd')], want: true },
  { name: 'textPrefix: slash at the end counts', given: [path('textPrefix', '/abc/'), to('/abc')], want: false },
  { name: 'textPrefix: case', given: [path('textPrefix', '/abc'), to('/Abcd')], want: false },
  { name: 'textPrefix: case ignored', given: [path('textPrefix', '/aBc', true), to('/Abcd')], want: true },
  { name: 'regex: whole', given: [path('regex', '/v[0-9]+/.*'), to('/v12/x')], want: true },
  { name: 'regex: not a part at the end', given: [path('regex', '/v[0-9]+'), to('/v12/x')], want: false },
  { name: 'regex: not a part at the start', given: [path('regex', 'v[0-9]+'), to('/v12')], want: false },
  { name: 'regex: whole by the second branch', given: [path('regex', '/a|/ab'), to('/ab')], want: true },
  { name: 'regex: anchors of its own', given: [path('regex', '^/a$'), to('/a')], want: true },
  { name: 'regex: case', given: [path('regex', '/a'), to('/A')], want: false },
  { name: 'regex: says itself how it takes case', given: [path('regex', '(?i)/a'), to('/A')], want: true },
  { name: 'regex: ignoresCase is for texts', given: [path('regex', '/a', true), to('/A')], want: false },
  { name: 'regex: broken', given: [path('regex', '/(a'), to('/(a')], want: false },
  { name: 'regex: no lookahead', given: [path('regex', '/(?=a).*'), to('/a')], want: false },
  { name: 'regex: too large', given: [path('regex', '/(a{100}){10}'), to(`/${'a'.repeat(1000)}`)], want: false },
  { name: 'regex: linear where others explode', given: [path('regex', '/(a+)+b'), to(`/${'a'.repeat(5000)}`)], want: false },
]

const HEADS: readonly Row[] = [
  { name: 'method: same', given: [{ method: exact('GET') }, as('GET')], want: true },
  { name: 'method: another', given: [{ method: exact('POST') }, as('GET')], want: false },
  { name: 'method: case', given: [{ method: exact('get') }, as('GET')], want: false },
  { name: 'method: regex', given: [{ method: regex('GET|HEAD') }, as('HEAD')], want: true },
  { name: 'method: regex, whole', given: [{ method: regex('GET|HEAD') }, as('GETS')], want: false },
  { name: 'method: prefix', given: [{ method: prefix('P') }, as('PUT')], want: true },
  { name: 'authority: same', given: [{ authority: exact('reviews') }, at('reviews')], want: true },
  { name: 'authority: another', given: [{ authority: exact('reviews') }, at('ratings')], want: false },
  { name: 'authority: no case', given: [{ authority: exact('Reviews') }, at('reviews')], want: true },
  { name: 'authority: the port does not hide the host', given: [{ authority: exact('reviews') }, at('reviews:9080')], want: true },
  { name: 'authority: with the port', given: [{ authority: exact('reviews:9080') }, at('reviews:9080')], want: true },
  { name: 'authority: another port', given: [{ authority: exact('reviews:80') }, at('reviews:9080')], want: false },
  { name: 'authority: prefix', given: [{ authority: prefix('Rev') }, at('reviews:9080')], want: true },
  { name: 'authority: regex without the port', given: [{ authority: regex('.*s') }, at('reviews:9080')], want: true },
  { name: 'authority: IPv6', given: [{ authority: exact('[fd00::1]') }, at('[fd00::1]:80')], want: true },
  { name: 'authority: colons of an address are no port', given: [{ authority: exact('[fd00:') }, at('[fd00::1]')], want: false },
  { name: 'header: same', given: [header('version', exact('v2')), to('/', { version: 'v2' })], want: true },
  { name: 'header: another', given: [header('version', exact('v2')), to('/', { version: 'v1' })], want: false },
  { name: 'header: case of the value', given: [header('version', exact('v2')), to('/', { version: 'V2' })], want: false },
  { name: 'header: case of the name', given: [header('Version', exact('v2')), to('/', { version: 'v2' })], want: true },
  { name: 'header: absent', given: [header('version', exact('v2')), to('/', { other: 'v2' })], want: false },
  { name: 'header: absent is not empty', given: [header('version', exact('')), to('/')], want: false },
  { name: 'header: empty', given: [header('version', exact('')), to('/', { version: '' })], want: true },
  { name: 'header: prefix', given: [header('agent', prefix('curl/')), to('/', { agent: 'curl/8' })], want: true },
  { name: 'header: regex', given: [header('agent', regex('curl/[0-9.]+')), to('/', { agent: 'curl/8.1' })], want: true },
  { name: 'header: regex, whole', given: [header('agent', regex('curl')), to('/', { agent: 'curl/8.1' })], want: false },
  { name: 'header: present', given: [header('x', PRESENT), to('/', { x: 'any' })], want: true },
  { name: 'header: present and empty', given: [header('x', PRESENT), to('/', { x: '' })], want: true },
  { name: 'header: not present', given: [header('x', PRESENT), to('/')], want: false },
  { name: 'header: several fields are one list', given: [header('x', exact('a,b')), to('/', { x: ['a', 'b'] })], want: true },
  { name: 'header: one of several is not the value', given: [header('x', exact('b')), to('/', { x: ['a', 'b'] })], want: false },
  {
    name: 'header: cookies join as cookies do',
    given: [header('cookie', exact('a=1; b=2')), to('/', { cookie: ['a=1', 'b=2'] })],
    want: true,
  },
  { name: 'header: broken regex', given: [header('x', regex('(')), to('/', { x: '(' })], want: false },
  { name: 'inverted: same', given: [without('x', exact('a')), to('/', { x: 'a' })], want: false },
  { name: 'inverted: another', given: [without('x', exact('a')), to('/', { x: 'b' })], want: true },
  { name: 'inverted: absent', given: [without('x', exact('a')), to('/')], want: true },
  { name: 'inverted: not present', given: [without('x', PRESENT), to('/')], want: true },
  { name: 'inverted: present', given: [without('x', PRESENT), to('/', { x: '1' })], want: false },
  { name: 'inverted: hidden in a list', given: [without('x', regex('.*admin.*')), to('/', { x: ['user', 'admin'] })], want: false },
  { name: 'inverted: broken regex matches nothing', given: [without('x', regex('(')), to('/', { x: 'a' })], want: false },
  {
    name: 'several headers: both',
    given: [{ headers: [named('a', exact('1')), named('b', exact('2'))] }, to('/', { a: '1', b: '2' })],
    want: true,
  },
  {
    name: 'several headers: one',
    given: [{ headers: [named('a', exact('1')), named('b', exact('2'))] }, to('/', { a: '1', b: '3' })],
    want: false,
  },
  {
    name: 'one name twice: the first counts',
    given: [{ headers: [named('A', exact('1')), named('a', exact('2'))] }, to('/', { a: '1' })],
    want: true,
  },
  {
    name: 'one name twice: the second does not',
    given: [{ headers: [named('a', exact('1')), named('A', exact('2'))] }, to('/', { a: '2' })],
    want: false,
  },
  {
    name: 'one name, wanted and inverted: both count',
    given: [{ headers: [named('a', prefix('v')), named('a', exact('v1'), true)] }, to('/', { a: 'v1' })],
    want: false,
  },
  {
    name: 'one name, wanted and inverted: both hold',
    given: [{ headers: [named('a', prefix('v')), named('a', exact('v1'), true)] }, to('/', { a: 'v2' })],
    want: true,
  },
]

const QUERIES: readonly Row[] = [
  { name: 'query: same', given: [query('a', exact('1')), to('/?a=1')], want: true },
  { name: 'query: another', given: [query('a', exact('1')), to('/?a=2')], want: false },
  { name: 'query: none', given: [query('a', exact('1')), to('/')], want: false },
  { name: 'query: empty', given: [query('a', PRESENT), to('/?')], want: false },
  { name: 'query: second pair', given: [query('b', exact('2')), to('/?a=1&b=2')], want: true },
  { name: 'query: the first value counts', given: [query('a', exact('1')), to('/?a=1&a=2')], want: true },
  { name: 'query: the second value does not', given: [query('a', exact('2')), to('/?a=1&a=2')], want: false },
  { name: 'query: case of the name', given: [query('a', exact('1')), to('/?A=1')], want: false },
  { name: 'query: part of a name', given: [query('a', exact('1')), to('/?ba=1')], want: false },
  { name: 'query: start of a name', given: [query('a', PRESENT), to('/?ab=1')], want: false },
  { name: 'query: no equals sign', given: [query('a', exact('')), to('/?a')], want: true },
  { name: 'query: empty value', given: [query('a', exact('')), to('/?a=&b')], want: true },
  { name: 'query: value with an equals sign', given: [query('a', exact('b=c')), to('/?a=b=c')], want: true },
  { name: 'query: percent-encoding', given: [query('a', exact('b c')), to('/?a=b%20c')], want: true },
  { name: 'query: plus is a space', given: [query('a', exact('b c')), to('/?a=b+c')], want: true },
  { name: 'query: encoded plus is a plus', given: [query('a', exact('b+c')), to('/?a=b%2Bc')], want: true },
  { name: 'query: decoded once', given: [query('a', exact('%41')), to('/?a=%2541')], want: true },
  { name: 'query: not decoded twice', given: [query('a', exact('A')), to('/?a=%2541')], want: false },
  { name: 'query: encoded name', given: [query('a', exact('1')), to('/?%61=1')], want: true },
  { name: 'query: encoded ampersand parts nothing', given: [query('b', exact('2')), to('/?a=1%26b=2')], want: false },
  { name: 'query: semicolon parts nothing', given: [query('b', exact('2')), to('/?a=1;b=2')], want: false },
  { name: 'query: UTF-8', given: [query('a', exact('é')), to('/?a=%C3%A9')], want: true },
  { name: 'query: broken encoding stays', given: [query('a', exact('%zz')), to('/?a=%zz')], want: true },
  { name: 'query: broken UTF-8 stays', given: [query('a', exact('%ff')), to('/?a=%ff')], want: true },
  { name: 'query: a pair without a name', given: [query('', PRESENT), to('/?=1')], want: true },
  { name: 'query: empty pairs are no pairs', given: [query('', PRESENT), to('/?&&')], want: false },
  { name: 'query: regex', given: [query('a', regex('[0-9]+')), to('/?a=123')], want: true },
  { name: 'query: regex, whole', given: [query('a', regex('[0-9]+')), to('/?a=123x')], want: false },
  { name: 'query: prefix', given: [query('a', prefix('12')), to('/?a=123')], want: true },
  {
    name: 'all parts: all hold',
    given: [
      { ...path('prefix', '/a'), method: exact('GET'), ...header('h', exact('1')), ...query('q', exact('2')) },
      to('/a?q=2', { h: '1' }),
    ],
    want: true,
  },
  {
    name: 'all parts: not the query',
    given: [
      { ...path('prefix', '/a'), method: exact('GET'), ...header('h', exact('1')), ...query('q', exact('2')) },
      to('/a?q=3', { h: '1' }),
    ],
    want: false,
  },
]

function isMatch([match, request]: Row['given']): boolean {
  const lookup = new Lookup()
  const compiled = new CompiledMatch({ ...ANY_MATCH, ...match }, lookup)
  lookup.begin(request)
  return compiled.matches(request)
}

describe('match', () => {
  for (const row of PATHS) it(row.name, () => assert.equal(isMatch(row.given), row.want))
  for (const row of HEADS) it(row.name, () => assert.equal(isMatch(row.given), row.want))
  for (const row of QUERIES) it(row.name, () => assert.equal(isMatch(row.given), row.want))

  it('agrees with a slow evaluator', () => {
    const element = fc.constantFrom('a', 'b', 'ab', 'A')
    const target = fc
      .tuple(fc.array(element, { maxLength: 3 }), fc.boolean())
      .map(([parts, hasSlash]) => `/${parts.join('/')}${hasSlash && parts.length > 0 ? '/' : ''}`)
    const text: fc.Arbitrary<TextMatch> = fc.oneof(
      fc.record({ kind: fc.constantFrom('exact' as const, 'prefix' as const), value: element }),
      fc.record({ kind: fc.constant('regex' as const), value: fc.constantFrom('a', 'a.*', '[ab]+', '.*', '(') }),
      fc.constant(PRESENT),
    )
    const list = fc.array(fc.record({ name: fc.constantFrom('x', 'y'), match: text, isInverted: fc.boolean() }), { maxLength: 3 })
    const any = fc.record({
      path: fc.option(
        fc.record({
          kind: fc.constantFrom('exact' as const, 'prefix' as const, 'textPrefix' as const),
          value: target,
          ignoresCase: fc.boolean(),
        }),
        { nil: undefined },
      ),
      method: fc.option(text, { nil: undefined }),
      headers: list,
      query: list,
    })
    const values = fc.dictionary(fc.constantFrom('x', 'y'), fc.array(element, { minLength: 1, maxLength: 2 }), { noNullPrototype: true })
    const pairs = fc.array(fc.tuple(fc.constantFrom('x', 'y', '%78'), element), { maxLength: 3 })
    fc.assert(
      fc.property(any, target, values, pairs, (match, where, headers, params) => {
        const search = params.map((pair) => pair.join('=')).join('&')
        const request = requestOf(`${where}?${search}`, headers, { method: 'a' })
        assert.equal(isMatch([match, request]), slow({ ...ANY_MATCH, ...match }, request))
      }),
      { numRuns: 2000 },
    )
  })
})

/** The model's words, one by one. */
function slow(match: RouteMatch, request: RequestHead): boolean {
  const first = (list: readonly NamedMatch[]): NamedMatch[] =>
    list.filter((entry, index) => list.findIndex((other) => other.name === entry.name && other.isInverted === entry.isInverted) === index)
  const counted = [match.method, ...[...first(match.headers), ...first(match.query)].map((entry) => entry.match)]
  if (counted.some((text) => text?.kind === 'regex' && text.value === '(')) return false
  const holds = (text: TextMatch, value: string): boolean => {
    if (text.kind === 'present') return true
    if (text.kind === 'regex') return new RegExp(`^(?:${text.value})$`).test(value)
    return text.kind === 'exact' ? value === text.value : value.startsWith(text.value)
  }
  const all = (list: readonly NamedMatch[], read: (name: string) => string | null): boolean =>
    first(list).every((entry) => {
      const value = read(entry.name)
      return (value !== null && holds(entry.match, value)) !== entry.isInverted
    })
  const fold = (value: string): string => (match.path?.ignoresCase === true ? value.toLowerCase() : value)
  const elements = (value: string): string[] => fold(value).replace(/\/$/, '').split('/')
  const pathHolds = (): boolean => {
    if (match.path === undefined) return true
    const { kind, value } = match.path
    if (kind === 'exact') return fold(request.path) === fold(value)
    if (kind === 'textPrefix') return fold(request.path).startsWith(fold(value))
    return elements(value).every((part, index) => elements(request.path)[index] === part)
  }
  const params = new URLSearchParams(request.query)
  const joined = (name: string): string | null => {
    const list = request.headers.filter((field) => field[0] === name).map((field) => field[1])
    return list.length === 0 ? null : list.join(',')
  }
  return (
    pathHolds() &&
    (match.method === undefined || holds(match.method, request.method)) &&
    all(match.headers, joined) &&
    all(match.query, (name) => params.get(name))
  )
}
