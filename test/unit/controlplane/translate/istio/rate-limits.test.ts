// RateLimitPolicies: which listeners and rules get which limits, and what is said of each policy.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { worldOf } from '../../../../../controlplane/push/world.ts'
import { type Translation, Translator } from '../../../../../controlplane/translate/translate.ts'
import type { MeshObject } from '../../../../../model/object.ts'
import { FakeSource, NAMES } from '../../../../support/fake-source.ts'
import { CART, rateLimitPolicy, saidOfIstio, to, virtualService } from '../../../../support/istio-world.ts'
import { route, service, SHOP, translate } from '../../../../support/route-world.ts'

const ON_CART = [{ kind: 'Service', name: 'cart' }]
const HTTP_ROUTE = route('HTTPRoute', {
  rules: [
    { name: 'first', matches: [{ path: { value: '/a' } }, { path: { value: '/b' } }], backendRefs: [{ name: 'cart', port: 80 }] },
    { backendRefs: [{ name: 'cart', port: 80 }] },
  ],
})
const GLOBAL = { service: { name: 'cart', port: 80 }, domain: 'd', descriptors: [{ entries: ['identity'] }] }
const PORTS = service('shop', 'cart', ['http:80', 'grpc:81', 'tcp:82'])

interface Row {
  readonly name: string
  readonly objects: readonly MeshObject[]
  /** Ports of cart (and of cart-v2 as `v2:80`) or names of routes of port 80 -> policies. */
  readonly want: Readonly<Record<string, readonly string[]>>
  readonly says: Readonly<Record<string, RegExp>>
}

