// The hash against the reference implementation's numbers, and that it spreads.
import assert from 'node:assert/strict'
import { hash32 } from '../../../../policy/http/hash.ts'

/** From smhasher's MurmurHash3_x86_32. */
const VECTORS: readonly { readonly name: string; readonly given: readonly [string, number?]; readonly want: number }[] = [
  { name: 'nothing', given: [''], want: 0 },
  { name: 'nothing, seed 1', given: ['', 1], want: 0x514e28b7 },
  { name: 'nothing, seed ffffffff', given: ['', 0xffffffff], want: 0x81f16f39 },
  { name: 'four zero bytes', given: ['\0\0\0\0'], want: 0x2362f9de },
  { name: 'three zero bytes', given: ['\0\0\0'], want: 0x85f0b427 },
  { name: 'one zero byte', given: ['\0'], want: 0x514e28b7 },
  { name: '21 43 65 87', given: ['\x21\x43\x65\x87'], want: 0xf55b516b },
  { name: '21 43 65', given: ['\x21\x43\x65'], want: 0x7e4a8634 },
  { name: '21', given: ['\x21'], want: 0x72661cf4 },
  { name: 'ff ff ff ff', given: ['\xff\xff\xff\xff'], want: 0x76293b50 },
  { name: 'a text with a seed', given: ['Hello, world!', 0x9747b28c], want: 0x24884cba },
  { name: 'a longer text', given: ['The quick brown fox jumps over the lazy dog', 0x9747b28c], want: 0x2fa826cd },
]

describe('hash', () => {
  for (const row of VECTORS) it(row.name, () => assert.equal(hash32(...row.given), row.want))

  it('spreads similar texts', () => {
    const counts = new Array<number>(16).fill(0)
    for (let i = 0; i < 16_000; i++) {
      const bin = hash32(`user-${i}`) >>> 28
      counts[bin] = (counts[bin] ?? 0) + 1
    }
    for (const count of counts) assert.ok(count > 850 && count < 1150, String(counts))
  })

  it('takes wide characters', () => assert.notEqual(hash32('\u0141'), hash32('\u0142')))
})
