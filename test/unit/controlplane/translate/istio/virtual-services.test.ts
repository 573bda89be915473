// VirtualServices on services: whose requests they take, what comes first, and what is said of them.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { worldOf } from '../../../../../controlplane/push/world.ts'
import { Translator } from '../../../../../controlplane/translate/translate.ts'
import type { MeshObject } from '../../../../../model/object.ts'
import { FakeSource, NAMES } from '../../../../support/fake-source.ts'
import { CART, destinationRule, namesIn, saidOfIstio, to, virtualService } from '../../../../support/istio-world.ts'
import { route, saidOf, service, SHOP, translate } from '../../../../support/route-world.ts'

const ROUTE = { route: [to('cart')] }
const LATER = '2026-02-01T00:00:00Z'
const FULL = { hosts: ['cart.shop.svc.cluster.local'] }
const ABORT = { fault: { abort: { httpStatus: 503, percentage: { value: 100 } } } }
const HTTP_ROUTE = route('HTTPRoute', {
  rules: [
    { matches: [{ path: { value: '/a' } }], backendRefs: [{ name: 'cart-v2', port: 80 }] },
    { backendRefs: [{ name: 'cart', port: 80 }] },
  ],
})

interface Row {
  readonly name: string
  readonly objects: readonly MeshObject[]
  readonly want: readonly string[]
  readonly consumers?: Readonly<Record<string, readonly string[]>>
  readonly says: Readonly<Record<string, RegExp | undefined>>
}