const ROWS: readonly Row[] = [
  {
    name: 'a service: all its ports that carry HTTP',
    objects: [PORTS, rateLimitPolicy({ targetRefs: ON_CART })],
    want: { 80: ['shop/rl'], 81: ['shop/rl'] },
    says: { rl: /^True Accepted: in force$/ },
  },
  {
    name: 'a port by name',
    objects: [PORTS, rateLimitPolicy({ targetRefs: [{ kind: 'Service', name: 'cart', sectionName: 'grpc' }] })],
    want: { 81: ['shop/rl'] },
    says: { rl: /^True/ },
  },
  {
    name: 'a port that carries no HTTP',
    objects: [PORTS, rateLimitPolicy({ targetRefs: [{ kind: 'Service', name: 'cart', sectionName: 'tcp' }] })],
    want: {},
    says: { rl: /^False TargetNotFound: targetRefs\[0\]: Service shop\/cart \(tcp\) does not exist/ },
  },
  {
    name: 'a waypoint: all services behind it',
    objects: [rateLimitPolicy({ targetRefs: [{ group: 'gateway.networking.k8s.io', kind: 'Gateway', name: 'waypoint' }] })],
    want: { 80: ['shop/rl'], 'v2:80': ['shop/rl'] },
    says: { rl: /^True/ },
  },
  {
    name: 'an HTTPRoute: all its rules',
    objects: [HTTP_ROUTE, rateLimitPolicy({ targetRefs: [{ kind: 'HTTPRoute', name: 'r' }] })],
    want: { 'HTTPRoute/shop/r/first': ['shop/rl', 'shop/rl'], 'HTTPRoute/shop/r/1': ['shop/rl'] },
    says: { rl: /^True/ },
  },
  {
    name: 'a rule by name',
    objects: [HTTP_ROUTE, rateLimitPolicy({ targetRefs: [{ kind: 'HTTPRoute', name: 'r', sectionName: 'first' }] })],
    want: { 'HTTPRoute/shop/r/first': ['shop/rl', 'shop/rl'] },
    says: { rl: /^True/ },
  },
  {
    name: 'a rule that is not there',
    objects: [HTTP_ROUTE, rateLimitPolicy({ targetRefs: [{ kind: 'HTTPRoute', name: 'r', sectionName: 'x' }] })],
    want: {},
    says: { rl: /^False TargetNotFound: .*HTTPRoute shop\/r \(x\)/ },
  },
  {
    name: 'rules with faults laid over',
    objects: [
      HTTP_ROUTE,
      virtualService([{ fault: { abort: { httpStatus: 500, percentage: { value: 1 } } } }]),
      rateLimitPolicy({ targetRefs: [{ kind: 'HTTPRoute', name: 'r', sectionName: 'first' }] }),
    ],
    want: { 'HTTPRoute/shop/r/first': ['shop/rl', 'shop/rl'] },
    says: { rl: /^True/, vs: /^True/ },
  },
  {
    name: 'of a consumer’s route',
    objects: [
      route(
        'HTTPRoute',
        {
          parentRefs: [{ group: '', kind: 'Service', name: 'cart', namespace: 'shop' }],
          rules: [{ backendRefs: [{ name: 'cart', namespace: 'shop', port: 80 }] }],
        },
        { namespace: 'web', name: 'w' },
      ),
      rateLimitPolicy({ targetRefs: [{ kind: 'HTTPRoute', name: 'w' }] }, { namespace: 'web' }),
    ],
    want: { 'HTTPRoute/web/w/0': ['web/rl'] },
    says: { rl: /^True/ },
  },
  {
    name: 'a VirtualService beside it',
    objects: [virtualService([{ route: [to('cart')] }]), rateLimitPolicy({ targetRefs: ON_CART })],
    want: { 80: ['shop/rl'] },
    says: { rl: /^True/, vs: /^True/ },
  },
  {
    name: 'a service of another namespace',
    objects: [rateLimitPolicy({ targetRefs: ON_CART }, { namespace: 'web' })],
    want: {},
    says: { rl: /^False TargetNotFound/ },
  },
  {
    name: 'a service without a waypoint',
    objects: [rateLimitPolicy({ targetRefs: [{ kind: 'Service', name: 'plain' }] }, { namespace: 'bare' })],
    want: {},
    says: { rl: /^False TargetNotFound: .*has no waypoint/ },
  },
  {
    name: 'one of two targets',
    objects: [rateLimitPolicy({ targetRefs: [...ON_CART, { kind: 'Service', name: 'none' }] })],
    want: { 80: ['shop/rl'] },
    says: { rl: /^True PartiallyInvalid: not in force: targetRefs\[1\]: Service shop\/none/ },
  },
  {
    name: 'one place by two targets: once',
    objects: [rateLimitPolicy({ targetRefs: [...ON_CART, { kind: 'Gateway', name: 'waypoint' }] })],
    want: { 80: ['shop/rl'], 'v2:80': ['shop/rl'] },
    says: { rl: /^True Accepted/ },
  },
  {
    name: 'several policies, oldest first',
    objects: [
      rateLimitPolicy({ targetRefs: ON_CART }, { name: 'a', createdAt: '2026-03-01T00:00:00Z' }),
      rateLimitPolicy({ targetRefs: ON_CART }, { name: 'b' }),
    ],
    want: { 80: ['shop/b', 'shop/a'] },
    says: { a: /^True/, b: /^True/ },
  },
  {
    name: 'more than there is room for',
    objects: Array.from({ length: 9 }, (_, i) =>
      rateLimitPolicy(
        { targetRefs: ON_CART, limits: Array.from({ length: 8 }, (_each, n) => ({ requests: n + 1, per: '1s' })) },
        { name: `p${i}` },
      ),
    ),
    want: { 80: Array.from({ length: 64 }, (_, i) => `shop/p${Math.floor(i / 8)}`) },
    says: { p0: /^True Accepted/, p8: /^True PartiallyInvalid: not everywhere: other policies take all the room/ },
  },
  {
    name: 'a duration of nothing',
    objects: [rateLimitPolicy({ targetRefs: ON_CART, limits: [{ requests: 1, per: '0s' }] })],
    want: {},
    says: { rl: /^False Invalid: nothing is in force: limits\[0\]\.per/ },
  },
  {
    name: 'a global limit alone',
    objects: [rateLimitPolicy({ targetRefs: ON_CART, limits: undefined, global: GLOBAL })],
    want: { 80: ['shop/rl'] },
    says: { rl: /^True Accepted: in force$/ },
  },
  {
    name: 'a global limit beside one of each proxy, on a rule, by a service that is not there',
    objects: [
      HTTP_ROUTE,
      rateLimitPolicy({
        targetRefs: [{ kind: 'HTTPRoute', name: 'r', sectionName: '1' }],
        global: { ...GLOBAL, service: { name: 'limits', namespace: 'infra', port: 8081 } },
      }),
    ],
    want: { 'HTTPRoute/shop/r/1': ['shop/rl', 'shop/rl'] },
    says: { rl: /^True PartiallyInvalid: global\.service: Service infra\/limits has no port 8081: requests are answered 500$/ },
  },
  {
    name: 'a service that is not there, failing open',
    objects: [rateLimitPolicy({ targetRefs: ON_CART, global: { ...GLOBAL, service: { name: 'cart', port: 9 }, failureMode: 'open' } })],
    want: { 80: ['shop/rl', 'shop/rl'] },
    says: { rl: /^True PartiallyInvalid: .* has no port 9: requests pass unlimited$/ },
  },
  {
    name: 'an endless question',
    objects: [rateLimitPolicy({ targetRefs: ON_CART, global: { ...GLOBAL, timeout: '61s' } })],
    want: {},
    says: { rl: /^False Invalid: nothing is in force: global\.timeout: must be 1ms to 60s/ },
  },
  {
    name: 'no limit at all',
    objects: [rateLimitPolicy({ targetRefs: ON_CART, limits: undefined })],
    want: {},
    says: { rl: /^False Invalid: .*must have limits, global, or both/ },
  },
  {
    name: 'a misspelt field',
    objects: [rateLimitPolicy({ targetRefs: ON_CART, limit: [] })],
    want: {},
    says: { rl: /^False Invalid: nothing is in force: spec: Unrecognized key: "limit"/ },
  },
]

