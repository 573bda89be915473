// Hostile header blocks: never a throw, decoded size and table bounded; what we encode comes back.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { encodeHeaders, HpackDecoder } from '../../hbone/hpack.ts'
import { decodeHuffman, encodeHuffman, huffmanBytes } from '../../hbone/huffman.ts'

const LIMIT_MS = 10_000
const LIMITS = { maxHeaderBytes: 2048, maxHeaderFields: 20 }
const latin1 = fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes).toString('latin1'))
const prefix = fc.constantFrom(0x82, 0xbe, 0x40, 0x00, 0x10, 0x20, 0x3f, 0x7f, 0xff, 0x81)
const block = fc.array(fc.oneof(prefix, fc.integer({ min: 0, max: 255 })), { maxLength: 200 }).map((bytes) => Buffer.from(bytes))

describe('fuzz: hbone/hpack', function () {
  this.timeout(LIMIT_MS * 4)

  it('decodes any sequence of blocks within its bounds', () => {
    fc.assert(
      fc.property(fc.array(block, { maxLength: 6 }), (blocks) => {
        const decoder = new HpackDecoder(LIMITS)
        for (const one of blocks) {
          const got = decoder.decode(one)
          assert.ok(decoder.tableBytes <= 4096)
          if (!got.ok) return
          const bytes = got.value.fields.reduce((sum, [name, value]) => sum + name.length + value.length + 32, 0)
          assert.ok(bytes <= LIMITS.maxHeaderBytes && got.value.fields.length <= LIMITS.maxHeaderFields)
        }
      }),
      { interruptAfterTimeLimit: LIMIT_MS, numRuns: 20_000 },
    )
  })

  it('returns what was encoded', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(latin1, latin1), { maxLength: 20 }), (fields) => {
        const got = new HpackDecoder({ maxHeaderBytes: 1e6, maxHeaderFields: 100 }).decode(encodeHeaders(fields))
        assert.deepEqual(got, { ok: true, value: { fields, isTooLarge: false } })
      }),
      { interruptAfterTimeLimit: LIMIT_MS, numRuns: 5_000 },
    )
  })

  it('has one Huffman form for each text: what decodes encodes to the same bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        const given = Buffer.from(bytes)
        const text = decodeHuffman(given, 0, given.length, 1000)
        if (text === undefined) return
        const again = Buffer.alloc(huffmanBytes(text))
        encodeHuffman(text, again, 0)
        assert.deepEqual(again, given)
      }),
      { interruptAfterTimeLimit: LIMIT_MS, numRuns: 50_000 },
    )
  })
})