const ROWS: readonly Row[] = [
  {
    name: 'a short host',
    objects: [virtualService([ROUTE])],
    want: ['VirtualService/shop/vs/0'],
    says: { vs: /^True Accepted: in force$/ },
  },
  { name: 'a full host', objects: [virtualService([ROUTE], {}, FULL)], want: ['VirtualService/shop/vs/0'], says: { vs: /^True/ } },
  {
    name: 'names of entries',
    objects: [virtualService([{ name: 'canary', ...ROUTE }])],
    want: ['VirtualService/shop/vs/canary'],
    says: {},
  },
  {
    name: 'entries keep their order',
    objects: [
      virtualService([
        { match: [{ uri: { prefix: '/' } }], ...ROUTE },
        { match: [{ uri: { exact: '/a' } }], ...ROUTE },
      ]),
    ],
    want: ['VirtualService/shop/vs/0', 'VirtualService/shop/vs/1'],
    says: {},
  },
  {
    name: 'a host of no service',
    objects: [virtualService([ROUTE], {}, { hosts: ['reviews.example'] })],
    want: [],
    says: { vs: /^False HostNotFound: reviews\.example is no service of the mesh$/ },
  },
  {
    name: 'a service without a waypoint',
    objects: [virtualService([{ route: [to('plain')] }], { namespace: 'bare' }, { hosts: ['plain'] })],
    want: [],
    says: { vs: /^False HostNotFound: plain\.bare\.svc\.cluster\.local has no waypoint/ },
  },
  {
    name: 'one of two hosts',
    objects: [virtualService([ROUTE], {}, { hosts: ['cart', 'none'] })],
    want: ['VirtualService/shop/vs/0'],
    says: { vs: /^True PartiallyInvalid: without effect: none\.shop\.svc\.cluster\.local is no service/ },
  },
  {
    name: 'only gateways of others: nothing is said',
    objects: [virtualService([ROUTE], {}, { gateways: ['ingress'] })],
    want: [],
    says: { vs: undefined },
  },
  {
    name: 'the mesh among gateways',
    objects: [virtualService([ROUTE], {}, { gateways: ['x', 'mesh'] })],
    want: ['VirtualService/shop/vs/0'],
    says: {},
  },
  {
    name: 'the oldest of two',
    objects: [virtualService([ROUTE], { name: 'a', createdAt: LATER }), virtualService([ROUTE], { name: 'b' })],
    want: ['VirtualService/shop/b/0'],
    says: { a: /^False Conflicted: cart\.shop\.svc\.cluster\.local:80: VirtualService shop\/b comes first/, b: /^True/ },
  },
  {
    name: 'a wildcard takes what has no narrower one',
    objects: [
      virtualService([ROUTE], {}, { hosts: ['*.shop.svc.cluster.local'] }),
      virtualService([ROUTE], { name: 'own', createdAt: LATER }),
    ],
    want: ['VirtualService/shop/own/0'],
    says: { own: /^True/, vs: /^True PartiallyInvalid: not everywhere: cart\.shop/ },
  },
  {
    name: 'another namespace: only for callers from there',
    objects: [virtualService([{ route: [to('cart.shop.svc.cluster.local')] }], { namespace: 'web' }, FULL)],
    want: [],
    consumers: { web: ['VirtualService/web/vs/0'] },
    says: { vs: /^True Accepted/ },
  },
  {
    name: 'another namespace, not exported',
    objects: [virtualService([ROUTE], { namespace: 'web' }, { ...FULL, exportTo: ['.'] })],
    want: [],
    says: { vs: /^False HostNotFound: exportTo does not name the namespace/ },
  },
  {
    name: 'another namespace, exported to this one',
    objects: [virtualService([{ route: [to('cart.shop.svc.cluster.local')] }], { namespace: 'web' }, { ...FULL, exportTo: ['shop'] })],
    want: [],
    consumers: { web: ['VirtualService/web/vs/0'] },
    says: {},
  },
  {
    name: 'a wildcard of another namespace',
    objects: [virtualService([{ route: [to('cart.shop.svc.cluster.local')] }], { namespace: 'web' }, { hosts: ['*'] })],
    want: [],
    says: { vs: /^False HostNotFound: \* stands only for services of the object's own namespace/ },
  },
  {
    name: 'a wildcard of the root namespace',
    objects: [virtualService([{ route: [to('cart.shop.svc.cluster.local')] }], { namespace: NAMES.rootNamespace }, { hosts: ['*'] })],
    want: ['VirtualService/weft-system/vs/0'],
    says: { vs: /^True/ },
  },
  {
    name: 'the root namespace: for all',
    objects: [virtualService([{ route: [to('cart.shop.svc.cluster.local')] }], { namespace: NAMES.rootNamespace }, FULL)],
    want: ['VirtualService/weft-system/vs/0'],
    says: { vs: /^True/ },
  },
  {
    name: 'both own and consumer',
    objects: [
      virtualService([ROUTE]),
      virtualService([{ route: [to('cart.shop.svc.cluster.local')] }], { namespace: 'web', name: 'w' }, FULL),
    ],
    want: ['VirtualService/shop/vs/0'],
    consumers: { web: ['VirtualService/web/w/0'] },
    says: { vs: /^True/, w: /^True/ },
  },
  {
    name: 'an HTTPRoute comes first',
    objects: [HTTP_ROUTE, virtualService([{ route: [to('cart-v2')] }])],
    want: ['HTTPRoute/shop/r/0', 'HTTPRoute/shop/r/1'],
    says: { vs: /^False Conflicted: .* an HTTPRoute or GRPCRoute has the port/ },
  },
  {
    name: 'an HTTPRoute also comes before consumers',
    objects: [HTTP_ROUTE, virtualService([{ route: [to('cart-v2.shop.svc.cluster.local')] }], { namespace: 'web' }, FULL)],
    want: ['HTTPRoute/shop/r/0', 'HTTPRoute/shop/r/1'],
    says: { vs: /^False Conflicted/ },
  },
  {
    name: 'faults over an HTTPRoute',
    objects: [HTTP_ROUTE, virtualService([ABORT])],
    want: ['HTTPRoute/shop/r/0', 'HTTPRoute/shop/r/1'],
    says: { vs: /^True Accepted: in force$/ },
  },
  {
    name: 'faults with a match: doubles in front',
    objects: [HTTP_ROUTE, virtualService([{ match: [{ headers: { a: {} } }], ...ABORT }])],
    want: ['HTTPRoute/shop/r/0', 'HTTPRoute/shop/r/0', 'HTTPRoute/shop/r/1', 'HTTPRoute/shop/r/1'],
    says: { vs: /^True Accepted/ },
  },
  {
    name: 'faults beside a route to the service itself',
    objects: [HTTP_ROUTE, virtualService([{ match: [{ headers: { a: {} } }], ...ABORT, ...ROUTE }, ROUTE])],
    want: ['HTTPRoute/shop/r/0', 'HTTPRoute/shop/r/0', 'HTTPRoute/shop/r/1', 'HTTPRoute/shop/r/1'],
    says: { vs: /^True Accepted/ },
  },
  {
    name: 'faults and a timeout are more than faults',
    objects: [HTTP_ROUTE, virtualService([{ ...ABORT, ...ROUTE, timeout: '1s' }])],
    want: ['HTTPRoute/shop/r/0', 'HTTPRoute/shop/r/1'],
    says: { vs: /^False Conflicted/ },
  },
  {
    name: 'faults for callers of another namespace over the routes of the service',
    objects: [HTTP_ROUTE, virtualService([{ match: [{ headers: { a: {} } }], ...ABORT }], { namespace: 'web' }, FULL)],
    want: ['HTTPRoute/shop/r/0', 'HTTPRoute/shop/r/1'],
    consumers: { web: ['HTTPRoute/shop/r/0', 'HTTPRoute/shop/r/0', 'HTTPRoute/shop/r/1', 'HTTPRoute/shop/r/1'] },
    says: { vs: /^True/ },
  },
  {
    name: 'the faults of the oldest of two',
    objects: [HTTP_ROUTE, virtualService([ABORT], { name: 'a', createdAt: LATER }), virtualService([ABORT], { name: 'b' })],
    want: ['HTTPRoute/shop/r/0', 'HTTPRoute/shop/r/1'],
    says: { a: /^False Conflicted: .*the faults of VirtualService shop\/b come first/, b: /^True/ },
  },
  {
    name: 'faults that no match can say',
    objects: [
      route('HTTPRoute', {
        rules: [{ matches: [{ path: { type: 'RegularExpression', value: '/a.*' } }], backendRefs: [{ name: 'cart', port: 80 }] }],
      }),
      virtualService([{ match: [{ uri: { regex: '/.*b' } }], ...ABORT }]),
    ],
    want: ['HTTPRoute/shop/r/0'],
    says: { vs: /^True PartiallyInvalid: faults are not in force on .*: HTTPRoute\/shop\/r\/0$/ },
  },
  {
    name: 'faults over a service without routes',
    objects: [virtualService([{ match: [{ uri: { prefix: '/a' } }], ...ABORT }])],
    want: ['VirtualService/shop/vs/default', 'VirtualService/shop/vs/default'],
    says: { vs: /^True Accepted/ },
  },
  {
    name: 'faults over another VirtualService',
    objects: [
      virtualService([ROUTE], { name: 'routes' }),
      virtualService([{ match: [{ headers: { a: {} } }], ...ABORT }], { name: 'faults' }),
    ],
    want: ['VirtualService/shop/routes/0', 'VirtualService/shop/routes/0'],
    says: { routes: /^True/, faults: /^True/ },
  },
  {
    name: 'an entry for another port',
    objects: [virtualService([{ match: [{ port: 81 }], ...ROUTE }])],
    want: [],
    says: { vs: /^False NoMatchingPort: .*: cart\.shop\.svc\.cluster\.local:80$/ },
  },
  {
    name: 'an entry that cannot be read is left out, the others are in force',
    objects: [virtualService([{ match: [{ uri: { regex: '(' } }], ...ROUTE }, ROUTE])],
    want: ['VirtualService/shop/vs/1'],
    says: { vs: /^True PartiallyInvalid: not in force: http\[0\]\.match\[0\]\.uri: regex/ },
  },
  {
    name: 'no entry is good',
    objects: [virtualService([{ match: [{ uri: { regex: '(' } }], ...ROUTE }, { delegate: { name: 'x' } }])],
    want: ['VirtualService/shop/vs/1'],
    says: { vs: /^False Invalid: not in force: http\[0\].*answered 500: http\[1\]\.delegate/ },
  },
  {
    name: 'a misspelt field: nothing is in force',
    objects: [virtualService([{ matches: [], ...ROUTE }])],
    want: [],
    says: { vs: /^False Invalid: nothing is in force: spec\.http\[0\]: Unrecognized key: "matches"/ },
  },
  {
    name: 'tcp and tls are named',
    objects: [virtualService([ROUTE], {}, { tcp: [{}], tls: [{}] })],
    want: ['VirtualService/shop/vs/0'],
    says: { vs: /^True PartiallyInvalid: not in force: tcp: is not supported; tls: is not supported$/ },
  },
  {
    name: 'only tcp',
    objects: [virtualService([], {}, { http: undefined, tcp: [{}] })],
    want: [],
    says: { vs: /^False Invalid: nothing is in force: http: is absent; tcp: is not supported/ },
  },
  {
    name: 'ports that carry no HTTP',
    objects: [service('shop', 'db', ['mysql:3306']), virtualService([{ route: [to('db')] }], {}, { hosts: ['db'] })],
    want: [],
    says: { vs: /^False HostNotFound: no port of db\.shop\.svc\.cluster\.local carries HTTP/ },
  },
  {
    name: 'what leads nowhere',
    objects: [virtualService([{ route: [to('none')] }])],
    want: ['VirtualService/shop/vs/0'],
    says: { vs: /^True PartiallyInvalid: requests to them are answered 500: http\[0\]\.route\[0\]\.destination/ },
  },
]

describe('controlplane/translate/istio/virtual-services', () => {
  for (const { name, objects, want, consumers = {}, says } of ROWS) {
    it(name, () => {
      const translation = translate([...SHOP, ...objects])
      assert.deepEqual(namesIn(translation.listeners.get(CART)), [want, consumers])
      for (const [object, text] of Object.entries(says)) {
        const said = saidOfIstio(translation, object)
        if (text === undefined) assert.equal(said, undefined)
        else assert.match(said ?? '', text)
      }
      const isWrong = [...translation.istioOutcomes.values()].some(({ reason }) => reason !== 'Accepted')
      assert.equal(
        translation.faults.some(({ kind }) => kind === 'VirtualService'),
        isWrong,
      )
    })
  }

  it('leaves what HTTPRoutes are said to do as it was', () => {
    assert.deepEqual(saidOf(translate([...SHOP, HTTP_ROUTE, virtualService([ABORT])])), saidOf(translate([...SHOP, HTTP_ROUTE])))
  })

  it('looks again when a subset comes or goes, and only then', () => {
    const source = new FakeSource()
    const translator = new Translator(NAMES)
    const run = () => translator.translate(worldOf(source, new Set()))
    const rule = destinationRule({ subsets: [{ name: 'v1', labels: { version: 'v1' } }] })
    source.apply(...SHOP, virtualService([{ route: [to('cart', { subset: 'v1' })] }]))
    const first = run()
    assert.match(saidOfIstio(first, 'vs') ?? '', /has a subset v1/)
    assert.equal(run().listeners, first.listeners)
    source.apply(rule)
    const second = run()
    assert.match(saidOfIstio(second, 'vs') ?? '', /^True Accepted/)
    assert.deepEqual(second.listeners.get(CART)?.routes[0]?.rule.backends[0]?.kind, 'service')
    assert.equal(second.listeners.get(CART.replace('cart.', 'cart-v2.')), first.listeners.get(CART.replace('cart.', 'cart-v2.')))
    source.delete(rule)
    assert.match(saidOfIstio(run(), 'vs') ?? '', /has a subset v1/)
  })

  it('does nothing for an object of which only the status has changed', async () => {
    const source = new FakeSource()
    const translator = new Translator(NAMES)
    source.apply(...SHOP, virtualService([ROUTE]))
    const before = translator.translate(worldOf(source, new Set()))
    await source.patchStatus('virtualservices', 'shop', 'vs', { conditions: [] })
    const after = translator.translate(worldOf(source, new Set()))
    assert.equal(after.listeners.get(CART), before.listeners.get(CART))
    assert.equal([...after.istioOutcomes.values()][0], [...before.istioOutcomes.values()][0])
  })

  it('bounds what one object takes', () => {
    const match = Array.from({ length: 64 }, (_, i) => ({ uri: { exact: `/${i}` } }))
    const http = Array.from({ length: 12 }, () => ({ match, ...ROUTE }))
    const own = translate([...SHOP, virtualService(http)])
    assert.equal(own.listeners.get(CART)?.routes.length, 768)
    const foreign = translate([...SHOP, virtualService(http, { namespace: 'web' }, FULL)])
    assert.equal(foreign.listeners.get(CART)?.consumerRoutes.size, 0)
    assert.match(saidOfIstio(foreign, 'vs') ?? '', /^False Conflicted: .*larger than the room/)
  })
})
