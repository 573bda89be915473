// Several routes on one service: whose requests they take, which kind wins, which ports, how much room there is.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import type { MeshObject } from '../../../../../model/object.ts'
import type { Listener } from '../../../../../model/route.ts'
import { route, saidOf, service, SHOP, translate } from '../../../../support/route-world.ts'

const CART = 'shop/waypoint/shop/cart.shop.svc.cluster.local'
const BACKENDS = [{ backendRefs: [{ name: 'cart', namespace: 'shop', port: 80 }] }]
const on = (place: object, rules: readonly object[] = BACKENDS) => ({
  parentRefs: [{ group: '', kind: 'Service', namespace: 'shop', name: 'cart', ...place }],
  rules,
})
const names = (listener: Listener | undefined): unknown => [
  listener?.routes.map(({ name }) => name),
  Object.fromEntries([...(listener?.consumerRoutes ?? [])].map(([namespace, routes]) => [namespace, routes.map(({ name }) => name)])),
]

interface Row {
  readonly name: string
  readonly objects: readonly MeshObject[]
  /** Routes and routes of consumers by port. */
  readonly want: Readonly<Record<number, unknown>>
  readonly says?: Readonly<Record<string, RegExp>>
}

const PORTS = [service('shop', 'cart', ['http:80', 'grpc:81', 'tcp:82', 'any:83'])]

const ROWS: readonly Row[] = [
  {
    name: 'without a port: all ports that can carry HTTP',
    objects: [...PORTS, route('HTTPRoute', on({}))],
    want: { 80: [['HTTPRoute/shop/r/0'], {}], 81: [['HTTPRoute/shop/r/0'], {}], 82: [[], {}], 83: [['HTTPRoute/shop/r/0'], {}] },
  },
  {
    name: 'with a port',
    objects: [...PORTS, route('HTTPRoute', on({ port: 81 }))],
    want: { 80: [[], {}], 81: [['HTTPRoute/shop/r/0'], {}] },
  },
  {
    name: 'with the name of a port',
    objects: [...PORTS, route('HTTPRoute', on({ sectionName: 'any' }))],
    want: { 80: [[], {}], 83: [['HTTPRoute/shop/r/0'], {}] },
  },
  {
    name: 'name and number of different ports',
    objects: [...PORTS, route('HTTPRoute', on({ sectionName: 'any', port: 80 }))],
    want: { 80: [[], {}], 83: [[], {}] },
    says: { r: /^Accepted False NoMatchingParent/ },
  },
  {
    name: 'a port that carries no HTTP',
    objects: [...PORTS, route('HTTPRoute', on({ port: 82 }))],
    want: { 82: [[], {}] },
    says: { r: /^Accepted False NotAllowedByListeners/ },
  },
  {
    name: 'named twice by one route: once',
    objects: [...PORTS, route('HTTPRoute', { parentRefs: [...on({ port: 80 }).parentRefs, ...on({}).parentRefs], rules: BACKENDS })],
    want: { 80: [['HTTPRoute/shop/r/0'], {}] },
  },
  {
    name: 'routes of the namespace are merged: longest path, then oldest, then name',
    objects: [
      ...PORTS,
      route('HTTPRoute', on({}), { name: 'young', createdAt: '2026-01-02T00:00:00Z' }),
      route('HTTPRoute', on({}), { name: 'b' }),
      route('HTTPRoute', on({}), { name: 'a' }),
      route('HTTPRoute', on({}, [{ matches: [{ path: { value: '/long' } }] }]), { name: 'long', createdAt: '2026-01-03T00:00:00Z' }),
    ],
    want: { 80: [['HTTPRoute/shop/long/0', 'HTTPRoute/shop/a/0', 'HTTPRoute/shop/b/0', 'HTTPRoute/shop/young/0'], {}] },
  },
  {
    name: 'a route of another namespace is for callers from there',
    objects: [...PORTS, route('HTTPRoute', on({})), route('HTTPRoute', on({}), { name: 'c', namespace: 'web' })],
    want: { 80: [['HTTPRoute/shop/r/0'], { web: ['HTTPRoute/web/c/0'] }] },
    says: { c: /^Accepted True/ },
  },
  {
    name: 'a GRPCRoute comes before HTTPRoutes of its namespace',
    objects: [
      ...PORTS,
      route('HTTPRoute', on({ port: 81 }), { name: 'h' }),
      route('GRPCRoute', on({ port: 81 }), { name: 'g', createdAt: '2027-01-01T00:00:00Z' }),
    ],
    want: { 81: [['GRPCRoute/shop/g/0'], {}] },
    says: { h: /^Accepted False Conflicted: port 81: a GRPCRoute/, g: /^Accepted True Accepted: in force$/ },
  },
  {
    name: 'in conflict on one of its ports only',
    objects: [...PORTS, route('HTTPRoute', on({}), { name: 'h' }), route('GRPCRoute', on({ port: 81 }), { name: 'g' })],
    want: { 80: [['HTTPRoute/shop/h/0'], {}], 81: [['GRPCRoute/shop/g/0'], {}] },
    says: { h: /^Accepted True Accepted: in force, but not everywhere: port 81/ },
  },
  {
    name: 'a GRPCRoute of another namespace takes nothing from the owner',
    objects: [
      ...PORTS,
      route('HTTPRoute', on({ port: 81 }), { name: 'h' }),
      route('GRPCRoute', on({ port: 81 }), { name: 'g', namespace: 'web' }),
    ],
    want: { 81: [['HTTPRoute/shop/h/0'], { web: ['GRPCRoute/web/g/0'] }] },
    says: { h: /^Accepted True Accepted: in force$/, g: /^Accepted True/ },
  },
  {
    name: 'a GRPCRoute of which nothing is in force takes nothing',
    objects: [
      ...PORTS,
      route('HTTPRoute', on({ port: 81 }), { name: 'h' }),
      route('GRPCRoute', on({ port: 81 }, [{ matches: [{ headers: [{ type: 'RegularExpression', name: 'a', value: '(' }] }] }]), {
        name: 'g',
      }),
    ],
    want: { 81: [['HTTPRoute/shop/h/0'], {}] },
    says: { h: /^Accepted True/, g: /^Accepted False UnsupportedValue/ },
  },
]

