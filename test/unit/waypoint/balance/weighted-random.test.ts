// Random: shares follow weights and nothing else.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { SlowStart } from '../../../../waypoint/balance/slow-start.ts'
import { WeightedRandom } from '../../../../waypoint/balance/weighted-random.ts'
import { endpoint, members, NOBODY, seeded } from './balance-values.ts'

const AT_ONCE = new SlowStart(undefined)

describe('waypoint/balance/weighted-random', () => {
  it('gives every member exactly its part of the unit interval', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 12 }), (weights) => {
        const list = members(weights.map((weight, index) => endpoint(`e${index}`, { weight })))
        const total = weights.reduce((sum, weight) => sum + weight, 0)
        const counts = new Map<string, number>()
        let at = 0
        const picker = new WeightedRandom(list, AT_ONCE, () => (at++ + 0.5) / total)
        for (let i = 0; i < total; i++) {
          const { uid } = picker.pick(0, NOBODY, 0)!
          counts.set(uid, (counts.get(uid) ?? 0) + 1)
        }
        assert.deepEqual(
          list.map(({ uid }) => counts.get(uid)),
          weights,
        )
      }),
      { numRuns: 200 },
    )
  })

  it('does not look at load', () => {
    const list = members([endpoint('e1'), endpoint('e2')])
    list[0]!.active = 1000
    const picker = new WeightedRandom(list, AT_ONCE, seeded(1))
    let first = 0
    for (let i = 0; i < 4000; i++) if (picker.pick(0, NOBODY, 0) === list[0]) first += 1
    assert.ok(Math.abs(first - 2000) < 150, `${first}`)
  })

  it('never draws an excluded member while there is another', () => {
    const list = members([endpoint('e1', { weight: 1_000_000 }), endpoint('e2')])
    const picker = new WeightedRandom(list, AT_ONCE, seeded(2))
    for (let i = 0; i < 100; i++) assert.equal(picker.pick(0, new Set(['e1']), 0)?.uid, 'e2')
    assert.equal(picker.pick(0, new Set(['e1', 'e2']), 0), undefined)
  })
})
