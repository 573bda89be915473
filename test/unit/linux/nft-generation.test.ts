// The kernel's answer about its generation of rules.
import assert from 'node:assert/strict'
import { readGeneration } from '../../../linux/nft-generation.ts'

const answer = (type: number, ...attributes: string[]): Buffer => {
  const body = Buffer.from(`00000000${attributes.join('')}`, 'hex')
  const head = Buffer.alloc(16)
  head.writeUInt32LE(16 + body.length, 0)
  head.writeUInt16LE(type, 4)
  return Buffer.concat([head, body])
}

describe('linux/nft-generation', () => {
  const CASES = [
    { name: 'an answer', given: answer(0x0a0f, '08000100000001ff', '0800020000000001'), want: 0x1ff },
    { name: 'its attribute is not the first', given: answer(0x0a0f, '0800020000000001', '0800010000000007'), want: 7 },
    { name: 'padding', given: answer(0x0a0f, '0600030061620000', '0800010000000007'), want: 7 },
    { name: 'an error', given: answer(2, 'eaffffff'), want: undefined },
    { name: 'cut off', given: answer(0x0a0f, '08000100'), want: undefined },
    { name: 'an attribute of no length', given: answer(0x0a0f, '0000010000000007'), want: undefined },
    { name: 'nothing', given: Buffer.alloc(0), want: undefined },
  ] as const
  for (const { name, given, want } of CASES) {
    it(name, () => {
      assert.equal(readGeneration(given), want)
    })
  }
})
