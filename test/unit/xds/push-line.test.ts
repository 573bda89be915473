// The line before large responses: how many at once, who comes next, and that a client that does not read holds up nobody.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { PushLine } from '../../../xds/push-line.ts'
import { FakeClock } from '../../support/fake-clock.ts'

describe('xds/push-line', () => {
  /** Senders that enter when they are resumed, and wait again when there is no room. */
  function sendersOf(line: PushLine, entered: string[]): (name: string) => () => void {
    return (name) => {
      const resume = (): void => {
        if (!line.hasRoom) {
          line.wait(resume)
          return
        }
        entered.push(name)
        line.enter()
      }
      return resume
    }
  }

  it('lets in as many as there is room for, the others in the order in which they came', () => {
    const line = new PushLine(new FakeClock(), 2)
    const entered: string[] = []
    const [leaveFirst, leaveSecond] = [line.enter(), line.enter()]
    assert.equal(line.hasRoom, false)
    const sender = sendersOf(line, entered)
    for (const name of ['c', 'd', 'e']) line.wait(sender(name))
    const gone = sender('gone')
    line.wait(gone)
    line.forget(gone)
    leaveFirst()
    assert.deepEqual(entered, ['c'])
    leaveFirst() // twice is once
    assert.deepEqual(entered, ['c'])
    leaveSecond()
    assert.deepEqual(entered, ['c', 'd'])
  })

  it('stops counting the oldest when none gets finished while others wait', async () => {
    const clock = new FakeClock()
    const line = new PushLine(clock, 1)
    const entered: string[] = []
    const leaveStalled = line.enter()
    line.wait(sendersOf(line, entered)('next'))
    await clock.advance(499)
    assert.deepEqual(entered, [])
    await clock.advance(1)
    assert.deepEqual(entered, ['next'])
    leaveStalled() // late: it does not free the other's place
    assert.equal(line.hasRoom, false)
  })
})
