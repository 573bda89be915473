// Round robin: exact shares in every round, evenly spaced, across updates and exclusion.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { RoundRobin } from '../../../../waypoint/balance/round-robin.ts'
import { SlowStart } from '../../../../waypoint/balance/slow-start.ts'
import { endpoint, endpoints, members, NOBODY, policyOf, rig, seeded, spread } from './balance-values.ts'

const AT_ONCE = new SlowStart(undefined)

describe('waypoint/balance/round-robin', () => {
  it('serves everybody by weight in every window as long as a round, give or take one', () => {
    const weights = fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 9 })
    fc.assert(
      fc.property(weights, fc.nat(1000), (list, seed) => {
        const picker = new RoundRobin(members(list.map((weight, index) => endpoint(`e${index}`, { weight }))), AT_ONCE, seeded(seed))
        const round = list.reduce((sum, weight) => sum + weight, 0)
        const served = Array.from({ length: round * 3 }, () => picker.pick(0, NOBODY, 0)!.uid)
        for (let start = 0; start <= round * 2; start++) {
          const window = served.slice(start, start + round)
          for (const [index, weight] of list.entries()) {
            const count = window.filter((uid) => uid === `e${index}`).length
            assert.ok(Math.abs(count - weight) <= 1, `e${index} of ${list}: ${count} at ${start}`)
          }
        }
      }),
      { numRuns: 200 },
    )
  })

  it('does not serve a heavy member in a burst', () => {
    const picker = new RoundRobin(members([endpoint('e1', { weight: 2 }), endpoint('e2'), endpoint('e3')]), AT_ONCE, () => 0.5)
    const served = Array.from({ length: 40 }, () => picker.pick(0, NOBODY, 0)!.uid).join(' ')
    assert.doesNotMatch(served, /e1 e1 e1/)
  })

  it('goes on where it was when the endpoints change', () => {
    const { cluster } = rig(policyOf({ balancer: { kind: 'roundRobin' } }), endpoints(6))
    const counts: Record<string, number> = {}
    const count = (requests: number): void => {
      for (const [uid, served] of Object.entries(spread(cluster, requests))) counts[uid] = (counts[uid] ?? 0) + served
    }
    for (let i = 0; i < 50; i++) {
      count(3)
      cluster.update([...endpoints(6), endpoint('e9', { isReady: i % 2 === 0, weight: 0 }), endpoint(`e${100 + i}`, { isReady: false })])
    }
    for (const one of endpoints(6)) assert.ok(Math.abs((counts[one.uid] ?? 0) - 25) <= 1, JSON.stringify(counts))
  })

  it('lets a newcomer in at once, without making up for the past', () => {
    const { cluster } = rig(policyOf({ balancer: { kind: 'roundRobin' } }), endpoints(3))
    spread(cluster, 3000)
    cluster.update(endpoints(4))
    assert.ok(Math.abs((spread(cluster, 40).e3 ?? 0) - 10) <= 1)
  })

  it('takes the earliest besides the excluded, who keep their turn', () => {
    const picker = new RoundRobin(members(endpoints(3)), AT_ONCE, seeded(9))
    const first = picker.pick(0, NOBODY, 0)!.uid
    const due = picker.pick(0, new Set([first]), 0)!.uid
    assert.notEqual(due, first)
    const left = ['e0', 'e1', 'e2'].find((uid) => uid !== first && uid !== due)!
    assert.equal(picker.pick(0, new Set([left]), 0)?.uid, first)
    assert.equal(picker.pick(0, NOBODY, 0)?.uid, left)
    assert.equal(picker.pick(0, new Set(['e0', 'e1', 'e2']), 0), undefined)
  })
})
