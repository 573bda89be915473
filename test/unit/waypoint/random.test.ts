// Random numbers of a waypoint: within their range, evenly spread, across several fillings.
import assert from 'node:assert/strict'
import { random, requestId } from '../../../waypoint/random.ts'

describe('random', () => {
  it('is spread evenly over 0 ≤ x < 1', () => {
    const tenths = new Array<number>(10).fill(0)
    for (let i = 0; i < 20_000; i++) {
      const drawn = random()
      assert.ok(drawn >= 0 && drawn < 1)
      tenths[Math.floor(drawn * 10)]!++
    }
    for (const count of tenths) assert.ok(Math.abs(count - 2000) < 300, `${count} of 20,000`)
  })

  it('makes request IDs that are UUIDs of version 4, each another, with every free bit drawn', () => {
    const ids = Array.from({ length: 3000 }, requestId)
    assert.equal(new Set(ids).size, ids.length)
    let ones = 0n
    let zeros = 0n
    for (const text of ids) {
      assert.match(text, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      const bits = BigInt(`0x${text.replaceAll('-', '')}`)
      ones |= bits
      zeros |= ~bits & ((1n << 128n) - 1n)
    }
    const constant = ~(ones & zeros) & ((1n << 128n) - 1n)
    assert.equal(constant.toString(16), 'f000c000000000000000') // version and variant
  })
})
