// Edits of headers, rewrites and redirects: the specification's tables and corners, and that nothing malformed comes out.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { HeaderField } from '../../../../model/http.ts'
import type { HeaderEdits, PathMatch, PathRewrite, RouteFilter, RouteMatch } from '../../../../model/route.ts'
import { editHeaders, redirectFor, rewriteRequest } from '../../../../policy/http/filter.ts'
import { problemOfEdits, problemOfFilters } from '../../../../policy/http/usable.ts'
import { requestOf } from '../../../support/request-values.ts'
import { ANY_MATCH, anyRouteFilter } from '../../../support/route-values.ts'

type Redirect = Extract<RouteFilter, { kind: 'redirect' }>

const FIELDS: readonly HeaderField[] = [
  ['a', '1'],
  ['b', '2'],
  ['a', '3'],
]
const edit = (change: Partial<HeaderEdits>): HeaderEdits => ({ set: [], add: [], remove: [], ...change })
const flat = (fields: readonly HeaderField[]): string => fields.map(([name, value]) => `${name}=${value}`).join(' ')

const EDITS: readonly { readonly name: string; readonly given: HeaderEdits; readonly want: string }[] = [
  { name: 'nothing', given: edit({}), want: 'a=1 b=2 a=3' },
  { name: 'set a new name', given: edit({ set: [['c', '9']] }), want: 'a=1 b=2 a=3 c=9' },
  { name: 'set replaces all fields at the place of the first', given: edit({ set: [['a', '9']] }), want: 'a=9 b=2' },
  { name: 'set, name in capitals', given: edit({ set: [['B', '9']] }), want: 'a=1 b=9 a=3' },
  { name: 'set to nothing', given: edit({ set: [['b', '']] }), want: 'a=1 b= a=3' },
  {
    name: 'set twice: the first counts',
    given: edit({
      set: [
        ['b', '8'],
        ['B', '9'],
      ],
    }),
    want: 'a=1 b=8 a=3',
  },
  { name: 'add beside what is there', given: edit({ add: [['b', '9']] }), want: 'a=1 b=2 a=3 b=9' },
  { name: 'add, name in capitals', given: edit({ add: [['C', '9']] }), want: 'a=1 b=2 a=3 c=9' },
  {
    name: 'add twice: the first counts',
    given: edit({
      add: [
        ['c', '8'],
        ['C', '9'],
      ],
    }),
    want: 'a=1 b=2 a=3 c=8',
  },
  { name: 'remove all fields of a name', given: edit({ remove: ['a'] }), want: 'b=2' },
  { name: 'remove, name in capitals', given: edit({ remove: ['B'] }), want: 'a=1 a=3' },
  { name: 'remove what is not there', given: edit({ remove: ['x'] }), want: 'a=1 b=2 a=3' },
  { name: 'remove, then set', given: edit({ remove: ['b'], set: [['b', '9']] }), want: 'a=1 b=9 a=3' },
  { name: 'remove, then add', given: edit({ remove: ['a'], add: [['a', '9']] }), want: 'b=2 a=9' },
  { name: 'set, then add', given: edit({ set: [['a', '8']], add: [['a', '9']] }), want: 'a=8 b=2 a=9' },
  { name: 'all three', given: edit({ remove: ['a'], set: [['b', '7']], add: [['c', '9']] }), want: 'b=7 c=9' },
]

const by = (kind: PathMatch['kind'], value: string, ignoresCase = false): RouteMatch => ({
  ...ANY_MATCH,
  path: { kind, value, ignoresCase },
})
const full = (value: string): PathRewrite => ({ kind: 'full', value })
const swap = (prefix: string, value: string): PathRewrite => ({ kind: 'prefix', prefix, value })
const regex = (pattern: string, substitution: string): PathRewrite => ({ kind: 'regex', pattern, substitution })
const elements = (path: string, prefix: string, value: string): readonly [string, PathRewrite, RouteMatch] => [
  path,
  swap(prefix, value),
  by('prefix', prefix),
]
const text = (path: string, prefix: string, value: string): readonly [string, PathRewrite, RouteMatch] => [
  path,
  swap(prefix, value),
  by('textPrefix', prefix),
]

