// The hash: fixed values (every proxy must agree, also across versions), spread, no loss of values.
import assert from 'node:assert/strict'
import { hashText, mix } from '../../../../waypoint/balance/hash.ts'

describe('waypoint/balance/hash', () => {
  for (const { text, want } of [
    { text: '', want: 2_166_136_261 },
    { text: 'a', want: 0xe40c292c },
    { text: 'foobar', want: 0xbf9cf968 },
  ]) {
    it(`is FNV-1a, scattered, for ${JSON.stringify(text)}`, () => assert.equal(hashText(text), mix(want)))
  }

  it('keeps the values it gave', () => {
    assert.deepEqual(['alice', 'bob', 'größe', '日本'].map(hashText), [3_927_234_078, 4_183_353_430, 2_538_389_087, 3_490_853_225])
  })

  it('spreads near texts evenly', () => {
    const counts = new Array<number>(16).fill(0)
    for (let i = 0; i < 16_000; i++) counts[hashText(`user-${i}`) >>> 28]! += 1
    for (const count of counts) assert.ok(Math.abs(count - 1000) < 150, `${counts}`)
  })

  it('mixes without collisions', () => {
    assert.equal(new Set(Array.from({ length: 50_000 }, (_, index) => mix(index))).size, 50_000)
  })
})
