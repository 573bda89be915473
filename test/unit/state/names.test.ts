// Names of endpoints: asked once, kept, asked again, kept over an outage, bounded.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { type NameAnswer, Names } from '../../../state/names.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { ip } from '../../support/mesh-values.ts'

const answer = (ttlMs: number, ...addresses: string[]): NameAnswer => ({ addresses: addresses.map(ip), ttlMs })

class Desk {
  readonly clock = new FakeClock()
  readonly asked: string[] = []
  readonly changed: string[] = []
  answer: NameAnswer | undefined = answer(10_000, '192.0.2.1')
  readonly names = new Names({
    clock: this.clock,
    lookUp: async (hostname) => {
      this.asked.push(hostname)
      return this.answer
    },
    onChange: (hostname) => void this.changed.push(hostname),
  })

  async known(hostname = 'a'): Promise<readonly string[]> {
    this.names.addresses(hostname)
    await this.clock.advance(0)
    return this.names.addresses(hostname)
  }
}

describe('state/names', () => {
  it('asks once and keeps the answer for its life', async () => {
    const desk = new Desk()
    assert.deepEqual(desk.names.addresses('a'), [])
    assert.deepEqual(await desk.known(), ['192.0.2.1'])
    await desk.clock.advance(9_999)
    assert.equal(desk.names.addresses('a'), desk.names.addresses('a'))
    assert.deepEqual(desk.asked, ['a'])
    await desk.clock.advance(1)
    await desk.known()
    assert.deepEqual(desk.asked, ['a', 'a'])
    assert.deepEqual(desk.changed, ['a'])
  })

  it('is told of by waiting', async () => {
    const desk = new Desk()
    assert.equal(desk.names.isUnknown('a'), true)
    await Promise.all([desk.names.resolve(['a', 'b']), desk.names.resolve(['a'])])
    assert.deepEqual([desk.asked, desk.names.isUnknown('a'), desk.names.addresses('b')], [['a', 'b'], false, [ip('192.0.2.1')]])
  })

  it('keeps what it has while nobody answers, for ten minutes', async () => {
    const desk = new Desk()
    await desk.known()
    desk.answer = undefined
    for (let i = 0; i < 100; i++) {
      await desk.clock.advance(5_900)
      assert.deepEqual(await desk.known(), ['192.0.2.1'])
    }
    await desk.clock.advance(20_000)
    assert.deepEqual(await desk.known(), [])
  })

  it('forgets at once what is gone', async () => {
    const desk = new Desk()
    await desk.known()
    desk.answer = answer(5_000)
    await desk.clock.advance(10_000)
    assert.deepEqual(await desk.known(), [])
    assert.equal(desk.names.isUnknown('a'), false)
  })

  for (const [name, ttlMs, wants] of [
    ['shorter lives than five seconds', 0, 5_000],
    ['longer ones than five minutes', 1e9, 300_000],
  ] as const) {
    it(`takes no ${name}`, async () => {
      const desk = new Desk()
      desk.answer = answer(ttlMs, '192.0.2.1')
      await desk.known()
      await desk.clock.advance(wants - 1)
      await desk.known()
      assert.equal(desk.asked.length, 1)
      await desk.clock.advance(1)
      await desk.known()
      assert.equal(desk.asked.length, 2)
    })
  }

  it('takes no address that names this host, its link or a group', async () => {
    const desk = new Desk()
    desk.answer = answer(1000, '127.0.0.1', '169.254.169.254', '::1', 'fe80::1', '224.0.0.1', '0.0.0.0', '192.0.2.9')
    assert.deepEqual(await desk.known(), ['192.0.2.9'])
  })

  it('asks for 64 at once and holds 4,096 names', async () => {
    const held: (() => void)[] = []
    const names = new Names({
      clock: new FakeClock(),
      lookUp: () => new Promise((resolve) => held.push(() => resolve(answer(1000, '192.0.2.1')))),
    })
    for (let i = 0; i < 100; i++) names.addresses(`n${i}`)
    assert.equal(held.length, 64)
    await names.resolve(['late'])
    assert.equal(names.isUnknown('late'), true)
    const desk = new Desk()
    for (let i = 0; i < 5_000; i++) await desk.names.resolve([`n${i}`])
    assert.equal(desk.names.isUnknown('n0'), true)
    assert.equal(desk.names.isUnknown('n4999'), false)
  })
})
