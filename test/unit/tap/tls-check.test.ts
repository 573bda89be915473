// The tap's judgement of one direction: TLS records in any order of segments, and what is none.
import assert from 'node:assert/strict'
import { SeededRandom } from '../../support/random.ts'
import { TlsCheck } from '../../../tap/tls-check.ts'

const record = (type: number, bytes: number): Buffer =>
  Buffer.concat([Buffer.from([type, 3, 3, bytes >> 8, bytes & 255]), Buffer.alloc(bytes, 'GET ')])
const HELLO = record(22, 300)
const DATA = record(23, 16_384)

describe('tls-check', () => {
  for (const row of [
    { name: 'nothing yet', given: [], want: 'none' },
    { name: 'whole records', given: [Buffer.concat([HELLO, DATA, DATA])], want: 'tls' },
    { name: 'half a header', given: [HELLO.subarray(0, 3)], want: 'tls' },
    { name: 'HTTP', given: [Buffer.from('GET / HTTP/1.1\r\n')], want: 'plain' },
    { name: 'HTTP after a record', given: [HELLO, Buffer.from('GET /')], want: 'plain' },
    { name: 'one byte', given: [Buffer.from([25])], want: 'plain' },
    { name: 'SSL 2', given: [Buffer.from([22, 2, 0])], want: 'plain' },
    { name: 'a record that is too long', given: [Buffer.from([23, 3, 3, 0xff, 0xff])], want: 'plain' },
  ]) {
    it(row.name, () => {
      const check = new TlsCheck()
      let seq = 0xffffff00 // the numbers wrap on the way
      check.begin(seq)
      for (const bytes of row.given) {
        check.take(seq, bytes)
        seq = (seq + bytes.length) >>> 0
      }
      assert.equal(check.verdict, row.want)
    })
  }

  it('puts segments in order, whatever their cut, order and repetition', () => {
    const random = new SeededRandom(7)
    const stream = Buffer.concat([HELLO, DATA, record(20, 1), DATA])
    for (let round = 0; round < 50; round++) {
      const segments: { seq: number; bytes: Buffer }[] = []
      for (let at = 0; at < stream.length; ) {
        const size = random.between(700, 1500)
        segments.push({ seq: 100 + at, bytes: stream.subarray(at, at + size) })
        at += size
      }
      segments.splice(random.between(0, segments.length - 1), 0, segments[random.between(0, segments.length - 1)] as (typeof segments)[0])
      segments.sort(() => random.next() - 0.5)
      const check = new TlsCheck()
      check.begin(100)
      for (const { seq, bytes } of segments) check.take(seq, bytes)
      assert.equal(check.verdict, 'tls')
    }
  })

  it('does not judge what it has not seen whole', () => {
    const midstream = new TlsCheck()
    midstream.take(5, HELLO)
    assert.equal(midstream.verdict, 'unknown')
    const gap = new TlsCheck()
    gap.begin(0)
    for (let segment = 0; segment < 100; segment++) gap.take(1 + segment * 10, Buffer.alloc(10))
    assert.equal(gap.verdict, 'unknown')
  })
})