/** The first eleven are the table of HTTPPathModifier.replacePrefixMatch. */
const REWRITES: readonly { readonly name: string; readonly given: readonly [string, PathRewrite, RouteMatch?]; readonly want: string }[] = [
  { name: '/foo/bar: /foo -> /xyz', given: elements('/foo/bar', '/foo', '/xyz'), want: '/xyz/bar' },
  { name: '/foo/bar: /foo -> /xyz/', given: elements('/foo/bar', '/foo', '/xyz/'), want: '/xyz/bar' },
  { name: '/foo/bar: /foo/ -> /xyz', given: elements('/foo/bar', '/foo/', '/xyz'), want: '/xyz/bar' },
  { name: '/foo/bar: /foo/ -> /xyz/', given: elements('/foo/bar', '/foo/', '/xyz/'), want: '/xyz/bar' },
  { name: '/foo: /foo -> /xyz', given: elements('/foo', '/foo', '/xyz'), want: '/xyz' },
  { name: '/foo/: /foo -> /xyz', given: elements('/foo/', '/foo', '/xyz'), want: '/xyz/' },
  { name: '/foo/bar: /foo -> nothing', given: elements('/foo/bar', '/foo', ''), want: '/bar' },
  { name: '/foo/: /foo -> nothing', given: elements('/foo/', '/foo', ''), want: '/' },
  { name: '/foo: /foo -> nothing', given: elements('/foo', '/foo', ''), want: '/' },
  { name: '/foo/: /foo -> /', given: elements('/foo/', '/foo', '/'), want: '/' },
  { name: '/foo: /foo -> /', given: elements('/foo', '/foo', '/'), want: '/' },
  { name: '/foo: /foo -> /xyz/', given: elements('/foo', '/foo', '/xyz/'), want: '/xyz/' },
  { name: '/foo/bar: / -> /xyz', given: elements('/foo/bar', '/', '/xyz'), want: '/xyz/foo/bar' },
  { name: '/: / -> /xyz', given: elements('/', '/', '/xyz'), want: '/xyz/' },
  { name: 'not the prefix: as it was', given: elements('/food/bar', '/foo', '/xyz'), want: '/food/bar' },
  { name: 'prefix in another case', given: ['/FOO/Bar', swap('/foo', '/xyz'), by('prefix', '/foo', true)], want: '/xyz/Bar' },
  { name: 'characters: what follows stays', given: text('/foobar', '/foo', '/xyz'), want: '/xyzbar' },
  { name: 'characters: no double slash', given: text('/foo/bar', '/foo', '/'), want: '/bar' },
  { name: 'characters: slash on both sides', given: text('/foo/bar', '/foo/', '/xyz/'), want: '/xyz/bar' },
  { name: 'characters: slash given up', given: text('/foo/bar', '/foo/', '/xyz'), want: '/xyzbar' },
  { name: 'characters: nothing left', given: text('/foo', '/foo', ''), want: '/' },
  { name: 'characters: first slash lost', given: text('/foobar', '/foo', ''), want: '/bar' },
  { name: 'characters: dots put together', given: text('/foo./x', '/foo', '/a/.'), want: '/x' },
  { name: 'full', given: ['/foo/bar', full('/new')], want: '/new' },
  { name: 'full, empty', given: ['/foo/bar', full('')], want: '/' },
  { name: 'regex: groups', given: ['/v1/items/7', regex('^/v1/(.*)/([0-9]+)$', '/\\2/of/\\1')], want: '/7/of/items' },
  { name: 'regex: the whole match', given: ['/a', regex('/a', '/x\\0')], want: '/x/a' },
  { name: 'regex: everywhere', given: ['/a/b/a', regex('a', 'c')], want: '/c/b/c' },
  { name: 'regex: nowhere', given: ['/a', regex('x', 'c')], want: '/a' },
  { name: 'regex: a group that took no part', given: ['/a', regex('/(a)|/(b)', '/\\1\\2')], want: '/a' },
  { name: 'regex: $ means nothing in a substitution', given: ['/a', regex('a', '$1$&')], want: '/$1$&' },
  { name: 'regex: first slash lost', given: ['/a/b', regex('^/a/', '')], want: '/b' },
  { name: 'regex: everything lost', given: ['/a/b', regex('.*', '')], want: '/' },
  { name: 'regex: dot segments are resolved', given: ['/a/b/_/c', regex('_', '..')], want: '/a/c' },
  { name: 'regex: encoded dot segments too', given: ['/a/b/_', regex('_', '%2e%2E')], want: '/a/' },
  { name: 'regex: not above the root', given: ['/_/_/x', regex('_', '..')], want: '/x' },
  { name: 'regex: matches of nothing', given: ['/ab', regex('x*', '-')], want: '/-/-a-b-' },
  { name: 'asterisk stays', given: ['*', full('/new')], want: '*' },
]

