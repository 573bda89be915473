// Who is usable, what updates keep, that leases are counted exactly, limits, sessions and exclusion.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { Choice, Lease } from '../../../../waypoint/balance/endpoint.ts'
import { ANY, endpoint, endpoints, policyOf, rig, spread, uidOf } from './balance-values.ts'

describe('waypoint/balance/cluster', () => {
  const USABLE = [
    { name: 'ready ones only', given: [endpoint('e1'), endpoint('e2', { isReady: false })], want: ['e1'] },
    { name: 'no terminating one beside a ready one', given: [endpoint('e1'), endpoint('e2', { isTerminating: true })], want: ['e1'] },
    {
      name: 'serving terminating ones when nobody is ready',
      given: [
        endpoint('e1', { isTerminating: true }),
        endpoint('e2', { isTerminating: true, isReady: false }),
        endpoint('e3', { isReady: false }),
      ],
      want: ['e1'],
    },
    { name: 'nobody without weight', given: [endpoint('e1'), endpoint('e2', { weight: 0 })], want: ['e1'] },
    { name: 'nobody of nobody', given: [], want: ['NO_ENDPOINT'] },
    { name: 'nobody when all are unready', given: [endpoint('e1', { isReady: false })], want: ['NO_ENDPOINT'] },
  ]
  for (const row of USABLE) {
    it(`uses ${row.name}`, () => {
      const { cluster } = rig(policyOf(), row.given)
      assert.deepEqual(Object.keys(spread(cluster, 50)), row.want)
    })
  }

  it('counts leases exactly, whatever the order of choices, ends and updates', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('choose' as const), at: fc.nat(1000) }),
      fc.record({ kind: fc.constant('done' as const), at: fc.nat(1000) }),
      fc.record({ kind: fc.constant('update' as const), at: fc.nat(8) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const { cluster } = rig(policyOf({ limits: { ...policyOf().limits, maxRequests: 5 } }), endpoints(3))
        const open: Lease[] = []
        const ended: Lease[] = []
        for (const { kind, at } of steps) {
          if (kind === 'update') cluster.update(endpoints(at))
          else if (kind === 'choose') {
            const choice = cluster.choose(ANY)
            if (choice.kind === 'endpoint') open.push(choice.lease)
            else assert.equal(choice.reason, cluster.stats.usable === 0 ? 'NO_ENDPOINT' : 'OVERFLOW')
          } else {
            ended[at % (ended.length + 1)]?.done({ status: 500 }) // a second end changes nothing
            const [lease] = open.splice(at % (open.length + 1), 1)
            lease?.done({ status: 200 })
            if (lease !== undefined) ended.push(lease)
          }
          assert.equal(cluster.stats.activeRequests, open.length)
          assert.ok(open.length <= 5)
        }
      }),
      { numRuns: 200 },
    )
  })

  it('keeps active counts of endpoints that stay, not of those whose address changed', () => {
    const { cluster } = rig(policyOf(), [endpoint('e1')])
    const held = Array.from({ length: 20 }, () => cluster.choose(ANY))
    cluster.update([endpoint('e1'), endpoint('e2')])
    assert.ok((spread(cluster, 400).e1 ?? 0) < 140, 'e1 still counts as loaded') // both drawn are e1 in a quarter of the cases
    cluster.update([{ ...endpoint('e1'), to: endpoint('e9').to }, endpoint('e2')])
    const counts = spread(cluster, 400)
    assert.ok((counts.e1 ?? 0) > 160, `a new pod starts at zero: ${JSON.stringify(counts)}`)
    for (const choice of held) if (choice.kind === 'endpoint') choice.lease.done({})
    assert.equal(cluster.stats.activeRequests, 0)
  })

  it('answers with the endpoint as last given', () => {
    const { cluster } = rig(policyOf(), [endpoint('e1')])
    const fresh = endpoint('e1')
    cluster.update([fresh])
    const choice = cluster.choose(ANY)
    assert.equal(choice.kind === 'endpoint' && choice.endpoint, fresh)
  })

  it('avoids what was tried, unless nobody else is there', () => {
    const { cluster } = rig(policyOf(), endpoints(3))
    assert.deepEqual(Object.keys(spread(cluster, 100, { ...ANY, exclude: new Set(['e0', 'e2']) })), ['e1'])
    assert.deepEqual(Object.keys(spread(cluster, 100, { ...ANY, exclude: new Set(['e0', 'e1', 'e2']) })).sort(), ['e0', 'e1', 'e2'])
  })

  it('finds the one that was not tried among hundreds', () => {
    const { cluster } = rig(policyOf(), endpoints(300))
    const exclude = new Set(endpoints(300).map(({ uid }) => uid))
    exclude.delete('e123')
    assert.deepEqual(spread(cluster, 20, { ...ANY, exclude }), { e123: 20 })
  })

  it('follows a session while its endpoint is usable and not tried', () => {
    const { cluster } = rig(policyOf(), endpoints(4))
    assert.deepEqual(spread(cluster, 50, { ...ANY, session: 'e2' }), { e2: 50 })
    assert.equal(spread(cluster, 50, { ...ANY, session: 'e2', exclude: new Set(['e2']) }).e2, undefined)
    cluster.update([endpoint('e0'), endpoint('e2', { isReady: false })])
    assert.deepEqual(spread(cluster, 50, { ...ANY, session: 'e2' }), { e0: 50 })
    assert.deepEqual(spread(cluster, 50, { ...ANY, session: 'never-heard-of' }), { e0: 50 })
  })

  it('refuses what is over a limit and counts it', () => {
    const limits = { ...policyOf().limits, maxRequests: 2, maxRetries: 1, maxPendingRequests: 1 }
    const { cluster } = rig(policyOf({ limits }), endpoints(3))
    assert.equal(cluster.limits, limits)
    const held: Choice[] = [cluster.choose(ANY), cluster.choose(ANY)]
    assert.equal(uidOf(cluster.choose(ANY)), 'OVERFLOW')
    assert.equal(uidOf(cluster.choose({ ...ANY, session: 'e1' })), 'OVERFLOW')
    if (held[0]?.kind === 'endpoint') held[0].lease.done({ status: 200 })
    assert.notEqual(uidOf(cluster.choose(ANY)), 'OVERFLOW')
    const retry = cluster.takeRetry()
    const wait = cluster.takePending()
    assert.ok(retry !== undefined && wait !== undefined)
    assert.equal(cluster.takeRetry(), undefined)
    assert.equal(cluster.takePending(), undefined)
    const { activeRequests, activeRetries, pendingRequests, refusedRequests, refusedRetries, refusedPending } = cluster.stats
    assert.deepEqual([activeRequests, activeRetries, pendingRequests], [2, 1, 1])
    assert.deepEqual([refusedRequests, refusedRetries, refusedPending], [2, 1, 1])
    retry[Symbol.dispose]()
    retry[Symbol.dispose]()
    assert.equal(cluster.stats.activeRetries, 0)
    assert.ok(cluster.takeRetry() !== undefined)
  })

  it('takes over a thousand endpoints within a few ms', () => {
    const list = endpoints(1000)
    const { cluster } = rig(policyOf(), list)
    const startMs = performance.now()
    for (let i = 0; i < 20; i++) {
      cluster.update(list.slice(0, 999 - i))
      cluster.choose(ANY)
    }
    const perUpdateMs = (performance.now() - startMs) / 20
    assert.ok(perUpdateMs < 10, `${perUpdateMs.toFixed(2)} ms`)
  })
})
