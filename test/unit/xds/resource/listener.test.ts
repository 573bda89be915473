// Listeners survive the wire unchanged and compactly; every kind of bad value is refused with its field.
import assert from 'node:assert/strict'
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { describe, it } from 'mocha'
import type { Route } from '../../../../model/route.ts'
import { type FilterSchema, ListenerSchema, type RouteMatchSchema, type RuleSchema } from '../../../../proto/gateway_pb.ts'
import { decodeListener, encodeListener } from '../../../../xds/resource/listener.ts'
import { ANY_MATCH, anyListener, listenerOf, routeTo } from '../../../support/route-values.ts'

type Wire = MessageInitShape<typeof ListenerSchema>

const GOOD: Wire = { name: 'shop/wp/shop/cart/80', gateway: 'shop/wp', service: 'shop/cart', port: 80 }

function errorsOf(value: Wire): string {
  const result = decodeListener(toBinary(ListenerSchema, create(ListenerSchema, value)))
  assert.ok(!result.ok, 'it must be refused')
  return result.errors.join('\n')
}

const withMatch = (match: MessageInitShape<typeof RouteMatchSchema>): Wire => ({ rules: [{}], routes: [{ name: 'r', match }] })
const withRule = (rule: MessageInitShape<typeof RuleSchema>): Wire => ({ rules: [rule] })
const withFilter = (kind: NonNullable<MessageInitShape<typeof FilterSchema>['kind']>): Wire => withRule({ filters: [{ kind }] })
const exact = { kind: { case: 'exact' as const, value: 'x' } }
const header = (name: string, value: string): Wire => withFilter({ case: 'requestHeaders', value: { set: [{ name, value }] } })
const TO = { service: 'shop/cart', port: 80 }

