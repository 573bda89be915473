// The table of a listener: the first match counts, callers' own routes, and that its shortcuts change nothing.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { RequestHead } from '../../../../model/http.ts'
import type { PathMatch, Route, RouteFilter, RouteMatch } from '../../../../model/route.ts'
import { CompiledMatch, Lookup } from '../../../../policy/http/match.ts'
import type { RouteSource } from '../../../../policy/http/table.ts'
import { RouteTable } from '../../../../policy/http/table.ts'
import { requestOf } from '../../../support/request-values.ts'
import { ANY_MATCH, anyListener, listenerOf, routeTo } from '../../../support/route-values.ts'

const WEB: RouteSource = { namespace: 'web', app: 'client', version: 'v1' }
const path = (kind: PathMatch['kind'], value: string): Partial<RouteMatch> => ({ path: { kind, value, ignoresCase: false } })
const route = (name: string, match: Partial<RouteMatch> = {}): Route => ({
  ...routeTo('shop/reviews:80'),
  name,
  match: { ...ANY_MATCH, ...match },
})
const header = (name: string): Partial<RouteMatch> => ({ headers: [{ name, match: { kind: 'present' }, isInverted: false }] })
const listed = (routes: readonly Route[], consumers: Readonly<Record<string, readonly Route[]>> = {}): RouteTable =>
  new RouteTable(listenerOf('shop/gate', 'reviews', { routes, consumerRoutes: new Map(Object.entries(consumers)) }))
const chosen = (table: RouteTable, request: RequestHead, source = WEB): string | undefined => table.select(request, source)?.name

const ROUTES = [
  route('tester', { ...path('exact', '/a'), ...header('tester') }),
  route('early prefix', { ...path('prefix', '/a/b'), ...header('early') }),
  route('exact', path('exact', '/a')),
  route('deep', path('exact', '/a/b')),
  route('regex', path('regex', '/r[0-9]+')),
  route('hidden', path('exact', '/r1')),
  route('prefix', path('prefix', '/a')),
  route('from shop', { sourceNamespace: 'shop' }),
  route('canary clients', { sourceLabels: { app: 'client', version: 'v2' } }),
  route('unknown label', { sourceLabels: { team: 'x' } }),
  route('late exact', path('exact', '/z')),
]
const SELECT: readonly { name: string; given: readonly [RequestHead, RouteSource?]; want: string | undefined }[] = [
  { name: 'exact path', given: [requestOf('/a')], want: 'exact' },
  { name: 'the earlier of two with one path', given: [requestOf('/a', { tester: '1' })], want: 'tester' },
  { name: 'an earlier prefix beats an exact path', given: [requestOf('/a/b', { early: '1' })], want: 'early prefix' },
  { name: 'an earlier prefix that does not match beats nothing', given: [requestOf('/a/b')], want: 'deep' },
  { name: 'prefix', given: [requestOf('/a/c')], want: 'prefix' },
  { name: 'an earlier regex hides an exact path', given: [requestOf('/r1')], want: 'regex' },
  { name: 'an exact path after all others', given: [requestOf('/z')], want: 'late exact' },
  { name: 'none', given: [requestOf('/nowhere')], want: undefined },
  { name: 'namespace of the caller', given: [requestOf('/nowhere'), { ...WEB, namespace: 'shop' }], want: 'from shop' },
  { name: 'labels of the caller', given: [requestOf('/nowhere'), { ...WEB, version: 'v2' }], want: 'canary clients' },
  { name: 'labels of the caller: one differs', given: [requestOf('/nowhere'), { ...WEB, app: 'x', version: 'v2' }], want: undefined },
]

describe('table', () => {
  for (const row of SELECT) it(row.name, () => assert.equal(chosen(listed(ROUTES), ...row.given), row.want))

  it('replaces the routes for callers of a namespace with routes of its own', () => {
    const table = listed([route('all')], { web: [route('own', path('prefix', '/own'))] })
    assert.equal(chosen(table, requestOf('/own')), 'own')
    assert.equal(chosen(table, requestOf('/')), undefined)
    assert.equal(chosen(table, requestOf('/'), { ...WEB, namespace: 'else' }), 'all')
  })

  it('tells callers without routes from requests without a match', () => {
    const consumersOnly = listed([], { web: [route('own')] })
    assert.deepEqual(
      [consumersOnly.isEmpty, consumersOnly.isEmptyFor(WEB), consumersOnly.isEmptyFor({ ...WEB, namespace: '' })],
      [false, false, true],
    )
    assert.deepEqual([listed([]).isEmpty, listed([]).isEmptyFor(WEB)], [true, true])
    assert.deepEqual([listed([route('a')]).isEmpty, listed([route('a')]).isEmptyFor(WEB)], [false, false])
    assert.deepEqual([listed([route('a')], { web: [] }).isEmpty, listed([route('a')], { web: [] }).isEmptyFor(WEB)], [false, true])
  })

  it('answers 500 for a rule that must not be carried out', () => {
    const split: RouteFilter = { kind: 'requestHeaders', edits: { set: [['x', 'a\r\nb: c']], add: [], remove: [] } }
    const plain = route('split')
    const rule = listed([{ ...plain, rule: { ...plain.rule, filters: [split] } }]).select(requestOf('/'), WEB)?.rule
    assert.deepEqual([rule?.filters, rule?.backends.map((backend) => backend.kind)], [[], ['invalid']])
  })

  it('takes the first match, whatever the order of paths', () => {
    const values = fc.constantFrom('/', '/a', '/a/b', '/b', '/ab', '/A')
    const match = fc.record({
      path: fc.option(
        fc.record({
          kind: fc.constantFrom('exact' as const, 'prefix' as const, 'textPrefix' as const, 'regex' as const),
          value: values,
          ignoresCase: fc.boolean(),
        }),
        { nil: undefined },
      ),
      headers: fc.subarray([{ name: 'x', match: { kind: 'present' as const }, isInverted: false }]),
    })
    fc.assert(
      fc.property(fc.array(match, { maxLength: 12 }), values, fc.boolean(), (matches, target, hasHeader) => {
        const routes = matches.map((change, index) => route(String(index), change))
        const request = requestOf(target, hasHeader ? { x: '1' } : {})
        const lookup = new Lookup()
        lookup.begin(request)
        const first = routes.find((candidate) => new CompiledMatch(candidate.match, lookup).matches(request))
        assert.equal(chosen(listed(routes), request), first?.name)
      }),
      { numRuns: 2000 },
    )
  })

  it('takes any listener without throwing', () => {
    fc.assert(
      fc.property(anyListener, (listener) => {
        const table = new RouteTable(listener)
        table.select(requestOf('/a?b=c', { x: 'y' }), WEB)
        assert.equal(
          table.isEmpty,
          listener.routes.length === 0 && [...listener.consumerRoutes.values()].every((list) => list.length === 0),
        )
      }),
      { numRuns: 200 },
    )
  })
})
