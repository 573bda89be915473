// Precedence of matches: each criterion alone and against the next, then permutations against a slow comparison.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { NamedMatch, PathMatch, RouteMatch } from '../../../../model/route.ts'
import type { Ordered } from '../../../../policy/http/order.ts'
import { orderGrpcRoutes, orderHttpRoutes } from '../../../../policy/http/order.ts'
import { ANY_MATCH, routeTo } from '../../../support/route-values.ts'

type Change = Partial<Omit<Ordered, 'route'>> & { readonly on?: Partial<RouteMatch> }

const OLD = '2024-01-01T00:00:00Z'
const path = (kind: PathMatch['kind'], value: string): Partial<RouteMatch> => ({ path: { kind, value, ignoresCase: false } })
const names = (...list: readonly string[]): NamedMatch[] =>
  list.map((name) => ({ name, match: { kind: 'exact', value: '1' }, isInverted: false }))
const GET: Partial<RouteMatch> = { method: { kind: 'exact', value: 'GET' } }
const ordered = (name: string, { on = {}, ...change }: Change): Ordered => ({
  route: { ...routeTo('shop/reviews:80'), name, match: { ...ANY_MATCH, ...on } },
  createdAt: OLD,
  object: 'shop/a',
  rule: 0,
  match: 0,
  ...change,
})

/** `first` comes before `second`. */
interface Row {
  readonly name: string
  readonly first: Change
  readonly second: Change
}

const HTTP: readonly Row[] = [
  { name: 'exact before prefix', first: { on: path('exact', '/a') }, second: { on: path('prefix', '/a') } },
  { name: 'exact before a longer prefix', first: { on: path('exact', '/a') }, second: { on: path('prefix', '/a/b/c') } },
  { name: 'exact before regex', first: { on: path('exact', '/a') }, second: { on: path('regex', '/a.*') } },
  { name: 'regex before prefix', first: { on: path('regex', '/.*') }, second: { on: path('prefix', '/a/b/c') } },
  { name: 'longer regex', first: { on: path('regex', '/ab.*') }, second: { on: path('regex', '/a.*') } },
  { name: 'longer prefix', first: { on: path('prefix', '/a/b') }, second: { on: path('prefix', '/a') } },
  { name: 'longer prefix before method', first: { on: path('prefix', '/a/b') }, second: { on: { ...path('prefix', '/a'), ...GET } } },
  { name: 'prefix before no path', first: { on: path('prefix', '/') }, second: { on: GET } },
  {
    name: 'a slash at the end makes no longer prefix',
    first: { on: path('prefix', '/a'), object: 'shop/a' },
    second: { on: path('prefix', '/a/'), object: 'shop/b' },
  },
  { name: 'method before headers', first: { on: GET }, second: { on: { headers: names('a', 'b') } } },
  {
    name: 'the length of exact paths decides nothing',
    first: { on: { ...path('exact', '/a'), ...GET } },
    second: { on: path('exact', '/a/b') },
  },
  { name: 'more headers', first: { on: { headers: names('a', 'b') } }, second: { on: { headers: names('c') } } },
  { name: 'a repeated header counts once', first: { on: { headers: names('a', 'b') } }, second: { on: { headers: names('c', 'c', 'c') } } },
  { name: 'headers before query', first: { on: { headers: names('a') } }, second: { on: { query: names('a', 'b', 'c') } } },
  { name: 'more query parameters', first: { on: { query: names('a', 'b') } }, second: { on: { query: names('a') } } },
  { name: 'query before age', first: { on: { query: names('a') }, createdAt: '2025-01-01T00:00:00Z' }, second: {} },
  { name: 'older object', first: { object: 'shop/z' }, second: { createdAt: '2024-01-01T00:00:01Z', object: 'shop/a' } },
  { name: 'older object, with fractions', first: { object: 'shop/z' }, second: { createdAt: '2024-01-01T00:00:00.5Z' } },
  { name: 'an unreadable age is the newest', first: { object: 'shop/z' }, second: { createdAt: '', object: 'shop/a' } },
  { name: 'name of the object', first: { object: 'shop/a', rule: 5 }, second: { object: 'shop/b' } },
  { name: 'namespace of the object', first: { object: 'a/z' }, second: { object: 'b/a' } },
  { name: 'earlier rule', first: { rule: 1, match: 3 }, second: { rule: 2 } },
  { name: 'earlier match of a rule', first: { match: 1 }, second: { match: 2 } },
]

