// Least request: weights at rest, the less loaded of two under load.
import assert from 'node:assert/strict'
import { LeastRequest } from '../../../../waypoint/balance/least-request.ts'
import type { Member } from '../../../../waypoint/balance/member.ts'
import { SlowStart } from '../../../../waypoint/balance/slow-start.ts'
import { endpoint, endpoints, members, NOBODY, seeded } from './balance-values.ts'

const AT_ONCE = new SlowStart(undefined)

function draw(picker: LeastRequest, count: number, each: (member: Member) => void = () => undefined): Record<string, number> {
  const counts: Record<string, number> = {}
  for (let i = 0; i < count; i++) {
    const member = picker.pick(0, NOBODY, 0)!
    counts[member.uid] = (counts[member.uid] ?? 0) + 1
    each(member)
  }
  return counts
}

describe('waypoint/balance/least-request', () => {
  it('spreads by weight at rest', () => {
    const list = members([endpoint('e1'), endpoint('e2', { weight: 2 }), endpoint('e3', { weight: 5 })])
    const counts = draw(new LeastRequest(list, AT_ONCE, seeded(3)), 8000)
    for (const [uid, want] of [
      ['e1', 1000],
      ['e2', 2000],
      ['e3', 5000],
    ] as const)
      assert.ok(Math.abs((counts[uid] ?? 0) - want) < want * 0.1, JSON.stringify(counts))
  })

  it('keeps load near to even when nothing ends, by weight', () => {
    const list = members(endpoints(10).map((one, index) => ({ ...one, weight: index < 5 ? 1 : 3 })))
    draw(new LeastRequest(list, AT_ONCE, seeded(4)), 2000, (member) => {
      member.active += 1
    })
    for (const {
      active,
      endpoint: { weight },
    } of list)
      assert.ok(Math.abs(active - 100 * weight) <= 8 * weight, `${active} of ${100 * weight}`)
  })

  it('gives the busiest of n the least: only when both draws are it', () => {
    const list = members(endpoints(4))
    list[2]!.active = 100
    const counts = draw(new LeastRequest(list, AT_ONCE, seeded(5)), 16_000)
    assert.ok(Math.abs((counts.e2 ?? 0) - 1000) < 150, JSON.stringify(counts))
  })

  it('leaves out members that are not open, after refresh', () => {
    const list = members(endpoints(3))
    const picker = new LeastRequest(list, AT_ONCE, seeded(6))
    draw(picker, 1)
    list[0]!.isOpen = false
    picker.refresh()
    assert.deepEqual(Object.keys(draw(picker, 100)).sort(), ['e1', 'e2'])
    for (const member of list) member.isOpen = false
    picker.refresh()
    assert.equal(picker.pick(0, NOBODY, 0), undefined)
  })
})
