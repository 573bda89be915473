// Times of log lines are those of Date, however they come.
import assert from 'node:assert/strict'
import { LineTime } from '../../../kit/log.ts'
import { SeededRandom } from '../../support/random.ts'

describe('kit/log', () => {
  it('writes times as Date does: in order, back and forth, at the borders of seconds', () => {
    const random = new SeededRandom(7)
    const time = new LineTime()
    const near = Date.UTC(2026, 11, 31, 23, 59, 58)
    const times = [0, 999, 1000, near, near + 1, near + 999, near + 1000, near + 2000, near - 1]
    for (let i = 0; i < 2000; i++) times.push(near + Math.floor(random.next() * 4000), Math.floor(random.next() * 4e12))
    for (const ms of times) assert.equal(time.text(ms), new Date(ms).toISOString())
  })
})
