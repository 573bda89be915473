// Messages are counted whatever the chunks are, and nothing is believed of their lengths.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { GrpcMessageCounter } from '../../../telemetry/http-messages.ts'

function messageOf(length: number): Buffer {
  const prefix = Buffer.alloc(5)
  prefix.writeUInt32BE(length, 1)
  return Buffer.concat([prefix, Buffer.alloc(length, 1)])
}

const TABLE: readonly { readonly name: string; readonly given: readonly Buffer[]; readonly want: number }[] = [
  { name: 'nothing', given: [], want: 0 },
  { name: 'an empty chunk', given: [Buffer.alloc(0)], want: 0 },
  { name: 'one message', given: [messageOf(3)], want: 1 },
  { name: 'empty messages', given: [Buffer.concat([messageOf(0), messageOf(0), messageOf(0)])], want: 3 },
  { name: 'a prefix that is not whole', given: [messageOf(0).subarray(0, 4)], want: 0 },
  { name: 'a message that is not whole', given: [messageOf(1000).subarray(0, 500)], want: 1 },
  { name: 'a length of 4 GiB', given: [Buffer.from([0, 255, 255, 255, 255]), Buffer.alloc(100_000)], want: 1 },
]

describe('GrpcMessageCounter', () => {
  for (const { name, given, want } of TABLE) {
    it(`counts ${want} in ${name}`, () => {
      const counter = new GrpcMessageCounter()
      for (const chunk of given) counter.take(chunk)
      assert.equal(counter.count, want)
    })
  }

  it('counts the same however the bytes are cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 600 }), { maxLength: 20 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 300 })),
        (lengths, cuts) => {
          const bytes = Buffer.concat(lengths.map(messageOf))
          const counter = new GrpcMessageCounter()
          for (let at = 0; at < bytes.length; ) {
            const size = cuts.next().value ?? 1
            counter.take(bytes.subarray(at, at + size))
            at += size
          }
          assert.equal(counter.count, lengths.length)
        },
      ),
    )
  })
})
