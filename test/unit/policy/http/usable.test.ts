// What configuration must not ask for: every refusal, what is not refused, and what becomes of the rule.
import assert from 'node:assert/strict'
import type { HeaderEdits, PathRewrite, RouteFilter, WeightedBackend } from '../../../../model/route.ts'
import { problemOf, problemOfFilters, usableRule } from '../../../../policy/http/usable.ts'
import { PLAIN_RULE, routeTo } from '../../../support/route-values.ts'

const edits = (change: Partial<HeaderEdits>): RouteFilter => ({
  kind: 'requestHeaders',
  edits: { set: [], add: [], remove: [], ...change },
})
const set = (name: string, value = '1'): RouteFilter => edits({ set: [[name, value]] })
const rewrite = (path: PathRewrite | undefined, hostname?: string): RouteFilter => ({ kind: 'rewrite', hostname, path })
const full = (value: string): RouteFilter => rewrite({ kind: 'full', value })
const regex = (pattern: string, substitution: string): RouteFilter => rewrite({ kind: 'regex', pattern, substitution })
const redirect = (status: number, port?: number, hostname?: string): RouteFilter => ({
  kind: 'redirect',
  scheme: undefined,
  hostname,
  port,
  path: undefined,
  status,
})

const CASES: readonly { readonly name: string; readonly given: RouteFilter; readonly want: boolean }[] = [
  { name: 'a plain field', given: set('x-canary', 'yes, "é"\t1'.replace('é', '\xe9')), want: true },
  { name: 'CR in a value', given: set('x', 'a\rb'), want: false },
  { name: 'LF in a value', given: set('x', 'a\nb'), want: false },
  { name: 'NUL in a value', given: set('x', 'a\0b'), want: false },
  { name: 'DEL in a value', given: set('x', 'a\x7fb'), want: false },
  { name: 'a character that would become CR', given: set('x', 'a\u010db'), want: false },
  { name: 'a character that would become LF', given: set('x', 'a\u010ab'), want: false },
  { name: 'LF at the end of a value', given: set('x', 'a\n'), want: false },
  { name: 'LF in a value that is added', given: edits({ add: [['x', '\n']] }), want: false },
  { name: 'LF in a name', given: set('x\n'), want: false },
  { name: 'space in a name', given: set('x y'), want: false },
  { name: 'colon in a name', given: set('x:'), want: false },
  { name: 'no name', given: set(''), want: false },
  { name: 'pseudo header', given: set(':authority'), want: false },
  { name: 'no token that is removed', given: edits({ remove: ['a b'] }), want: false },
  { name: 'host', given: set('Host'), want: false },
  { name: 'content-length', given: set('content-length', '5'), want: false },
  { name: 'transfer-encoding', given: set('Transfer-Encoding', 'chunked'), want: false },
  { name: 'connection', given: edits({ add: [['connection', 'x-a']] }), want: false },
  { name: 'upgrade', given: set('upgrade', 'h2c'), want: false },
  { name: 'te', given: set('te', 'trailers'), want: false },
  { name: 'trailer', given: set('trailer', 'x'), want: false },
  { name: 'expect', given: set('expect', '100-continue'), want: false },
  { name: 'http2-settings', given: set('http2-settings', 'AA'), want: false },
  { name: 'content-length that is removed', given: edits({ remove: ['Content-Length'] }), want: false },
  { name: "the mesh's own", given: set('X-Weft-Source', 'spiffe://td/ns/a/sa/b'), want: false },
  { name: "the mesh's own, removed", given: edits({ remove: ['x-weft-source'] }), want: false },
  { name: 'full path', given: full('/a/b%20c'), want: true },
  { name: 'empty path', given: full(''), want: true },
  { name: 'path without a slash', given: full('a'), want: false },
  { name: 'query in a path', given: full('/a?b'), want: false },
  { name: 'fragment in a path', given: full('/a#b'), want: false },
  { name: 'space in a path', given: full('/a b'), want: false },
  { name: 'line end in a path', given: full('/a\r\nx: y'), want: false },
  { name: 'wide character in a path', given: full('/\u010d'), want: false },
  { name: 'dot segment', given: full('/a/../b'), want: false },
  { name: 'encoded dot segment', given: full('/a/%2E%2e'), want: false },
  { name: 'dots that are no segment', given: full('/a..b/.c/...'), want: true },
  { name: 'regex', given: regex('^/(a|b)/(.*)$', '/\\2/\\1/\\\\'), want: true },
  { name: 'regex that is none', given: regex('(', '/'), want: false },
  { name: 'a group that is not there', given: regex('/(a)', '/\\2'), want: false },
  { name: 'backslash before a letter', given: regex('/(a)', '/\\n'), want: false },
  { name: 'query in a substitution', given: regex('/a', '/b?c'), want: false },
  { name: 'host name', given: rewrite(undefined, 'a-1.example.org:8080'), want: true },
  { name: 'IPv6 host', given: rewrite(undefined, '[fd00::1]'), want: true },
  { name: 'host with a path', given: rewrite(undefined, 'a/b'), want: false },
  { name: 'host with a user', given: rewrite(undefined, 'u@a'), want: false },
  { name: 'host with a line end', given: rewrite(undefined, 'a\n'), want: false },
  { name: 'empty host', given: rewrite(undefined, ''), want: false },
  { name: 'redirect 301', given: redirect(301, 8080, 'example.org'), want: true },
  { name: 'redirect 304', given: redirect(304), want: false },
  { name: 'redirect 200', given: redirect(200), want: false },
  { name: 'redirect to port 0', given: redirect(302, 0), want: false },
  { name: 'redirect to port 65536', given: redirect(302, 65_536), want: false },
]

describe('usable', () => {
  for (const row of CASES)
    it(`${row.want ? 'takes' : 'refuses'} ${row.name}`, () => assert.equal(problemOfFilters([row.given]) === undefined, row.want))

  it('gives a usable rule back as it is', () => {
    const { rule } = routeTo('shop/a:80', 'shop/b:80')
    assert.equal(usableRule(rule), rule)
    assert.equal(problemOf(rule), undefined)
  })

  it('keeps the share of a backend whose filters are refused, and leaves the others', () => {
    const [one, two] = routeTo('shop/a:80', 'shop/b:80').rule.backends as [WeightedBackend, WeightedBackend]
    const rule = { ...PLAIN_RULE, backends: [{ ...one, weight: 9, filters: [set('host')] }, two] }
    const reason = 'header host is set by a rewrite of the hostname, not by edits of headers'
    assert.equal(problemOf(rule), reason)
    assert.deepEqual(usableRule(rule).backends, [{ kind: 'invalid', weight: 9, filters: [], reason }, two])
  })

  it('answers every request of a rule whose own filters are refused', () => {
    const rule = { ...routeTo('shop/a:80').rule, filters: [set('x'), full('no path')] }
    const reason = '"no path" is no path'
    assert.equal(problemOf(rule), reason)
    assert.deepEqual(usableRule(rule), { ...rule, filters: [], backends: [{ kind: 'invalid', weight: 1, filters: [], reason }] })
  })
})