const BROKEN: readonly { readonly name: string; readonly given: Wire; readonly want: RegExp }[] = [
  { name: 'another name', given: { name: 'shop/wp/shop/cart/81' }, want: /name: is not GATEWAY\/SERVICE\/PORT/ },
  { name: 'gateway without namespace', given: { gateway: 'wp' }, want: /gateway: "wp" is not namespace/ },
  { name: 'service with a path', given: { service: 'shop/a/b' }, want: /service: "shop\/a\/b"/ },
  { name: 'port 0', given: { port: 0 }, want: /port: 0 is not a port/ },
  { name: 'unknown protocol', given: { protocol: 9 as 0 }, want: /protocol: unknown value 9/ },
  { name: 'route without match', given: { rules: [{}], routes: [{ name: 'r' }] }, want: /match: is absent/ },
  { name: 'route to a rule that is not there', given: { routes: [{ name: 'r', match: {} }] }, want: /routes.rule: 0 of 0 rules/ },
  { name: 'rule far outside', given: { rules: [{}], routes: [{ match: {}, rule: 2 ** 32 - 1 }] }, want: /4294967295 of 1 rules/ },
  { name: 'name with a line break', given: { rules: [{}], routes: [{ name: 'a\nb', match: {} }] }, want: /routes.name/ },
  {
    name: 'consumer twice',
    given: { consumerRoutes: [{ namespace: 'a' }, { namespace: 'a' }] },
    want: /consumer_routes: a namespace comes twice/,
  },
  { name: 'consumer without a namespace', given: { consumerRoutes: [{}] }, want: /consumer_routes.namespace/ },
  { name: 'path of no kind', given: withMatch({ path: {} }), want: /path: no known kind/ },
  { name: 'path with a control character', given: withMatch({ path: { kind: { case: 'exact', value: '/\r' } } }), want: /path: holds/ },
  { name: 'endless pattern', given: withMatch({ path: { kind: { case: 'regex', value: 'a'.repeat(9000) } } }), want: /9000 characters/ },
  { name: 'method of no kind', given: withMatch({ method: {} }), want: /method: no known kind/ },
  { name: 'header match of no kind', given: withMatch({ headers: [{ name: 'a' }] }), want: /headers: no known kind/ },
  { name: 'upper-case header match', given: withMatch({ headers: [{ name: 'A', match: exact }] }), want: /headers: "A" is not/ },
  { name: 'query match without name', given: withMatch({ query: [{ match: exact }] }), want: /query: a match without a name/ },
  { name: 'source namespace', given: withMatch({ sourceNamespace: 'A b' }), want: /source_namespace/ },
  { name: 'label twice', given: withMatch({ sourceLabels: [{ key: 'a' }, { key: 'a' }] }), want: /a key comes twice/ },
  { name: 'label named as no label may be', given: withMatch({ sourceLabels: [{ key: '__proto__' }] }), want: /cannot be used/ },
  { name: 'too many header matches', given: withMatch({ headers: Array(257).fill({ name: 'a', match: exact }) }), want: /257 entries/ },
  { name: 'filter of no kind', given: withRule({ filters: [{}] }), want: /filters: no known kind of filter/ },
  { name: 'too many filters', given: withRule({ filters: Array(65).fill({}) }), want: /65 entries, at most 64/ },
  { name: 'header value that ends the line', given: header('a', 'x\r\nset-cookie: y'), want: /no header may carry/ },
  { name: 'header name with a colon', given: header('a:', 'x'), want: /lower-case header name/ },
  { name: 'header name with a line break', given: header('a\r\nb', 'x'), want: /lower-case header name/ },
  { name: 'redirect without a status', given: withFilter({ case: 'redirect', value: {} }), want: /status: 0 is not a number from 300/ },
  { name: 'redirect scheme', given: withFilter({ case: 'redirect', value: { status: 302, scheme: 7 as 0 } }), want: /scheme: unknown/ },
  {
    name: 'redirect to a host with a path',
    given: withFilter({ case: 'redirect', value: { status: 302, hostname: 'evil/x' } }),
    want: /hostname: is not a host name/,
  },
  { name: 'rewrite of no kind', given: withFilter({ case: 'rewrite', value: { path: {} } }), want: /rewrite.path: no known kind/ },
  {
    name: 'path rewrite with a line break',
    given: withFilter({ case: 'rewrite', value: { path: { kind: { case: 'full', value: '/\r\n' } } } }),
    want: /rewrite.path: holds/,
  },
  { name: 'mirror to nothing', given: withFilter({ case: 'mirror', value: { denominator: 1 } }), want: /mirror.backend: is absent/ },
  { name: 'mirror of 1/0', given: withFilter({ case: 'mirror', value: { backend: TO, numerator: 1 } }), want: /a share of 0 parts/ },
  { name: 'CORS age', given: withFilter({ case: 'cors', value: { maxAgeSeconds: Number.NaN } }), want: /max_age_seconds: NaN/ },
  { name: 'backend of no kind', given: withRule({ backends: [{ weight: 1 }] }), want: /neither a service nor invalid/ },
  {
    name: 'backend port',
    given: withRule({ backends: [{ kind: { case: 'service', value: { service: 'a/b', port: 65_536 } } }] }),
    want: /65536 is not a port/,
  },
  { name: 'endless timeout', given: withRule({ requestMs: Number.POSITIVE_INFINITY }), want: /request_ms: Infinity/ },
  { name: 'negative timeout', given: withRule({ backendRequestMs: -1 }), want: /backend_request_ms: -1/ },
  { name: 'retry code', given: withRule({ retry: { codes: [99] } }), want: /codes: 99/ },
  { name: 'retry condition', given: withRule({ retry: { conditions: [77 as 0] } }), want: /conditions: unknown value 77/ },
  { name: 'fault of 101 %', given: withRule({ fault: { delay: { percent: 101 } } }), want: /percent: 101/ },
  { name: 'abort without a status', given: withRule({ fault: { abort: { percent: 1 } } }), want: /abort.status: 0/ },
  { name: 'rate limit per 0 ms', given: { rateLimits: [{ policy: 'a/b' }] }, want: /per_ms: 0/ },
  {
    name: 'a global limit of no service',
    given: { rateLimits: [{ policy: 'a/b', global: { timeoutMs: 1 } }] },
    want: /service: is absent/,
  },
  {
    name: 'a global limit that waits for nothing',
    given: { rateLimits: [{ policy: 'a/b', global: { service: { service: 'a/b', port: 1 }, timeoutMs: 0 } }] },
    want: /timeout_ms: 0/,
  },
  {
    name: 'a global limit that asks nothing that is known',
    given: {
      rateLimits: [
        { policy: 'a/b', global: { service: { service: 'a/b', port: 1 }, timeoutMs: 1, descriptors: [{ entries: [{ key: 'k' }] }] } },
      ],
    },
    want: /no known kind of value/,
  },
  { name: 'rate limit key', given: { rateLimits: [{ policy: 'a/b', perMs: 1, keys: [{}] }] }, want: /no known kind of key/ },
  { name: 'session name', given: withRule({ sessionPersistence: { name: 'a;b' } }), want: /session_persistence.name/ },
  { name: 'session kind', given: withRule({ sessionPersistence: { name: 'a', kind: 5 as 0 } }), want: /kind: unknown value 5/ },
]

