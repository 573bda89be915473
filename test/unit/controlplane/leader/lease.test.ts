// One leader at a time: elected, renewed, deposed by time, killed, cut off, and ended in order.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { LEASE_MS, LEASE_NAME, LeaseLeader, type LeaseSpec, RENEW_DEADLINE_MS, RETRY_MS } from '../../../../controlplane/leader/lease.ts'
import type { MeshObject } from '../../../../model/object.ts'
import { objectFailure } from '../../../../objects/errors.ts'
import { FakeApi } from '../../../support/fake-api.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { keptLog } from '../../../support/xds-pair.ts'

const KEY = `leases weft-system/${LEASE_NAME}`
const LONGEST_PAUSE_MS = RETRY_MS * 1.1

class Stage {
  readonly api = new FakeApi()
  readonly clock = new FakeClock()
  readonly log = keptLog()
  /** `name:true` for each change that a replica was told. */
  readonly told: string[] = []

  replica(identity: string, reach: () => boolean = () => true): LeaseLeader {
    const { clock } = this
    const guard = <Args extends unknown[], T>(call: (...args: Args) => Promise<T>) => {
      return async (...args: Args): Promise<T> => {
        if (!reach()) throw objectFailure('API_UNREACHABLE')
        return call(...args)
      }
    }
    const { api } = this
    const own = { get: guard(api.get.bind(api)), create: guard(api.create.bind(api)), patch: guard(api.patch.bind(api)) }
    const leader = new LeaseLeader({ api: own, namespace: 'weft-system', identity, log: this.log.log, clock, random: () => 0.5 })
    leader.onChange((isLeader) => this.told.push(`${identity}:${isLeader}`))
    leader.start()
    return leader
  }

  get spec(): LeaseSpec {
    return (this.api.objects.get(KEY) as MeshObject<LeaseSpec>).spec ?? {}
  }
}

