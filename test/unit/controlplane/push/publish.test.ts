// What is published of a translation for waypoints: in which order and groups, what changes when, and what is left out.
import assert from 'node:assert/strict'
import { beforeEach, describe, it } from 'mocha'
import { Publisher } from '../../../../controlplane/push/publish.ts'
import type { Translation } from '../../../../controlplane/translate/translate.ts'
import { Translator } from '../../../../controlplane/translate/translate.ts'
import { worldOf } from '../../../../controlplane/push/world.ts'
import type { Backend } from '../../../../model/backend.ts'
import type { Listener, RouteFilter } from '../../../../model/route.ts'
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, BACKEND_TYPE, LISTENER_TYPE, NETWORKS_TYPE } from '../../../../xds/kinds.ts'
import type { ChangeBatch } from '../../../../xds/push-source.ts'
import { decodeBackend } from '../../../../xds/resource/backend.ts'
import { decodeListener } from '../../../../xds/resource/listener.ts'
import { FakeSource, NAMES } from '../../../support/fake-source.ts'
import { backendOf, listenerOf, PLAIN_RULE, routeTo } from '../../../support/route-values.ts'

const key = (service: string): string => `shop/${service}.shop.svc.cluster.local`

describe('controlplane/push/publish', () => {
  const empty = new Translator(NAMES).translate(worldOf(new FakeSource(), new Set()))
  let publisher: Publisher
  let batches: ChangeBatch[]

  const translation = (listeners: readonly Listener[], backends: readonly Backend[]): Translation => ({
    ...empty,
    listeners: new Map(listeners.map((each) => [each.name, each])),
    backends: new Map(backends.map((each) => [each.service, each])),
  })
  const publish = (listeners: readonly Listener[], backends: readonly Backend[]): void =>
    void publisher.publish(translation(listeners, backends))
  const groupsOf = (typeUrl: string, name: string): readonly string[] | undefined => publisher.store.snapshot(typeUrl).get(name)?.groups

  beforeEach(() => {
    publisher = new Publisher()
    batches = []
    publisher.store.onChange((list) => void batches.push(...list))
  })

  it('sends backends after addresses and listeners last', () => {
    assert.deepEqual(publisher.store.typeUrls, [AUTHORIZATION_TYPE, NETWORKS_TYPE, ADDRESS_TYPE, BACKEND_TYPE, LISTENER_TYPE])
  })

  it('publishes listeners and backends as proxies read them', () => {
    const listener = listenerOf('shop/wp', 'cart', { routes: [routeTo(`${key('cart-v2')}:80`)] })
    const backend = backendOf('cart')
    publish([listener], [backend])
    const served = publisher.store.snapshot(LISTENER_TYPE).get(listener.name)
    assert.deepEqual(decodeListener(served?.bytes ?? Buffer.alloc(0)), { ok: true, value: listener })
    assert.deepEqual(served?.groups, ['gateway/shop/wp'])
    const other = publisher.store.snapshot(BACKEND_TYPE).get(backend.service)
    assert.deepEqual(decodeBackend(other?.bytes ?? Buffer.alloc(0)), { ok: true, value: backend })
    assert.deepEqual(publisher.faults, [])
  })

  const mirror = (service: string): RouteFilter => ({
    kind: 'mirror',
    mirror: { backend: { service: key(service), port: 80, subset: undefined }, numerator: 1, denominator: 1 },
  })
  const route = routeTo(`${key('front')}:80`)
  const [first] = route.rule.backends
  assert.ok(first)
  const WAYS: readonly { readonly name: string; readonly listener: Listener }[] = [
    { name: 'its own service', listener: listenerOf('shop/wp', 'cart') },
    { name: 'a route', listener: listenerOf('shop/wp', 'front', { routes: [routeTo(`${key('cart')}:80`)] }) },
    {
      name: 'a route of a consumer',
      listener: listenerOf('shop/wp', 'front', { consumerRoutes: new Map([['bank', [routeTo(`${key('cart')}:80`)]]]) }),
    },
    {
      name: 'a mirror of a rule',
      listener: listenerOf('shop/wp', 'front', { routes: [{ ...route, rule: { ...PLAIN_RULE, filters: [mirror('cart')] } }] }),
    },
    {
      name: 'a mirror of one backend',
      listener: listenerOf('shop/wp', 'front', {
        routes: [{ ...route, rule: { ...PLAIN_RULE, backends: [{ ...first, filters: [mirror('cart')] }] } }],
      }),
    },
  ]
  for (const { name, listener } of WAYS) {
    it(`puts a backend into the group of a gateway that leads to it by ${name}, and of no other`, () => {
      publish([listener, listenerOf('infra/other', 'till')], [backendOf('cart')])
      assert.deepEqual(groupsOf(BACKEND_TYPE, key('cart')), ['gateway/shop/wp'])
    })
  }

  it('moves a backend between groups when only a route changes, and tells those who follow the groups', () => {
    const backend = backendOf('cart')
    const own = listenerOf('shop/wp', 'cart')
    publish([own], [backend])
    const leading = listenerOf('infra/wp', 'front', { routes: [routeTo(`${key('cart')}:80`)] })
    batches.length = 0
    publish([own, leading], [backend])
    assert.deepEqual(groupsOf(BACKEND_TYPE, key('cart')), ['gateway/infra/wp', 'gateway/shop/wp'])
    const change = batches.find(({ typeUrl }) => typeUrl === BACKEND_TYPE)?.changes.get(key('cart'))
    assert.deepEqual(change?.before?.groups, ['gateway/shop/wp'])
    assert.deepEqual(change?.after?.groups, ['gateway/infra/wp', 'gateway/shop/wp'])
    publish([leading], [backend])
    assert.deepEqual(groupsOf(BACKEND_TYPE, key('cart')), ['gateway/infra/wp'])
    publish([], [backend])
    assert.deepEqual(groupsOf(BACKEND_TYPE, key('cart')), [])
  })

  it('changes nothing for equal values, and removes what is gone', () => {
    publish([listenerOf('shop/wp', 'cart')], [backendOf('cart')])
    const { revision } = publisher.store
    publish([listenerOf('shop/wp', 'cart')], [backendOf('cart')])
    assert.equal(publisher.store.revision, revision)
    publish([], [])
    assert.equal(publisher.store.snapshot(LISTENER_TYPE).size + publisher.store.snapshot(BACKEND_TYPE).size, 0)
  })

  it('leaves out what no proxy could read, names it, and keeps the rest', () => {
    const bad = listenerOf('shop/wp', 'till', { rateLimits: [{ policy: 'shop/x', requests: 1, perMs: 0, burst: 1, keys: [] }] })
    const huge = { ...backendOf('till'), ports: new Map([[70_000, backendOf('x').policy]]) }
    publish([bad, listenerOf('shop/wp', 'cart')], [huge, backendOf('cart')])
    assert.deepEqual([...publisher.store.snapshot(LISTENER_TYPE).keys()], [`shop/wp/${key('cart')}/80`])
    assert.deepEqual([...publisher.store.snapshot(BACKEND_TYPE).keys()], [key('cart')])
    const said = publisher.faults.map(({ namespace, name, message }) => `${namespace}/${name}: ${message}`).join('\n')
    assert.match(said, /^shop\/wp: left out.*per_ms: 0/m)
    assert.match(said, /^shop\/till\.shop\.svc\.cluster\.local: left out.*70000 is not a port/m)
  })
})