describe('xds/resource/listener', () => {
  it('carries every listener unchanged', () => {
    fc.assert(
      fc.property(anyListener, (listener) => {
        assert.deepEqual(decodeListener(encodeListener(listener)), { ok: true, value: listener })
      }),
      { numRuns: 300 },
    )
  })

  it('gives equal bytes for equal listeners, whatever was shared or in which order consumers came', () => {
    fc.assert(
      fc.property(anyListener, (listener) => {
        const decoded = decodeListener(encodeListener(listener))
        assert.ok(decoded.ok)
        const copied = (route: Route): Route => ({ ...route, rule: structuredClone(route.rule) })
        const turned = new Map([...decoded.value.consumerRoutes].reverse())
        const again = { ...decoded.value, routes: listener.routes.map(copied), consumerRoutes: turned }
        assert.ok(encodeListener(again).equals(encodeListener(listener)))
      }),
      { numRuns: 200 },
    )
  })

  it('writes a rule once that many routes share', () => {
    const { rule } = routeTo(...Array.from({ length: 50 }, (_, i) => `shop/backend-${i}.shop.svc.cluster.local:80`))
    const one = listenerOf('shop/wp', 'cart', { routes: [{ name: 'r', match: ANY_MATCH, rule }] })
    const size = encodeListener(one).length
    const routes = Array.from({ length: 200 }, () => ({ name: 'r', match: ANY_MATCH, rule: structuredClone(rule) }))
    const many = encodeListener({ ...one, routes })
    assert.ok(many.length < size + 200 * 16, `${many.length} bytes for 200 routes, ${size} for one`)
    const decoded = decodeListener(many)
    assert.ok(decoded.ok)
    assert.equal(new Set(decoded.value.routes.map((route) => route.rule)).size, 1)
  })

  it('takes the smallest listener', () => {
    assert.ok(decodeListener(toBinary(ListenerSchema, create(ListenerSchema, GOOD))).ok)
  })

  for (const { name, given, want } of BROKEN) it(`refuses: ${name}`, () => assert.match(errorsOf({ ...GOOD, ...given }), want))

  it('reports every fault at once, at most 16', () => {
    const text = errorsOf({ ...GOOD, port: 0, protocol: 9 as 0, rules: [{ filters: [{}] }, { backends: [{}] }] })
    for (const want of [/port: 0/, /protocol/, /rules.filters/, /rules.backends/]) assert.match(text, want)
    assert.equal(errorsOf({ ...GOOD, rules: Array(40).fill({ filters: [{}] }) }).split('\n').length, 16)
  })

  it('refuses bytes that are no protobuf, and more than 4 MiB', () => {
    for (const bytes of [Buffer.from('ffffffff', 'hex'), Buffer.alloc(5 * 1024 * 1024)]) assert.ok(!decodeListener(bytes).ok)
  })
})