describe('controlplane/leader/lease', () => {
  it('makes the Lease, and renews it without reading it', async () => {
    const stage = new Stage()
    const a = stage.replica('a')
    await stage.clock.advance(10)
    assert.ok(a.isLeader)
    assert.equal(a.holder, 'a')
    const { renewTime = '', ...spec } = stage.spec
    assert.match(renewTime, /^\d{4}-.*\.\d{6}Z$/)
    assert.deepEqual(spec, { holderIdentity: 'a', leaseDurationSeconds: 10, acquireTime: renewTime, leaseTransitions: 0 })
    await stage.clock.advance(60_000)
    assert.ok(a.isLeader)
    assert.deepEqual(stage.told, ['a:true'])
    assert.equal(stage.api.calls.filter((call) => call.startsWith('get')).length, 1)
    assert.ok(stage.spec.renewTime !== renewTime && stage.spec.acquireTime === renewTime)
  })

  it('has one leader among replicas that start at once', async () => {
    const stage = new Stage()
    const all = ['a', 'b', 'c'].map((name) => stage.replica(name))
    for (let i = 0; i < 30; i++) {
      await stage.clock.advance(1000)
      assert.equal(all.filter(({ isLeader }) => isLeader).length, 1)
    }
    assert.deepEqual(stage.told, ['a:true'])
  })

  it('passes from a killed leader to another within the lease and a pause', async () => {
    const stage = new Stage()
    let isAlive = true
    const a = stage.replica('a', () => isAlive)
    await stage.clock.advance(10)
    const b = stage.replica('b')
    await stage.clock.advance(5 * RETRY_MS)
    isAlive = false
    await stage.clock.advance(LEASE_MS - RETRY_MS)
    assert.ok(!a.isLeader && !b.isLeader, 'the old one has stopped before the new one begins')
    await stage.clock.advance(RETRY_MS + 2 * LONGEST_PAUSE_MS)
    assert.ok(b.isLeader)
    assert.equal(stage.spec.leaseTransitions, 1)
    assert.deepEqual(stage.told, ['a:true', 'a:false', 'b:true'])
    isAlive = true
    await stage.clock.advance(20_000)
    assert.ok(b.isLeader && !a.isLeader, 'who comes back takes nothing away')
  })

  it('stops leading in time when the API hangs, and a late answer does not bring it back', async () => {
    const stage = new Stage()
    const a = stage.replica('a')
    await stage.clock.advance(10)
    const { promise, resolve } = Promise.withResolvers<void>()
    stage.api.before = () => promise
    await stage.clock.advance(RETRY_MS + RENEW_DEADLINE_MS - 1)
    assert.ok(!a.isLeader)
    assert.deepEqual(stage.told, ['a:true', 'a:false'])
    await stage.clock.advance(5000)
    stage.api.before = () => undefined
    resolve()
    await stage.clock.advance(0)
    assert.ok(!a.isLeader, 'what was renewed then says nothing of now')
    await stage.clock.advance(2 * LONGEST_PAUSE_MS)
    assert.ok(a.isLeader, 'nobody else wanted it')
  })

  it('gives the Lease back when it ends, and another takes it at its next look', async () => {
    const stage = new Stage()
    const a = stage.replica('a')
    await stage.clock.advance(10)
    const b = stage.replica('b')
    await stage.clock.advance(3000)
    const ending = a[Symbol.asyncDispose]()
    await stage.clock.advance(0)
    await ending
    assert.ok(!a.isLeader)
    assert.equal(stage.spec.holderIdentity, undefined)
    await stage.clock.advance(LONGEST_PAUSE_MS)
    assert.ok(b.isLeader)
    await b[Symbol.asyncDispose]()
  })

  it('takes nothing from the holder when one that does not lead ends', async () => {
    const stage = new Stage()
    const a = stage.replica('a')
    await stage.clock.advance(10)
    const b = stage.replica('b')
    await stage.clock.advance(3000)
    await b[Symbol.asyncDispose]()
    assert.equal(stage.spec.holderIdentity, 'a')
    assert.ok(a.isLeader)
  })

  it('gives way when somebody else is written in', async () => {
    const stage = new Stage()
    const a = stage.replica('a')
    await stage.clock.advance(10)
    const lease = stage.api.objects.get(KEY) as MeshObject
    stage.api.set('leases', 'weft-system', LEASE_NAME, { ...lease, spec: { holderIdentity: 'x', leaseDurationSeconds: 30 } })
    await stage.clock.advance(2 * LONGEST_PAUSE_MS)
    assert.ok(!a.isLeader)
    await stage.clock.advance(20_000)
    assert.ok(!a.isLeader, 'for as long as the object says')
    await stage.clock.advance(15_000)
    assert.ok(a.isLeader)
  })

  const BROKEN: readonly { readonly name: string; readonly spec: unknown }[] = [
    { name: 'without a spec', spec: undefined },
    { name: 'without a holder', spec: { leaseDurationSeconds: 10 } },
    { name: 'that claims a year', spec: { holderIdentity: 'x', leaseDurationSeconds: 31_536_000 } },
    { name: 'with a duration that is no number', spec: { holderIdentity: 'x', leaseDurationSeconds: 'long' } },
  ]
  for (const { name, spec } of BROKEN) {
    it(`takes a Lease ${name} after a minute at most`, async () => {
      const stage = new Stage()
      const metadata = { name: LEASE_NAME, namespace: 'weft-system' }
      stage.api.set('leases', 'weft-system', LEASE_NAME, { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata, spec })
      const a = stage.replica('a')
      await stage.clock.advance(60_000 + 2 * LONGEST_PAUSE_MS)
      assert.ok(a.isLeader)
    })
  }

  it('never has two leaders while replicas lose the API at random', async () => {
    const stage = new Stage()
    let seed = 7
    const random = (): number => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648
      return seed / 2_147_483_648
    }
    const reach = new Map<string, boolean>()
    const all = ['a', 'b', 'c'].map((name) => stage.replica(name, () => reach.get(name) ?? true))
    let led = 0
    for (let i = 0; i < 2000; i++) {
      for (const name of ['a', 'b', 'c']) if (random() < 0.05) reach.set(name, random() < 0.6)
      await stage.clock.advance(500)
      const leaders = all.filter(({ isLeader }) => isLeader).length
      assert.ok(leaders <= 1)
      led += leaders
    }
    assert.ok(led > 800, `somebody leads most of the time, not ${led} of 2000`)
    assert.ok(new Set(stage.told).size === 6, 'each of them led at some time')
  })
})
