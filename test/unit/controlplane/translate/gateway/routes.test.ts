// Run after run: what did not change is the same value again, and a tenant with many broken routes costs the others little.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { worldOf } from '../../../../../controlplane/push/world.ts'
import { type Translation, Translator } from '../../../../../controlplane/translate/translate.ts'
import type { MeshObject } from '../../../../../model/object.ts'
import { FakeSource, NAMES, pod } from '../../../../support/fake-source.ts'
import { route, saidOf, service, SHOP } from '../../../../support/route-world.ts'

const CART = 'shop/waypoint/shop/cart.shop.svc.cluster.local/80'
const CART_2 = 'shop/waypoint/shop/cart-v2.shop.svc.cluster.local/80'
const RULES = [{ backendRefs: [{ name: 'cart', port: 80 }] }]

class Runs {
  readonly source = new FakeSource()
  readonly #translator = new Translator(NAMES)

  constructor(...objects: readonly MeshObject[]) {
    this.source.apply(...SHOP, ...objects)
  }

  run(): Translation {
    return this.#translator.translate(worldOf(this.source, new Set()))
  }
}

describe('controlplane/translate/gateway/routes', () => {
  it('gives the same values while nothing that matters has changed', () => {
    const runs = new Runs(route('HTTPRoute', { rules: RULES }))
    const before = runs.run()
    runs.source.apply(pod('shop', 'p', { ip: '10.244.0.9' }))
    const after = runs.run()
    assert.equal(after.listeners, before.listeners)
    assert.equal(after.routeOutcomes, before.routeOutcomes)
  })

  it('makes only the listeners of the service that a route names again', () => {
    const runs = new Runs(route('HTTPRoute', { rules: RULES }))
    const before = runs.run()
    runs.source.apply(route('HTTPRoute', { rules: [...RULES, ...RULES] }))
    const after = runs.run()
    assert.equal(after.listeners.get(CART)?.routes.length, 2)
    assert.equal(after.listeners.get(CART_2), before.listeners.get(CART_2))
  })

  it('does nothing for a route of which only the status has changed', async () => {
    const runs = new Runs(route('HTTPRoute', { rules: RULES }))
    const before = runs.run()
    await runs.source.patchStatus('httproutes', 'shop', 'r', { parents: [] })
    const after = runs.run()
    assert.equal(after.listeners.get(CART), before.listeners.get(CART))
    assert.equal([...after.routeOutcomes.values()][0], [...before.routeOutcomes.values()][0])
  })

  it('looks at a route again when a service that it names comes or goes', () => {
    const runs = new Runs(route('HTTPRoute', { rules: [{ backendRefs: [{ name: 'late', port: 80 }] }] }))
    assert.match(saidOf(runs.run())[1] ?? '', /^ResolvedRefs False BackendNotFound/)
    runs.source.apply(service('shop', 'late'))
    assert.match(saidOf(runs.run())[1] ?? '', /^ResolvedRefs True/)
    runs.source.delete(service('shop', 'late'))
    assert.match(saidOf(runs.run())[1] ?? '', /^ResolvedRefs False/)
  })

  it('forgets what is deleted', () => {
    const runs = new Runs(route('HTTPRoute', { rules: RULES }))
    assert.equal(runs.run().listeners.get(CART)?.routes.length, 1)
    runs.source.delete(route('HTTPRoute', {}))
    const after = runs.run()
    assert.deepEqual([after.listeners.get(CART)?.routes, after.routeOutcomes.size], [[], 0])
    for (const object of SHOP) if (object.kind === 'Gateway') runs.source.delete(object)
    assert.equal(runs.run().listeners.size, 0)
  })

  it('takes 10,000 broken routes in; the next run costs a fraction of it', function () {
    this.timeout('60s')
    const broken = Array.from({ length: 10_000 }, (_, i) =>
      route(
        'HTTPRoute',
        {
          parentRefs: [{ group: '', kind: 'Service', namespace: 'shop', name: 'cart' }],
          rules: [{ matches: [{ path: { type: 'RegularExpression', value: '(' } }], backendRefs: [{ name: 'gone', port: 1 }] }],
        },
        { name: `bad-${i}`, namespace: 'web' },
      ),
    )
    const runs = new Runs(...broken, route('HTTPRoute', { rules: RULES }))
    const begin = performance.now()
    runs.run()
    const first = performance.now() - begin
    runs.source.apply(route('HTTPRoute', { rules: [...RULES, ...RULES] }))
    const again = performance.now()
    const after = runs.run()
    const second = performance.now() - again
    assert.equal(after.listeners.get(CART)?.routes.length, 2)
    assert.equal(after.listeners.get(CART)?.consumerRoutes.size, 0)
    assert.ok(second < first / 3, `first ${first.toFixed()} ms, then ${second.toFixed()} ms`)
    assert.equal(after.faults.length, 10_000)
  })
})
