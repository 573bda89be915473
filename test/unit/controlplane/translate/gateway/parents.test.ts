// Parents of a route: which are ours, which are taken, and what is said of those that are not.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import type { MeshObject } from '../../../../../model/object.ts'
import { object, route, service, SHOP, translate } from '../../../../support/route-world.ts'

interface Row {
  readonly name: string
  readonly parent: object
  readonly more?: readonly MeshObject[]
  /** First line of the status; undefined = no entry of ours. */
  readonly says: RegExp | undefined
  readonly ref?: object
}

const GATEWAY = 'gateway.networking.k8s.io'
const ROWS: readonly Row[] = [
  {
    name: 'a service',
    parent: { group: '', kind: 'Service', name: 'cart' },
    says: /^Accepted Accepted/,
    ref: { group: '', kind: 'Service', name: 'cart' },
  },
  { name: 'group core by name', parent: { group: 'core', kind: 'Service', name: 'cart' }, says: /^Accepted Accepted/ },
  { name: 'of another kind of the core group', parent: { group: '', kind: 'Pod', name: 'cart' }, says: undefined },
  { name: 'a Service of no group: the default group has none', parent: { kind: 'Service', name: 'cart' }, says: undefined },
  { name: 'another controller’s Gateway', parent: { name: 'edge' }, says: undefined },
  {
    name: 'a waypoint',
    parent: { name: 'waypoint' },
    says: /^Accepted NotAllowedByListeners: .*name a Service/,
    ref: { group: GATEWAY, kind: 'Gateway', name: 'waypoint' },
  },
  {
    name: 'a ServiceEntry that is not there',
    parent: { group: 'networking.istio.io', kind: 'ServiceEntry', name: 'x' },
    says: /^Accepted NoMatchingParent: there is no ServiceEntry shop\/x/,
  },
  {
    name: 'a host by its name',
    parent: { group: 'networking.istio.io', kind: 'Hostname', name: 'x.example' },
    says: /^Accepted UnsupportedValue: kind Hostname .*name the ServiceEntry/,
  },
  {
    name: 'a service that is not there',
    parent: { group: '', kind: 'Service', name: 'gone' },
    says: /^Accepted NoMatchingParent: there is no Service shop\/gone/,
  },
  {
    name: 'a service without a waypoint: how to attach one',
    parent: { group: '', kind: 'Service', namespace: 'bare', name: 'plain' },
    says: /^Accepted NoMatchingParent: Service bare\/plain has no waypoint.*class istio-waypoint.*istio\.io\/use-waypoint=NAME/,
  },
  {
    name: 'a waypoint that does not exist',
    parent: { group: '', kind: 'Service', name: 'lost' },
    more: [
      object(
        'v1',
        'Service',
        'shop',
        'lost',
        { clusterIP: '10.96.0.9', ports: [{ port: 80 }] },
        { labels: { 'istio.io/use-waypoint': 'gone' } },
      ),
    ],
    says: /^Accepted NoMatchingParent: the waypoint that Service shop\/lost names does not exist/,
  },
  {
    name: 'a headless service',
    parent: { group: '', kind: 'Service', name: 'db' },
    more: [service('shop', 'db', ['http:80'], { clusterIP: 'None' })],
    says: /^Accepted UnsupportedValue: .*headless/,
  },
  {
    name: 'a port that is not there',
    parent: { group: '', kind: 'Service', name: 'cart', port: 81 },
    says: /^Accepted NoMatchingParent: Service shop\/cart has no such TCP port/,
  },
]

describe('controlplane/translate/gateway/parents', () => {
  for (const { name, parent, more = [], says, ref } of ROWS) {
    it(name, () => {
      const { routeOutcomes } = translate([...SHOP, ...more, route('HTTPRoute', { parentRefs: [parent] })])
      const [outcomes = []] = [...routeOutcomes.values()]
      assert.equal(outcomes.length, says === undefined ? 0 : 1)
      const [outcome] = outcomes
      if (says === undefined || outcome === undefined) return
      const [accepted, resolved] = outcome.findings
      assert.match(`${accepted?.type} ${accepted?.reason}: ${accepted?.message}`, says)
      assert.equal(resolved?.type, 'ResolvedRefs', 'written although the route is not accepted')
      if (ref !== undefined) assert.deepEqual(outcome.parentRef, ref)
    })
  }

  it('speaks of every parent by itself', () => {
    const parentRefs = ['cart', 'gone', 'cart-v2'].map((name) => ({ group: '', kind: 'Service', name }))
    const { routeOutcomes, gateways } = translate([...SHOP, route('HTTPRoute', { parentRefs })])
    const [outcomes = []] = [...routeOutcomes.values()]
    assert.deepEqual(
      outcomes.map(({ parentRef, findings }) => [parentRef.name, findings[0]?.status]),
      [
        ['cart', 'True'],
        ['gone', 'False'],
        ['cart-v2', 'True'],
      ],
    )
    assert.equal(gateways.get('shop/waypoint')?.attachedRoutes, 1)
  })

  it('speaks of parents also when the rest of the route cannot be read', () => {
    const { routeOutcomes } = translate([
      ...SHOP,
      route('HTTPRoute', { rules: 'none', parentRefs: [{ group: '', kind: 'Service', name: 'cart' }, null, 7, { name: 5 }] }),
    ])
    const [outcomes = []] = [...routeOutcomes.values()]
    assert.deepEqual(
      outcomes.map(({ parentRef, findings }) => [parentRef.name, findings[0]?.reason]),
      [['cart', 'UnsupportedValue']],
    )
  })
})