const GRPC: readonly Row[] = [
  { name: 'service before any', first: { on: path('textPrefix', '/shop.Cart/') }, second: {} },
  { name: 'longer service', first: { on: path('textPrefix', '/shop.v1.Cart/') }, second: { on: path('textPrefix', '/shop.Cart/') } },
  {
    name: 'service before method',
    first: { on: path('textPrefix', '/shop.Cart/') },
    second: { on: path('regex', '/[^/]+/GetTheWholeCart') },
  },
  { name: 'service as elements', first: { on: path('prefix', '/shop.v1.Cart') }, second: { on: path('textPrefix', '/shop.Cart/') } },
  { name: 'method of one service', first: { on: path('exact', '/shop.Cart/Get') }, second: { on: path('textPrefix', '/shop.Cart/') } },
  { name: 'longer method', first: { on: path('exact', '/shop.Cart/GetAll') }, second: { on: path('exact', '/shop.Cart/Get') } },
  { name: 'method of any service before any', first: { on: path('regex', '/[^/]+/Get') }, second: { on: { headers: names('a', 'b') } } },
  { name: 'longer method of any service', first: { on: path('regex', '/[^/]+/GetAll') }, second: { on: path('regex', '/[^/]+/Get') } },
  {
    name: 'longer service as regex',
    first: { on: path('regex', '/(?:shop.*)/[^/]+') },
    second: { on: path('regex', '/(?:sh.*)/(?:GetAll)') },
  },
  { name: 'method as regex', first: { on: path('regex', '/(?:shop)/(?:Get.*)') }, second: { on: path('regex', '/(?:shop)/[^/]+') } },
  {
    name: 'method before headers',
    first: { on: path('exact', '/s/Get') },
    second: { on: { ...path('textPrefix', '/s/'), headers: names('a', 'b') } },
  },
  { name: 'more headers', first: { on: { headers: names('a', 'b') } }, second: { on: { headers: names('a') } } },
  { name: 'headers before age', first: { on: { headers: names('a') }, createdAt: '2025-01-01T00:00:00Z' }, second: {} },
  { name: 'older object', first: { object: 'shop/z' }, second: { createdAt: '2025-01-01T00:00:00Z' } },
  { name: 'name of the object', first: { object: 'shop/a' }, second: { object: 'shop/b' } },
  { name: 'earlier rule', first: { rule: 1 }, second: { rule: 2 } },
]

describe('order', () => {
  describe('HTTP', () => {
    for (const row of HTTP) it(row.name, () => check(orderHttpRoutes, row))
  })
  describe('gRPC', () => {
    for (const row of GRPC) it(row.name, () => check(orderGrpcRoutes, row))
  })

  it('gives one order for every order given, and no criterion is passed over', () => {
    const prefixes = fc.constantFrom('/', '/a', '/a/b')
    const on = fc.record({
      path: fc.record({ kind: fc.constantFrom('exact' as const, 'prefix' as const), value: prefixes, ignoresCase: fc.constant(false) }),
      method: fc.constantFrom(undefined, GET.method),
      headers: fc.subarray(names('a', 'b')),
      query: fc.subarray(names('a', 'b')),
    })
    const item = fc.record({
      on,
      createdAt: fc.constantFrom(OLD, '2025-01-01T00:00:00Z'),
      object: fc.constantFrom('a/a', 'a/b', 'b/a'),
      rule: fc.nat(2),
    })
    fc.assert(
      fc.property(fc.array(item, { maxLength: 8 }), fc.infiniteStream(fc.nat()), (items, stream) => {
        const list = items.map((change, index) => ordered(String(index), { ...change, match: index }))
        const shuffled = list.map((entry) => ({ entry, key: stream.next().value })).sort((a, b) => a.key - b.key)
        const got = orderHttpRoutes(shuffled.map(({ entry }) => entry)).map(({ name }) => Number(name))
        assert.deepEqual(
          [...got].sort((a, b) => a - b),
          [...list.keys()],
        )
        for (const [index, name] of got.entries())
          for (const later of got.slice(index + 1)) assert.ok(isBefore(list[name]!, list[later]!), `${name} before ${later}`)
      }),
      { numRuns: 500 },
    )
  })
})

function check(order: typeof orderHttpRoutes, { first, second }: Row): void {
  const [one, two] = [ordered('first', first), ordered('second', second)]
  for (const given of [
    [one, two],
    [two, one],
  ])
    assert.deepEqual(
      order(given).map(({ name }) => name),
      ['first', 'second'],
    )
}

/** The specification's list, one criterion a line. */
function isBefore(a: Ordered, b: Ordered): boolean {
  const [x, y] = [a.route.match, b.route.match]
  const isExact = (match: RouteMatch): number => Number(match.path?.kind === 'exact')
  const prefix = (match: RouteMatch): number => (match.path?.kind === 'prefix' ? match.path.value.length : 0)
  if (isExact(x) !== isExact(y)) return isExact(x) > isExact(y)
  if (prefix(x) !== prefix(y)) return prefix(x) > prefix(y)
  if ((x.method === undefined) !== (y.method === undefined)) return x.method !== undefined
  if (x.headers.length !== y.headers.length) return x.headers.length > y.headers.length
  if (x.query.length !== y.query.length) return x.query.length > y.query.length
  if (a.createdAt !== b.createdAt) return a.createdAt < b.createdAt
  if (a.object !== b.object) return a.object < b.object
  return a.rule !== b.rule ? a.rule < b.rule : a.match < b.match
}
