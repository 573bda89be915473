// Pushes of listeners and backends: good ones are in force, bad ones leave the old in force and are named.
import assert from 'node:assert/strict'
import { BACKEND_TYPE, LISTENER_TYPE } from '../../../xds/kinds.ts'
import { encodeBackend } from '../../../xds/resource/backend.ts'
import { encodeListener } from '../../../xds/resource/listener.ts'
import { Configuration, LEAVING_MS } from '../../../waypoint/config.ts'
import { applyPush } from '../../../waypoint/source.ts'
import { FakeClock, settle } from '../../support/fake-clock.ts'
import { backendOf, listenerOf, routeTo } from '../../support/route-values.ts'

const SERVICE = 'shop/reviews.shop.svc.cluster.local'

describe('source', () => {
  let clock: FakeClock
  let config: Configuration
  beforeEach(() => {
    clock = new FakeClock()
    config = new Configuration(clock)
  })

  it('a listener is in force, replaced as a whole, and gone a little after it was taken back', async () => {
    const listener = listenerOf('shop/waypoint', 'reviews')
    const push = (value: typeof listener): readonly string[] =>
      applyPush(LISTENER_TYPE, { upserts: [{ name: value.name, bytes: encodeListener(value) }], removes: [] }, config)
    assert.deepEqual(push(listener), [])
    const before = config.listenerFor(SERVICE, 80)
    assert.deepEqual(push({ ...listener, protocol: 'DETECT', routes: [routeTo(`${SERVICE}:80`)] }), [])
    assert.equal(before?.listener.protocol, 'HTTP')
    assert.equal(config.listenerFor(SERVICE, 80)?.listener.protocol, 'DETECT')
    applyPush(LISTENER_TYPE, { upserts: [], removes: [listener.name] }, config)
    assert.deepEqual(config.dump().listeners, [])
    await clock.advance(LEAVING_MS - 1)
    assert.notEqual(config.listenerFor(SERVICE, 80), undefined)
    await clock.advance(1)
    assert.equal(config.listenerFor(SERVICE, 80), undefined)
  })

  it('a listener that is taken back and set again stays', async () => {
    const listener = listenerOf('shop/waypoint', 'reviews')
    config.applyListeners({ upserts: [listener], removes: [] })
    config.applyListeners({ upserts: [], removes: [listener.name] })
    config.applyListeners({ upserts: [{ ...listener, protocol: 'TCP' }], removes: [] })
    await clock.advance(LEAVING_MS)
    assert.equal(config.listenerFor(SERVICE, 80)?.listener.protocol, 'TCP')
    assert.equal(clock.pending, 0)
  })

  it('wakes those who wait for a change, or lets them go after their time', async () => {
    let woken = 0
    const wait = (): void => void config.nextChange(1000).then(() => woken++)
    wait()
    config.applyListeners({ upserts: [listenerOf('shop/waypoint', 'reviews')], removes: [] })
    await settle()
    assert.equal(woken, 1)
    wait()
    await clock.advance(999)
    assert.equal(woken, 1)
    await clock.advance(1)
    assert.equal(woken, 2)
  })

  it('a listener that cannot be read leaves the old one in force', () => {
    const listener = listenerOf('shop/waypoint', 'reviews')
    config.applyListeners({ upserts: [listener], removes: [] })
    const errors = applyPush(LISTENER_TYPE, { upserts: [{ name: listener.name, bytes: Buffer.from('garbage') }], removes: [] }, config)
    assert.equal(errors.length > 0 && errors[0]?.startsWith(listener.name), true)
    assert.equal(config.listenerFor(SERVICE, 80)?.listener, listener)
  })

  it('a listener under a wrong name is refused', () => {
    const bytes = encodeListener(listenerOf('shop/waypoint', 'reviews'))
    assert.equal(applyPush(LISTENER_TYPE, { upserts: [{ name: 'else', bytes }], removes: [] }, config).length, 1)
    assert.equal(config.listenerFor(SERVICE, 80), undefined)
  })

  it('a backend is in force and tells which service it changes', () => {
    const told: string[] = []
    config.onChange((services) => told.push(...services))
    const backend = backendOf('reviews')
    applyPush(BACKEND_TYPE, { upserts: [{ name: backend.service, bytes: encodeBackend(backend) }], removes: [] }, config)
    assert.deepEqual(config.treatmentOf({ service: SERVICE, port: 80, subset: undefined })?.policy, backend.policy)
    assert.equal(config.treatmentOf({ service: SERVICE, port: 80, subset: 'v9' }), undefined)
    assert.deepEqual(told, [SERVICE])
  })
})