function limitsIn(translation: Translation): Record<string, string[]> {
  const found: Record<string, string[]> = {}
  const add = (place: string, policies: readonly { readonly policy: string }[]): void => {
    if (policies.length > 0) found[place] = [...(found[place] ?? []), ...policies.map(({ policy }) => policy)]
  }
  for (const { service: key, port, rateLimits, routes, consumerRoutes } of translation.listeners.values()) {
    add(key.includes('cart-v2') ? `v2:${port}` : String(port), rateLimits)
    if (port !== 80) continue
    for (const { name, rule } of [...routes, ...[...consumerRoutes.values()].flat()]) add(name, rule.rateLimits)
  }
  return found
}

describe('controlplane/translate/istio/rate-limits', () => {
  for (const { name, objects, want, says } of ROWS) {
    it(name, () => {
      const translation = translate([...SHOP, ...objects])
      assert.deepEqual(limitsIn(translation), want)
      for (const [object, text] of Object.entries(says)) assert.match(saidOfIstio(translation, object) ?? '', text)
    })
  }

  it('reads limits: burst is the requests by default, header names are in lower case', () => {
    const limits = [
      { requests: 10, per: '1m' },
      { requests: 5, per: '1.5s', burst: 20, by: ['identity', { header: 'X-User' }] },
    ]
    const translation = translate([...SHOP, rateLimitPolicy({ targetRefs: ON_CART, limits })])
    assert.deepEqual(translation.listeners.get(CART)?.rateLimits, [
      { policy: 'shop/rl', requests: 10, perMs: 60_000, burst: 10, keys: [] },
      { policy: 'shop/rl', requests: 5, perMs: 1500, burst: 20, keys: [{ kind: 'identity' }, { kind: 'header', name: 'x-user' }] },
    ])
  })

  it('reads global limits: closed after 100 ms by default, keys are named after what they carry', () => {
    const descriptors = [{ entries: ['identity', 'route'] }, { entries: [{ header: 'X-User' }, { header: 'X-Plan', key: 'plan' }] }]
    const more = [...descriptors, { entries: [{ key: 'k', value: 'v' }] }]
    const global = { ...GLOBAL, service: { name: 'limits', namespace: 'infra', port: 8081 }, descriptors: more }
    const limitsOf = (change: object): unknown =>
      translate([...SHOP, rateLimitPolicy({ targetRefs: ON_CART, limits: undefined, global: { ...global, ...change } })]).listeners.get(
        CART,
      )?.rateLimits
    const want = {
      policy: 'shop/rl',
      service: { service: 'infra/limits.infra.svc.cluster.local', port: 8081, subset: undefined },
      domain: 'd',
      descriptors: [
        [
          { kind: 'identity', key: 'source_identity' },
          { kind: 'route', key: 'route' },
        ],
        [
          { kind: 'header', key: 'x-user', name: 'x-user' },
          { kind: 'header', key: 'plan', name: 'x-plan' },
        ],
        [{ kind: 'text', key: 'k', value: 'v' }],
      ],
      timeoutMs: 100,
      failsOpen: false,
    }
    assert.deepEqual(limitsOf({}), [want])
    assert.deepEqual(limitsOf({ timeout: '1.5s', failureMode: 'open' }), [{ ...want, timeoutMs: 1500, failsOpen: true }])
  })

  it('keeps listeners that nothing has changed for', () => {
    const source = new FakeSource()
    const translator = new Translator(NAMES)
    source.apply(...SHOP, rateLimitPolicy({ targetRefs: ON_CART }))
    const before = translator.translate(worldOf(source, new Set()))
    source.apply(rateLimitPolicy({ targetRefs: [{ kind: 'Service', name: 'cart-v2' }] }, { name: 'other' }))
    const after = translator.translate(worldOf(source, new Set()))
    assert.equal(after.listeners.get(CART), before.listeners.get(CART))
    source.delete(rateLimitPolicy({}))
    assert.deepEqual(translator.translate(worldOf(source, new Set())).listeners.get(CART)?.rateLimits, [])
  })
})
