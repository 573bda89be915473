// Shares of levels and groups: Envoy's published examples, panic, and what holds for any health.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { sharesOf } from '../../../../waypoint/balance/shares.ts'
import type { GroupHealth } from '../../../../waypoint/balance/shares.ts'

/** `healthy/total` of each level. */
function levels(...texts: readonly string[]): GroupHealth[] {
  return texts.map((text, level) => {
    const [healthy = 0, total = 0] = text.split('/').map(Number)
    return { level, weight: 1, total, healthy }
  })
}

const LEVELS = [
  { name: 'all at the nearest', given: levels('100/100', '100/100'), want: [100, 0] },
  { name: 'all at the nearest with 72 % healthy', given: levels('72/100', '72/100'), want: [100, 0] },
  { name: 'the rest to the next with 71 % healthy', given: levels('71/100', '71/100'), want: [99, 1] },
  { name: 'half', given: levels('50/100', '50/100'), want: [70, 30] },
  { name: 'a quarter left', given: levels('25/100', '100/100'), want: [35, 65] },
  { name: 'scaled up when all together are too weak', given: levels('25/100', '25/100'), want: [50, 50] },
  { name: 'all to the next', given: levels('0/100', '72/100', '72/100'), want: [0, 100, 0] },
  { name: 'over three levels', given: levels('25/100', '25/100', '100/100'), want: [35, 35, 30] },
  { name: 'nothing when nobody is healthy', given: levels('0/10', '0/10'), want: [0, 0] },
]

const PANIC = [
  { name: 'is off at 0', given: levels('0/10'), at: 0, want: [[0, false]] },
  { name: 'starts below the threshold', given: levels('4/10'), at: 50, want: [[100, true]] },
  { name: 'is off at the threshold', given: levels('5/10'), at: 50, want: [[100, false]] },
  { name: 'holds for a single level as it is written', given: levels('9/10'), at: 95, want: [[100, true]] },
  {
    name: 'shares by number when every level panics',
    given: levels('0/10', '1/30'),
    at: 50,
    want: [
      [25, true],
      [75, true],
    ],
  },
  {
    name: 'is off while the levels carry everything',
    given: levels('1/10', '10/10'),
    at: 50,
    want: [
      [14, false],
      [86, false],
    ],
  },
  {
    name: 'is for weak levels only',
    given: levels('2/10', '5/10'),
    at: 50,
    want: [
      [29, true],
      [71, false],
    ],
  },
]

describe('waypoint/balance/shares', () => {
  for (const { name, given, want } of LEVELS) {
    it(`gives ${name}`, () =>
      assert.deepEqual(
        sharesOf(given, 0).map(({ share }) => Math.round(share * 100)),
        want,
      ))
  }

  for (const { name, given, at, want } of PANIC) {
    it(`panic ${name}`, () =>
      assert.deepEqual(
        sharesOf(given, at).map(({ share, isPanicking }) => [Math.round(share * 100), isPanicking]),
        want,
      ))
  }

  it('weighs the groups of a level by weight and health', () => {
    const shares = (healthy: number): number[] =>
      sharesOf(
        [
          { level: 0, weight: 1, total: 100, healthy },
          { level: 0, weight: 2, total: 100, healthy: 100 },
        ],
        0,
      ).map(({ share }) => Math.round(share * 100))
    assert.deepEqual([100, 72, 50, 25, 0].map(shares), [
      [33, 67],
      [33, 67],
      [26, 74],
      [15, 85],
      [0, 100],
    ])
  })

  it('adds up to 1 while anybody is healthy, and leaves nothing to groups without', () => {
    const group = fc.record({
      level: fc.nat(3),
      weight: fc.integer({ min: 1, max: 100 }),
      total: fc.integer({ min: 1, max: 50 }),
      ill: fc.nat(50),
    })
    fc.assert(
      fc.property(fc.array(group, { minLength: 1, maxLength: 8 }), (given) => {
        const order = [...new Set(given.map(({ level }) => level))].sort()
        const groups = given.map(({ level, weight, total, ill }) => ({
          level: order.indexOf(level),
          weight,
          total,
          healthy: Math.max(0, total - ill),
        }))
        const shares = sharesOf(groups, 0)
        const sum = shares.reduce((all, { share }) => all + share, 0)
        assert.ok(Math.abs(sum - (groups.some(({ healthy }) => healthy > 0) ? 1 : 0)) < 1e-9, `${sum}`)
        for (const [index, { share }] of shares.entries()) assert.ok(share >= 0 && (groups[index]!.healthy > 0 || share === 0))
      }),
      { numRuns: 500 },
    )
  })
})
