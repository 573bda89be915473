// Ring hash: even shares, weights, and only the keys of who comes or goes are moved.
import assert from 'node:assert/strict'
import { mix } from '../../../../waypoint/balance/hash.ts'
import type { Member } from '../../../../waypoint/balance/member.ts'
import { RingHash } from '../../../../waypoint/balance/ring-hash.ts'
import { endpoint, endpoints, members, NOBODY } from './balance-values.ts'

const KEYS = Array.from({ length: 20_000 }, (_, index) => mix(index + 1))

function owners(picker: RingHash, exclude: ReadonlySet<string> = NOBODY): string[] {
  return KEYS.map((key) => picker.pick(key, exclude)!.uid)
}

function ringOf(list: readonly Member[], size = 1024): RingHash {
  return new RingHash(list, size)
}

function countOf(list: readonly string[], uid: string): number {
  return list.filter((one) => one === uid).length
}

describe('waypoint/balance/ring-hash', () => {
  for (const { count, size, slack } of [
    { count: 2, size: 1024, slack: 0.15 },
    { count: 10, size: 1024, slack: 0.2 },
    { count: 10, size: 1, slack: 0.5 },
    { count: 100, size: 1024, slack: 0.4 },
  ]) {
    it(`spreads keys over ${count} members of a ring of ${size} within ${slack * 100} %`, () => {
      const found = owners(ringOf(members(endpoints(count)), size))
      for (const { uid } of endpoints(count)) {
        const share = (countOf(found, uid) * count) / KEYS.length
        assert.ok(Math.abs(share - 1) < slack, `${uid}: ${share.toFixed(2)}`)
      }
    })
  }

  it('follows weights', () => {
    const found = owners(ringOf(members([endpoint('e1', { weight: 1 }), endpoint('e2', { weight: 3 })])))
    assert.ok(Math.abs(countOf(found, 'e2') / KEYS.length - 0.75) < 0.05)
  })

  it('moves only the keys of a member that goes, and only to a member that comes', () => {
    for (const count of [2, 7, 8, 40]) {
      const before = owners(ringOf(members(endpoints(count))))
      const after = owners(ringOf(members(endpoints(count + 1))))
      for (const [index, uid] of after.entries())
        assert.ok(uid === before[index] || uid === `e${count}`, `${count}: ${before[index]} -> ${uid}`)
    }
  })

  it('is the same whatever the order of the endpoints', () => {
    assert.deepEqual(owners(ringOf(members(endpoints(9)))), owners(ringOf(members(endpoints(9).reverse()))))
  })

  it('gives the keys of a closed or excluded member to the next ones on the ring, as if it were gone', () => {
    const list = members(endpoints(5))
    const picker = ringOf(list)
    const without = owners(ringOf(members(endpoints(4))))
    assert.deepEqual(owners(picker, new Set(['e4'])), without)
    list[4]!.isOpen = false
    picker.refresh()
    assert.deepEqual(owners(picker), without)
    assert.equal(picker.pick(7, new Set(['e0', 'e1', 'e2', 'e3'])), undefined)
  })

  for (const { name, count, weight, size } of [
    { name: 'weights', count: 3, weight: 0xffffffff, size: 1024 },
    { name: 'sizes', count: 3, weight: 1, size: 0xffffffff },
    { name: 'sets', count: 3000, weight: 100, size: 1024 },
  ]) {
    it(`stays bounded for large ${name}`, () => {
      const picker = ringOf(members(endpoints(count).map((one) => ({ ...one, weight }))), size)
      const startMs = performance.now()
      assert.ok(picker.pick(1, NOBODY) !== undefined)
      assert.ok(performance.now() - startMs < 500)
    })
  }
})
