// Random numbers of a waypoint: within their range, evenly spread, across several fillings.
import assert from 'node:assert/strict'
import { random } from '../../../waypoint/random.ts'

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
})