const redirect = (change: Partial<Redirect>): Redirect => ({
  kind: 'redirect',
  scheme: undefined,
  hostname: undefined,
  port: undefined,
  path: undefined,
  status: 302,
  ...change,
})
const REDIRECTS: readonly {
  readonly name: string
  readonly given: readonly [Partial<Redirect>, string?, number?]
  readonly want: string
}[] = [
  { name: 'hostname', given: [{ hostname: 'example.org' }], want: '302 http://example.org/a?b=c' },
  { name: 'hostname in capitals', given: [{ hostname: 'Example.ORG' }], want: '302 http://example.org/a?b=c' },
  { name: 'status', given: [{ hostname: 'example.org', status: 308 }], want: '308 http://example.org/a?b=c' },
  { name: 'host of the request, its port is not kept', given: [{}, 'shop:9999'], want: '302 http://shop/a?b=c' },
  { name: "the listener's port", given: [{}, 'shop', 8080], want: '302 http://shop:8080/a?b=c' },
  { name: 'port', given: [{ port: 8083 }], want: '302 http://shop:8083/a?b=c' },
  { name: 'port 80 of http is left out', given: [{ port: 80 }, 'shop', 8080], want: '302 http://shop/a?b=c' },
  { name: 'port 443 of http is not', given: [{ port: 443 }], want: '302 http://shop:443/a?b=c' },
  { name: 'scheme: its own port', given: [{ scheme: 'https' }, 'shop', 8080], want: '302 https://shop/a?b=c' },
  { name: 'scheme of the request, given: its own port', given: [{ scheme: 'http' }, 'shop', 8443], want: '302 http://shop/a?b=c' },
  { name: 'scheme and port 443', given: [{ scheme: 'https', port: 443 }, 'shop', 81], want: '302 https://shop/a?b=c' },
  { name: 'scheme and port 80', given: [{ scheme: 'https', port: 80 }], want: '302 https://shop:80/a?b=c' },
  { name: 'a port in the hostname', given: [{ hostname: 'example.org:81' }], want: '302 http://example.org:81/a?b=c' },
  {
    name: 'a port beside a port in the hostname',
    given: [{ hostname: 'example.org:81', port: 82 }],
    want: '302 http://example.org:82/a?b=c',
  },
  { name: 'IPv6', given: [{}, '[fd00::1]:81', 8080], want: '302 http://[fd00::1]:8080/a?b=c' },
  { name: 'full path', given: [{ path: full('/new') }], want: '302 http://shop/new?b=c' },
  { name: 'prefix', given: [{ path: swap('/', '/new') }], want: '302 http://shop/new/a?b=c' },
]

