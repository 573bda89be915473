// The warm-up: its curve, who has to warm up, and what requests see of it.
import assert from 'node:assert/strict'
import type { BalancerPolicy } from '../../../../model/backend.ts'
import { warmShare } from '../../../../waypoint/balance/slow-start.ts'
import { endpoint, endpoints, policyOf, rig, spread } from './balance-values.ts'

const CURVE = [
  { at: 0, want: 0.1 },
  { at: 50, want: 0.1 },
  { at: 100, want: 0.1 },
  { at: 250, want: 0.25 },
  { at: 999, want: 0.999 },
  { at: 1000, want: 1 },
  { at: Number.POSITIVE_INFINITY, want: 1 },
]
const POLICIES: readonly BalancerPolicy[] = [{ kind: 'leastRequest' }, { kind: 'roundRobin' }, { kind: 'random' }]
const WARMUP_MS = 10_000

describe('waypoint/balance/slow-start', () => {
  for (const { at, want } of CURVE) it(`gives ${want} after ${at} ms of 1000`, () => assert.equal(warmShare(at, 1000), want))

  for (const balancer of POLICIES) {
    it(`${balancer.kind} raises a newcomer's share in a line`, async () => {
      const { cluster, clock } = rig(policyOf({ balancer, warmupMs: WARMUP_MS }), [endpoint('e1')])
      await clock.advance(1000)
      cluster.update(endpoints(2))
      for (const [afterMs, share] of [
        [0, 0.1],
        [2500, 0.25],
        [5000, 0.5],
        [10_000, 1],
      ] as const) {
        await clock.advance(1000 + afterMs - (clock.nowMs() - 1_000_000))
        const want = (6000 * share) / (1 + share)
        const got = spread(cluster, 6000).e1 ?? 0
        assert.ok(Math.abs(6000 - want - got) < 200, `after ${afterMs} ms: ${6000 - got}, not ${want}`)
      }
    })
  }

  it('does not warm up who is alone, nor who stays', async () => {
    const { cluster, clock } = rig(policyOf({ warmupMs: WARMUP_MS }), endpoints(2))
    await clock.advance(100)
    cluster.update([endpoint('e0', { weight: 2 }), endpoint('e1', { weight: 2 })])
    assert.ok(Math.abs((spread(cluster, 4000).e0 ?? 0) - 2000) < 150)
  })

  it('begins when an endpoint becomes ready, not when it is heard of', async () => {
    const list = [endpoint('e0'), endpoint('e1', { isReady: false })]
    const { cluster, clock } = rig(policyOf({ warmupMs: WARMUP_MS }), list)
    await clock.advance(WARMUP_MS * 2)
    cluster.update(endpoints(2))
    const share = (): number => (spread(cluster, 4400).e1 ?? 0) / 4400
    assert.ok(Math.abs(share() - 1 / 11) < 0.03)
    await clock.advance(WARMUP_MS)
    assert.ok(Math.abs(share() - 0.5) < 0.04)
  })
})
