// One caller's flood is its own: bursts, the long run, what is told of it, and how much is remembered.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { RateLimit } from '../../../controlplane/rate.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const taken = (limit: RateLimit, name: string, times: number): number =>
  Array.from({ length: times }, () => limit.take(name)).filter(Boolean).length

describe('controlplane/rate', () => {
  it('lets a burst through, then so many per second, also while the flood goes on', async () => {
    const clock = new FakeClock()
    const limit = new RateLimit({ burst: 20, perSecond: 10, clock })
    assert.equal(taken(limit, 'a', 1000), 20)
    let more = 0
    for (let i = 0; i < 1000; i++) {
      await clock.advance(10)
      more += taken(limit, 'a', 5)
    }
    assert.ok(more >= 98 && more <= 101, String(more))
    assert.equal(taken(limit, 'b', 1000), 20, 'a neighbour has its own')
    await clock.advance(60_000)
    assert.equal(taken(limit, 'a', 1000), 20, 'no more than a burst is saved up')
  })

  it('tells of a flood now and then, with the number', async () => {
    const clock = new FakeClock()
    const limit = new RateLimit({ burst: 1, perSecond: 0.001, clock })
    assert.equal(limit.toTell('a'), undefined)
    taken(limit, 'a', 3)
    assert.equal(limit.toTell('a'), 2)
    taken(limit, 'a', 100)
    assert.equal(limit.toTell('a'), undefined)
    await clock.advance(10_000)
    assert.equal(limit.toTell('a'), 100)
    await clock.advance(10_000)
    assert.equal(limit.toTell('a'), undefined, 'nothing happened since')
  })

  it('forgets who asked longest ago', () => {
    const limit = new RateLimit({ burst: 1, perSecond: 0.001, clock: new FakeClock() })
    limit.take('first')
    assert.equal(limit.take('first'), false)
    for (let i = 0; i < 10_000; i++) limit.take(`name-${i}`)
    assert.equal(limit.take('first'), true)
  })
})