describe('filter', () => {
  describe('edits', () => {
    for (const row of EDITS) it(row.name, () => assert.equal(flat(editHeaders(FIELDS, row.given)), row.want))
  })

  describe('rewrites of the path', () => {
    for (const row of REWRITES) {
      it(row.name, () => {
        const [path, rewrite, match = ANY_MATCH] = row.given
        const head = rewriteRequest(requestOf(`${path}?q=1`), { kind: 'rewrite', hostname: undefined, path: rewrite }, match)
        assert.deepEqual([head.path, head.query, head.authority], [row.want, 'q=1', 'reviews'])
      })
    }
  })

  it('rewrites the host and leaves the rest', () => {
    const head = requestOf('/a?b', { x: '1' })
    assert.deepEqual(rewriteRequest(head, { kind: 'rewrite', hostname: 'One.Two', path: undefined }, ANY_MATCH), {
      ...head,
      authority: 'one.two',
    })
  })

  describe('redirects', () => {
    for (const row of REDIRECTS) {
      it(row.name, () => {
        const [change, authority = 'shop', port = 80] = row.given
        const { status, headers } = redirectFor(requestOf('/a?b=c', {}, { authority }), redirect(change), by('prefix', '/'), port)
        assert.equal(`${status} ${headers.map(([name, value]) => (name === 'location' ? value : name)).join(' ')}`, row.want)
      })
    }
  })

  it('encodes in Location what no URI may carry, and nothing twice', () => {
    const head = requestOf('/a"<\xe9>%20?q=\\^`{|}&r=%zz')
    assert.deepEqual(redirectFor(head, redirect({}), ANY_MATCH, 80).headers, [
      ['location', 'http://reviews/a%22%3C%E9%3E%20?q=%5C%5E%60%7B%7C%7D&r=%zz'],
    ])
  })

  it('throws for edits that nobody checked', () => {
    assert.throws(() => editHeaders(FIELDS, edit({ set: [['x', 'a\r\nb: c']] })), RangeError)
  })

  it('never lets a malformed field, host or path out', () => {
    const name = fc.oneof(fc.constantFrom('host', 'Connection', 'x-weft-source', 'x', 'Content-Length'), fc.string({ maxLength: 4 }))
    const field = fc.tuple(name, fc.string({ unit: 'binary', maxLength: 4 }))
    const anyEdits = fc.record({
      set: fc.array(field, { maxLength: 2 }),
      add: fc.array(field, { maxLength: 2 }),
      remove: fc.array(name, { maxLength: 2 }),
    })
    fc.assert(
      fc.property(anyEdits, anyRouteFilter, (edits, filter) => {
        if (problemOfEdits(edits) === undefined)
          for (const [key, value] of editHeaders([], edits)) {
            assert.match(key, /^[!#$%&'*+\-.^_`|~0-9a-z]+$/)
            assert.doesNotMatch(key, /^(host|connection|content-length|transfer-encoding|x-weft-.*)$/)
            assert.match(value, /^[\t\x20-\x7e\x80-\xff]*$/)
          }
        if (problemOfFilters([filter]) !== undefined) return
        const head = requestOf('/a/b%20c?d')
        if (filter.kind === 'rewrite') {
          const { path, authority } = rewriteRequest(head, filter, by('prefix', '/a'))
          assert.match(path, /^\/[\x21-\x22\x24-\x3e\x40-\x7e]*$/)
          assert.match(authority, /^[a-z0-9_.:[\]-]+$/)
        }
        if (filter.kind === 'redirect') assert.ok(URL.canParse(redirectFor(head, filter, by('prefix', '/a'), 80).headers[0]?.[1] ?? ''))
      }),
      {
        numRuns: 3000,
        examples: ['09', '1.2.3', 'a:99999', '[::1::]'].map((host): [typeof NO_EDITS, RouteFilter] => [NO_EDITS, redirectTo(host)]),
      },
    )
  })
})

const NO_EDITS = { set: [], add: [], remove: [] }

function redirectTo(hostname: string): Extract<RouteFilter, { kind: 'redirect' }> {
  return { kind: 'redirect', scheme: undefined, hostname, port: undefined, path: undefined, status: 301 }
}
