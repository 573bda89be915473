// Two matches in one: every kind of path, texts, names, sources; what no single match says, and what no request can meet.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { conjoin } from '../../../../../controlplane/translate/istio/conjoin.ts'
import { EVERYTHING } from '../../../../../controlplane/translate/istio/matches.ts'
import type { NamedMatch, PathMatch, RouteMatch, TextMatch } from '../../../../../model/route.ts'

type Part = Partial<RouteMatch>

const path = (kind: PathMatch['kind'], value: string, ignoresCase = false): Part => ({ path: { kind, value, ignoresCase } })
const method = (match: TextMatch): Part => ({ method: match })
const exact = (value: string): TextMatch => ({ kind: 'exact', value })
const prefix = (value: string): TextMatch => ({ kind: 'prefix', value })
const regex = (value: string): TextMatch => ({ kind: 'regex', value })
const ANY: TextMatch = { kind: 'present' }
const header = (match: TextMatch, isInverted = false, name = 'a'): { headers: readonly NamedMatch[] } => ({
  headers: [{ name, match, isInverted }],
})

const ROWS: readonly { name: string; a: Part; b: Part; want: Part | 'never' | 'unknown' }[] = [
  { name: 'everything', a: {}, b: path('exact', '/a'), want: path('exact', '/a') },
  { name: 'the same path', a: path('regex', '/a+'), b: path('regex', '/a+'), want: path('regex', '/a+') },
  { name: 'a slash is every path', a: path('prefix', '/'), b: path('regex', '/a+'), want: path('regex', '/a+') },
  { name: 'two exact paths', a: path('exact', '/a'), b: path('exact', '/b'), want: 'never' },
  { name: 'exact in elements', a: path('exact', '/a/b'), b: path('prefix', '/a'), want: path('exact', '/a/b') },
  { name: 'exact beside elements', a: path('exact', '/ab'), b: path('prefix', '/a'), want: 'never' },
  { name: 'exact in characters', a: path('textPrefix', '/a'), b: path('exact', '/ab'), want: path('exact', '/ab') },
  { name: 'exact in a regex', a: path('regex', '/a+'), b: path('exact', '/aa'), want: path('exact', '/aa') },
  { name: 'exact beside a regex', a: path('regex', '/a+'), b: path('exact', '/aab'), want: 'never' },
  { name: 'exact in a prefix of any case', a: path('textPrefix', '/A', true), b: path('exact', '/ab'), want: path('exact', '/ab') },
  { name: 'elements in elements', a: path('prefix', '/a'), b: path('prefix', '/a/b/'), want: path('prefix', '/a/b/') },
  { name: 'elements apart', a: path('prefix', '/a'), b: path('prefix', '/ab'), want: 'never' },
  { name: 'characters in elements', a: path('prefix', '/a'), b: path('textPrefix', '/a/b'), want: path('textPrefix', '/a/b') },
  { name: 'elements in characters', a: path('prefix', '/ab'), b: path('textPrefix', '/a'), want: path('prefix', '/ab') },
  { name: 'the same text by elements and by characters', a: path('prefix', '/a'), b: path('textPrefix', '/a'), want: path('prefix', '/a') },
  { name: 'characters that end in a slash', a: path('prefix', '/a'), b: path('textPrefix', '/a/'), want: path('textPrefix', '/a/') },
  { name: 'characters that go on within an element', a: path('prefix', '/a'), b: path('textPrefix', '/ab'), want: 'never' },
  { name: 'characters in characters', a: path('textPrefix', '/a'), b: path('textPrefix', '/ab'), want: path('textPrefix', '/ab') },
  { name: 'two regexes', a: path('regex', '/a+'), b: path('regex', '/.*b'), want: 'unknown' },
  { name: 'a regex and a prefix', a: path('regex', '/a+'), b: path('textPrefix', '/a'), want: 'unknown' },
  { name: 'a prefix of any case', a: path('textPrefix', '/a', true), b: path('textPrefix', '/ab'), want: 'unknown' },
  { name: 'two methods', a: method(exact('GET')), b: method(exact('PUT')), want: 'never' },
  { name: 'a method in a prefix', a: method(prefix('P')), b: method(exact('PUT')), want: method(exact('PUT')) },
  { name: 'a method in a regex', a: method(regex('GET|PUT')), b: method(exact('PUT')), want: method(exact('PUT')) },
  { name: 'prefix in prefix', a: method(prefix('P')), b: method(prefix('PU')), want: method(prefix('PU')) },
  { name: 'prefixes apart', a: method(prefix('PA')), b: method(prefix('PU')), want: 'never' },
  { name: 'prefix and regex', a: method(prefix('PA')), b: method(regex('P.*')), want: 'unknown' },
  { name: 'hosts that are the same', a: { authority: exact('A') }, b: { authority: exact('a') }, want: { authority: exact('A') } },
  { name: 'hosts that may differ in their port only', a: { authority: exact('a') }, b: { authority: exact('a:80') }, want: 'unknown' },
  { name: 'any host', a: { authority: ANY }, b: { authority: exact('a') }, want: { authority: exact('a') } },
  {
    name: 'headers of two names',
    a: header(exact('1')),
    b: header(exact('2'), false, 'b'),
    want: { headers: [...header(exact('1')).headers, ...header(exact('2'), false, 'b').headers] },
  },
  { name: 'a header twice', a: header(prefix('x')), b: header(exact('xy')), want: header(exact('xy')) },
  { name: 'a header with two values', a: header(exact('x')), b: header(exact('y')), want: 'never' },
  { name: 'a header that is there', a: header(ANY), b: header(regex('x')), want: header(regex('x')) },
  {
    name: 'a header and not a value of it',
    a: header(ANY),
    b: header(exact('x'), true),
    want: { headers: [...header(ANY).headers, ...header(exact('x'), true).headers] },
  },
  { name: 'not this and not that', a: header(exact('x'), true), b: header(exact('y'), true), want: 'unknown' },
  { name: 'not this and not at all', a: header(exact('x'), true), b: header(ANY, true), want: header(ANY, true) },
  { name: 'one namespace', a: {}, b: { sourceNamespace: 'web' }, want: { sourceNamespace: 'web' } },
  { name: 'two namespaces', a: { sourceNamespace: 'a' }, b: { sourceNamespace: 'b' }, want: 'never' },
  {
    name: 'labels',
    a: { sourceLabels: { app: 'a' } },
    b: { sourceLabels: { version: 'v' } },
    want: { sourceLabels: { app: 'a', version: 'v' } },
  },
  { name: 'labels that differ', a: { sourceLabels: { app: 'a' } }, b: { sourceLabels: { app: 'b' } }, want: 'never' },
]

describe('controlplane/translate/istio/conjoin', () => {
  for (const { name, a, b, want } of ROWS) {
    it(name, () => {
      const whole = (part: Part): RouteMatch => ({ ...EVERYTHING, ...part })
      assert.deepEqual(conjoin(whole(a), whole(b)), typeof want === 'string' ? want : whole(want))
    })
  }
})
