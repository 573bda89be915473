// Random and mutated bytes into the ZDS decoders: they answer with a value or with faults and never throw, and what they
// accept means the same when written again.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { decodeAck, decodeHello, decodeRequest, encodeAck, encodeHello, encodeRequest, type ZdsRequest } from '../../zds/messages.ts'
import { fuzzOptions } from '../support/fuzz.ts'

const name = fc.oneof(fc.string({ maxLength: 300 }), fc.stringMatching(/^[a-z0-9-]{1,63}$/))
const request: fc.Arbitrary<ZdsRequest> = fc.oneof(
  fc.record({ kind: fc.constant('add' as const), uid: name, info: fc.record({ name, namespace: name, serviceAccount: name }) }),
  fc.record({ kind: fc.constant('add' as const), uid: name }),
  fc.record({ kind: fc.constantFrom('keep' as const, 'del' as const), uid: name }),
  fc.constant({ kind: 'snapshot-sent' as const }),
)
const valid = fc.oneof(request.map(encode), fc.string({ maxLength: 400 }).map(encodeAck), fc.constant(encodeHello()))
const mutated = fc
  .tuple(valid, fc.array(fc.tuple(fc.nat(1023), fc.nat(255)), { maxLength: 4 }), fc.nat(1024))
  .map(([bytes, edits, cut]) => {
    const copy = Buffer.from(bytes)
    for (const [at, value] of edits) if (copy.length > 0) copy[at % copy.length] = value
    return copy.subarray(0, cut < 512 ? copy.length : cut % (copy.length + 1))
  })
const bytes = fc.oneof(fc.uint8Array({ maxLength: 1100 }), mutated)
const corpus: [Uint8Array][] = ['', '1a00', '0a00', '0a150a', '0801', '0aff', '2a040a027531'].map((hex) => [Buffer.from(hex, 'hex')])

function encode(value: ZdsRequest): Buffer {
  try {
    return encodeRequest(value)
  } catch {
    return Buffer.alloc(0) // too long to be sent
  }
}

describe('fuzz: zds', function () {
  this.timeout(0)

  it('decodeRequest', () => {
    fc.assert(
      fc.property(bytes, (input) => {
        const first = decodeRequest(input)
        if (!first.ok) return assert.ok(first.errors.length > 0 && first.errors.length <= 4)
        assert.deepEqual(decodeRequest(encodeRequest(first.value)), first)
      }),
      fuzzOptions(corpus),
    )
  })

  it('decodeHello and decodeAck', () => {
    fc.assert(
      fc.property(bytes, (input) => {
        const hello = decodeHello(input)
        if (!hello.ok) assert.ok(hello.errors.length > 0)
        const ack = decodeAck(input)
        if (!ack.ok) return
        assert.doesNotMatch(ack.value, /\p{Cc}/u)
        assert.ok(encodeAck(ack.value).length <= 1024)
      }),
      fuzzOptions(corpus),
    )
  })
})
