// Maglev: shares even to a slot, weights, and few keys moved when members come and go.
import assert from 'node:assert/strict'
import { mix } from '../../../../waypoint/balance/hash.ts'
import { Maglev, primeFrom } from '../../../../waypoint/balance/maglev.ts'
import { endpoint, endpoints, members, NOBODY } from './balance-values.ts'

const SIZE = 5003
const SLOTS = Array.from({ length: SIZE }, (_, index) => index) // a hash below the size is its own slot

function owners(picker: Maglev, keys: readonly number[] = SLOTS, exclude: ReadonlySet<string> = NOBODY): string[] {
  return keys.map((key) => picker.pick(key, exclude)!.uid)
}

function countOf(list: readonly string[], uid: string): number {
  return list.filter((one) => one === uid).length
}

describe('waypoint/balance/maglev', () => {
  it('gives every member as many slots as any other, give or take one', () => {
    for (const count of [1, 2, 3, 10, 99]) {
      const found = owners(new Maglev(members(endpoints(count)), SIZE))
      for (const { uid } of endpoints(count)) assert.ok(Math.abs(countOf(found, uid) - SIZE / count) <= 1, `${uid} of ${count}`)
    }
  })

  it('follows weights', () => {
    const found = owners(new Maglev(members([endpoint('e1'), endpoint('e2', { weight: 2 }), endpoint('e3', { weight: 7 })]), SIZE))
    for (const [uid, weight] of [
      ['e1', 1],
      ['e2', 2],
      ['e3', 7],
    ] as const)
      assert.ok(Math.abs(countOf(found, uid) - (SIZE * weight) / 10) <= 10, `${uid}: ${countOf(found, uid)}`)
  })

  it('moves few more keys than those of the member that comes or goes', () => {
    for (const count of [3, 10, 50]) {
      const more = owners(new Maglev(members(endpoints(count + 1)), 65_537))
      const less = owners(new Maglev(members(endpoints(count)), 65_537))
      const moved = more.filter((uid, index) => uid !== `e${count}` && uid !== less[index]).length
      assert.ok(moved < SIZE * 0.05, `${moved} of ${SIZE} keys moved between the ${count} that stayed`)
    }
  })

  it('is the same whatever the order of the endpoints', () => {
    assert.deepEqual(owners(new Maglev(members(endpoints(9)), SIZE)), owners(new Maglev(members(endpoints(9).reverse()), SIZE)))
  })

  it('moves only the keys of a closed or excluded member, evenly', () => {
    const list = members(endpoints(5))
    const picker = new Maglev(list, SIZE)
    const keys = Array.from({ length: 20_000 }, (_, index) => mix(index))
    const before = owners(picker, keys)
    const excluded = owners(picker, keys, new Set(['e2']))
    list[2]!.isOpen = false
    picker.refresh()
    const after = owners(picker, keys)
    assert.deepEqual(after, excluded)
    for (const [index, uid] of before.entries()) assert.ok(uid === 'e2' ? after[index] !== 'e2' : after[index] === uid)
    for (const uid of ['e0', 'e1', 'e3', 'e4']) assert.ok(Math.abs(countOf(after, uid) - 5000) < 400)
    assert.equal(picker.pick(7, new Set(['e0', 'e1', 'e3', 'e4'])), undefined)
  })

  it('takes any table size', () => {
    for (const size of [0, 1, 2, 4, 65_537, 2 ** 32]) {
      const found = new Set(owners(new Maglev(members(endpoints(10)), size), SLOTS))
      assert.equal(found.size, 10, `${size}`)
    }
    assert.equal(new Maglev([], SIZE).pick(1, NOBODY), undefined)
  })

  for (const { given, want } of [
    { given: 0, want: 3 },
    { given: 4, want: 5 },
    { given: 65_536, want: 65_537 },
    { given: 1_000_000, want: 1_000_003 },
  ]) {
    it(`raises ${given} to the prime ${want}`, () => assert.equal(primeFrom(given), want))
  }

  it('builds the default table for a thousand members in tens of ms', () => {
    const picker = new Maglev(members(endpoints(1000)), 65_537)
    const startMs = performance.now()
    picker.pick(1, NOBODY)
    assert.ok(performance.now() - startMs < 200)
  })
})