describe('controlplane/translate/gateway/attach', () => {
  for (const { name, objects, want, says = {} } of ROWS) {
    it(name, () => {
      const translation = translate([...SHOP.filter(({ metadata }) => metadata.name !== 'cart'), ...objects])
      for (const [port, wanted] of Object.entries(want)) assert.deepEqual(names(translation.listeners.get(`${CART}/${port}`)), wanted)
      for (const [route, pattern] of Object.entries(says)) assert.match(saidOf(translation, route)[0] ?? '', pattern)
    })
  }

  it('answers as gRPC only where nothing but GRPCRoutes is', () => {
    const grpc = route('GRPCRoute', on({ port: 81 }), { name: 'g' })
    const consumer = route('HTTPRoute', on({ port: 81 }), { name: 'c', namespace: 'web' })
    const isGrpcOnly = (...more: MeshObject[]): boolean | undefined =>
      translate([...SHOP, ...PORTS, ...more]).listeners.get(`${CART}/81`)?.isGrpcOnly
    assert.deepEqual([isGrpcOnly(), isGrpcOnly(grpc), isGrpcOnly(grpc, consumer)], [false, true, false])
  })

  it('takes protocols from appProtocol and names', () => {
    const ports = [
      { name: 'a', port: 1, appProtocol: 'kubernetes.io/h2c' },
      { name: 'grpc-web-x', port: 2 },
      { name: 'mysql', port: 3 },
      { name: 'https-b', port: 4 },
      { name: 'b', port: 5, appProtocol: 'acme.example/own' },
      { name: 'http-c', port: 6, appProtocol: 'tcp' },
      { name: 'HTTP2', port: 7 },
      { name: 'constructor', port: 8 },
    ]
    const { listeners } = translate([...SHOP, service('shop', 'cart', [], { ports })])
    const protocols = ports.map(({ port }) => listeners.get(`${CART}/${port}`)?.protocol)
    assert.deepEqual(protocols, ['HTTP', 'HTTP', 'TCP', 'TCP', 'DETECT', 'TCP', 'HTTP', 'DETECT'])
  })

  it('bounds what one namespace puts on a port; the oldest stay, other namespaces keep their room', () => {
    const matches = Array.from({ length: 64 }, (_, i) => ({ path: { value: `/${i}` } }))
    const rules = [{ matches }, { matches }]
    const date = (day: number): string => new Date(Date.UTC(2026, 0, day)).toISOString()
    const many = (namespace: string, count: number): MeshObject[] =>
      Array.from({ length: count }, (_, i) =>
        route('HTTPRoute', on({}, rules), { name: `${namespace}-${i}`, namespace, createdAt: date(i + 1) }),
      )
    const translation = translate([...SHOP, ...many('shop', 33), ...many('web', 5), ...many('bare', 1)])
    const listener = translation.listeners.get(`${CART}/80`)
    assert.deepEqual(
      [listener?.routes.length, listener?.consumerRoutes.get('web')?.length, listener?.consumerRoutes.get('bare')?.length],
      [4096, 512, 128],
    )
    assert.match(saidOf(translation, 'shop-31')[0] ?? '', /^Accepted True/)
    assert.match(saidOf(translation, 'shop-32')[0] ?? '', /^Accepted False UnsupportedValue: port 80: older routes take all the room/)
    assert.match(saidOf(translation, 'web-4')[0] ?? '', /^Accepted False/)
  })
})
