// The store's lookups under changes in any order.
import assert from 'node:assert/strict'
import { parseCidr } from '../../../model/address.ts'
import type { Authorization } from '../../../model/policy.ts'
import { MeshState } from '../../../state/store.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { ip, serviceOf, workloadOf } from '../../support/mesh-values.ts'

const WEB = 'shop/web.shop.svc.cluster.local'
const backs = (key: string) => new Map([[key, [{ servicePort: 80, targetPort: 8080 }]]])
const policy = (name: string, scope: Authorization['scope'], namespace = 'shop'): Authorization => ({
  name,
  namespace,
  scope,
  action: 'DENY',
  rules: [],
  isDryRun: false,
})
const put = <T>(...upserts: T[]) => ({ upserts, removes: [] })
const drop = (...removes: string[]) => ({ upserts: [], removes })

describe('state/store', () => {
  it('finds a workload by each of its addresses, and forgets them with it', () => {
    const state = new MeshState(new FakeClock())
    const a = workloadOf('a', ['10.244.1.2', 'fd00::2'])
    state.apply({ workloads: put(a) })
    assert.deepEqual(state.workloadByAddress('', ip('fd00::2')), a)
    assert.equal(state.workloadByAddress('other', ip('10.244.1.2')), undefined)
    state.apply({ workloads: drop(a.uid) })
    assert.equal(state.workloadByAddress('', ip('10.244.1.2')), undefined)
  })

  it('does not find a workload by an address that it no longer has', () => {
    const state = new MeshState(new FakeClock())
    state.apply({ workloads: put(workloadOf('a', ['10.244.1.2'])) })
    state.apply({ workloads: put(workloadOf('a', ['10.244.1.3'])) })
    assert.equal(state.workloadByAddress('', ip('10.244.1.2')), undefined)
  })

  it('tolerates one address at two workloads: the healthy one, then the newer one counts', () => {
    const state = new MeshState(new FakeClock())
    const old = workloadOf('old', ['10.244.1.2'], { health: 'UNHEALTHY' })
    const fresh = workloadOf('fresh', ['10.244.1.2'])
    state.apply({ workloads: put(fresh) })
    state.apply({ workloads: put(old) })
    assert.deepEqual(state.workloadByAddress('', ip('10.244.1.2')), fresh)
    state.apply({ workloads: drop(fresh.uid) })
    assert.deepEqual(state.workloadByAddress('', ip('10.244.1.2')), old)
  })

  it('does not index host-network workloads by address', () => {
    const state = new MeshState(new FakeClock())
    state.apply({ workloads: put(workloadOf('agent', ['172.30.0.11'], { isHostNetwork: true })) })
    assert.equal(state.workloadByAddress('', ip('172.30.0.11')), undefined)
  })

  it('takes endpoints before their service', () => {
    const state = new MeshState(new FakeClock())
    const a = workloadOf('a', ['10.244.1.2'], { services: backs(WEB) })
    state.apply({ workloads: put(a) })
    state.apply({ services: put(serviceOf('web', ['10.96.0.5'])) })
    assert.deepEqual(state.endpointsOf(WEB), [a])
    state.apply({ workloads: put(workloadOf('a', ['10.244.1.2'])) })
    assert.deepEqual(state.endpointsOf(WEB), [])
  })

  it('prefers the own namespace, then the canonical service, for a shared virtual address', () => {
    const state = new MeshState(new FakeClock())
    const mine = serviceOf('web', ['10.96.0.5'], { namespace: 'mine', isCanonical: false })
    const canonical = serviceOf('web', ['10.96.0.5'], { namespace: 'theirs' })
    state.apply({ services: put(mine, canonical) })
    assert.equal(state.serviceByVip('', ip('10.96.0.5'), 'mine'), mine)
    assert.equal(state.serviceByVip('', ip('10.96.0.5'), 'third'), canonical)
  })

  it('finds blocks by their longest prefix; an exact address wins, the own namespace wins over both', () => {
    const state = new MeshState(new FakeClock())
    const wide = serviceOf('wide', ['192.168.0.0/16'])
    const narrow = serviceOf('narrow', ['192.168.7.0/24'])
    const exact = serviceOf('exact', ['192.168.7.9'])
    const own = serviceOf('own', ['192.168.0.0/16'], { namespace: 'mine' })
    state.apply({ services: put(wide, narrow, exact) })
    assert.equal(state.serviceByVip('', ip('192.168.7.1'), 'x'), narrow)
    assert.equal(state.serviceByVip('', ip('192.168.7.9'), 'x'), exact)
    assert.equal(state.serviceByVip('', ip('192.168.1.1'), 'x'), wide)
    state.apply({ services: put(own) })
    assert.equal(state.serviceByVip('', ip('192.168.7.9'), 'mine'), own)
    state.apply({ services: drop('shop/exact.shop.svc.cluster.local') })
    assert.equal(state.serviceByVip('', ip('192.168.7.9'), 'x'), narrow)
  })

  it('shows a private service to its own namespace only', () => {
    const state = new MeshState(new FakeClock())
    const hidden = serviceOf('db', ['192.0.2.1'], { namespace: 'mine', isPrivate: true })
    state.apply({ services: put(hidden) })
    assert.equal(state.serviceByVip('', ip('192.0.2.1'), 'mine'), hidden)
    assert.equal(state.serviceByVip('', ip('192.0.2.1'), 'shop'), undefined)
    const open = serviceOf('db', ['192.0.2.0/24'], { isCanonical: false })
    state.apply({ services: put(open) })
    assert.equal(state.serviceByVip('', ip('192.0.2.1'), 'shop'), open)
  })

  it('a block takes no workload’s own address', () => {
    const state = new MeshState(new FakeClock())
    const block = serviceOf('block', ['10.244.0.0/16'])
    state.apply({ services: put(block), workloads: put(workloadOf('a', ['10.244.1.2'])) })
    assert.equal(state.serviceByVip('', ip('10.244.1.2'), 'shop'), undefined)
    assert.equal(state.serviceByVip('', ip('10.244.1.3'), 'shop'), block)
  })

  it('gathers global, namespace and named policies; a changed scope moves, an unknown name is skipped', () => {
    const state = new MeshState(new FakeClock())
    const names = (w = workloadOf('a', ['10.244.1.2'], { authorizationPolicies: ['shop/sel', 'shop/none'] })) =>
      state.policiesFor(w).map((each) => each.name)
    state.apply({
      policies: put(
        policy('all', 'GLOBAL', 'weft-system'),
        policy('ns', 'NAMESPACE'),
        policy('sel', 'WORKLOAD_SELECTOR'),
        policy('far', 'NAMESPACE', 'bank'),
      ),
    })
    assert.deepEqual(names(), ['all', 'ns', 'sel'])
    state.apply({ policies: put(policy('ns', 'WORKLOAD_SELECTOR')) })
    assert.deepEqual(names(), ['all', 'sel'])
    state.apply({ policies: drop('weft-system/all') })
    assert.deepEqual(names(), ['sel'])
  })

  it('wakes who waits for an address, and lets go after the time', async () => {
    const clock = new FakeClock()
    const state = new MeshState(clock)
    const found = state.waitForWorkload('', ip('10.244.1.2'), 5000)
    const missed = state.waitForWorkload('', ip('10.244.1.9'), 5000)
    const a = workloadOf('a', ['10.244.1.2'])
    state.apply({ workloads: put(a) })
    assert.deepEqual(await found, a)
    await clock.advance(5000)
    assert.equal(await missed, undefined)
    assert.equal(clock.pending, 0)
  })

  it('knows the blocks of the mesh', () => {
    const state = new MeshState(new FakeClock())
    const block = parseCidr('10.244.0.0/16')
    assert.ok(block)
    state.apply({ networks: [block] })
    assert.equal(state.isInMesh(ip('10.244.9.9')), true)
    assert.equal(state.isInMesh(ip('10.245.0.1')), false)
    assert.equal(state.isInMesh(ip('fd00::1')), false)
  })

  it('tells of policy changes and of changed names of policies, not of every pod that comes and goes', () => {
    const state = new MeshState(new FakeClock())
    let told = 0
    const listening = state.onPolicyChange(() => told++)
    const named = (...authorizationPolicies: string[]) => ({ workloads: put(workloadOf('a', ['10.244.1.2'], { authorizationPolicies })) })
    const steps: [string, Parameters<MeshState['apply']>[0], number][] = [
      ['a new pod', named(), 0],
      ['the same pod, another node', { workloads: put(workloadOf('a', ['10.244.1.2'], { node: 'node-2' })) }, 0],
      ['a policy', { policies: put(policy('sel', 'WORKLOAD_SELECTOR')) }, 1],
      ['the pod names it', named('shop/sel'), 1],
      ['the pod names it still', named('shop/sel'), 0],
      ['another order is another list', named('shop/x', 'shop/sel'), 1],
      ['no more', named(), 1],
      ['a service', { services: put(serviceOf('web', ['10.96.0.5'])) }, 0],
      ['the policy goes', { policies: drop('shop/sel') }, 1],
      ['the pod goes', { workloads: drop(workloadOf('a', []).uid) }, 0],
    ]
    for (const [name, change, wanted] of steps) {
      told = 0
      state.apply(change)
      assert.equal(told, wanted, name)
    }
    listening[Symbol.dispose]()
    state.apply({ policies: put(policy('ns', 'NAMESPACE')) })
    assert.equal(told, 0)
  })
})
