// HPACK against the vectors of RFC 7541 Appendix C, its error cases and its bounds.
import assert from 'node:assert/strict'
import { encodeHeaders, HpackDecoder } from '../../../hbone/hpack.ts'
import type { HeaderField } from '../../../hbone/hpack-table.ts'
import { decodeHuffman, encodeHuffman, huffmanBytes } from '../../../hbone/huffman.ts'

const LIMITS = { maxHeaderBytes: 16384, maxHeaderFields: 100 }
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')
const GET = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':path', '/'],
] as const
const HTTPS = [
  [':method', 'GET'],
  [':scheme', 'https'],
  [':path', '/index.html'],
] as const
const HOST = [':authority', 'www.example.com'] as const
const REQUESTS: readonly (readonly HeaderField[])[] = [
  [...GET, HOST],
  [...GET, HOST, ['cache-control', 'no-cache']],
  [...HTTPS, HOST, ['custom-key', 'custom-value']],
]
const DATE = 'Mon, 21 Oct 2013 20:13:21 GMT'
const LOCATION = ['location', 'https://www.example.com'] as const
const COOKIE = 'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1'
const RESPONSES: readonly (readonly HeaderField[])[] = [
  [[':status', '302'], ['cache-control', 'private'], ['date', DATE], LOCATION],
  [[':status', '307'], ['cache-control', 'private'], ['date', DATE], LOCATION],
  [
    [':status', '200'],
    ['cache-control', 'private'],
    ['date', 'Mon, 21 Oct 2013 20:13:22 GMT'],
    LOCATION,
    ['content-encoding', 'gzip'],
    ['set-cookie', COOKIE],
  ],
]

/** Appendix C: blocks decoded by one decoder in order; `table` = its size after each. */
const VECTORS = [
  {
    name: 'C.2.1 literal with indexing',
    blocks: ['400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572'],
    want: [[['custom-key', 'custom-header']]],
    table: [55],
  },
  {
    name: 'C.2.2 literal without indexing',
    blocks: ['040c 2f73 616d 706c 652f 7061 7468'],
    want: [[[':path', '/sample/path']]],
    table: [0],
  },
  {
    name: 'C.2.3 literal never indexed',
    blocks: ['1008 7061 7373 776f 7264 0673 6563 7265 74'],
    want: [[['password', 'secret']]],
    table: [0],
  },
  { name: 'C.2.4 indexed', blocks: ['82'], want: [[[':method', 'GET']]], table: [0] },
  {
    name: 'C.3 requests without Huffman',
    blocks: [
      '8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
      '8286 84be 5808 6e6f 2d63 6163 6865',
      '8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65',
    ],
    want: REQUESTS,
    table: [57, 110, 164],
  },
  {
    name: 'C.4 requests with Huffman',
    blocks: [
      '8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff',
      '8286 84be 5886 a8eb 1064 9cbf',
      '8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf',
    ],
    want: REQUESTS,
    table: [57, 110, 164],
  },
  {
    name: 'C.5 responses without Huffman, table of 256',
    maxTable: 256,
    blocks: [
      '4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
      '4803 3330 37c1 c0bf',
      '88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31',
    ],
    want: RESPONSES,
    table: [222, 222, 215],
  },
  {
    name: 'C.6 responses with Huffman, table of 256',
    maxTable: 256,
    blocks: [
      '4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3',
      '4883 640e ffc1 c0bf',
      '88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07',
    ],
    want: RESPONSES,
    table: [222, 222, 215],
  },
]

const FAULTY = [
  { name: 'index 0', block: '80' },
  { name: 'index behind the static table, dynamic empty', block: 'be' },
  { name: 'literal name index outside', block: '7f00 01 61' },
  { name: 'integer without end', block: 'ffff ffff ff' },
  { name: 'integer too large', block: 'ffff ffff ffff ffff 7f' },
  { name: 'integer cut off', block: 'ff' },
  { name: 'string cut off', block: '4003 6162' },
  { name: 'value missing', block: '4003 616263' },
  { name: 'string length missing', block: '40' },
  { name: 'table size above the setting', block: '3fe2 1f' },
  { name: 'table size update after a field', block: '82 20' },
  { name: 'Huffman: EOS in the text', block: '0084 ffff ffff 0161' },
  { name: 'Huffman: 8 bits of padding', block: '0082 1fff 0161' },
  { name: 'Huffman: padding with zeros', block: '0081 18 0161' },
]

describe('hbone/hpack', () => {
  for (const row of VECTORS) {
    it(`decodes ${row.name}`, () => {
      const decoder = new HpackDecoder(LIMITS, row.maxTable)
      for (const [i, block] of row.blocks.entries()) {
        const got = decoder.decode(hex(block))
        assert.deepEqual(got, { ok: true, value: { fields: row.want[i], isTooLarge: false } })
        assert.equal(decoder.tableBytes, row.table[i])
      }
    })
  }

  for (const row of FAULTY) {
    it(`refuses ${row.name}`, () => assert.equal(new HpackDecoder(LIMITS).decode(hex(row.block)).ok, false))
  }

  it('accepts the largest allowed table size and forgets everything at 0', () => {
    const decoder = new HpackDecoder(LIMITS)
    assert.equal(decoder.decode(hex('3fe1 1f 400161 0162')).ok, true)
    assert.equal(decoder.tableBytes, 34)
    assert.equal(decoder.decode(hex('20')).ok, true)
    assert.equal(decoder.tableBytes, 0)
    assert.equal(decoder.decode(hex('be')).ok, false)
  })

  it('empties the table for a field larger than it', () => {
    const decoder = new HpackDecoder(LIMITS, 64)
    decoder.decode(hex('400161 0162'))
    const big = Buffer.concat([hex('400163 40'), Buffer.alloc(64, 'x')])
    assert.equal(decoder.decode(big).ok, true)
    assert.equal(decoder.tableBytes, 0)
  })

  it('counts the decoded size: a cut list for an oversized head, a fault for a bomb', () => {
    const decoder = new HpackDecoder(LIMITS)
    const entry = Buffer.concat([hex('400663 6f6f 6b69 65 7f a11e'), Buffer.alloc(4000, 'x')])
    assert.equal(decoder.decode(entry).ok, true)
    const five = decoder.decode(Buffer.alloc(5, 0xbe))
    assert.ok(five.ok && five.value.isTooLarge && five.value.fields.length === 4)
    const bomb = decoder.decode(Buffer.alloc(1000, 0xbe))
    assert.deepEqual(bomb, { ok: false, errors: ['header list is a bomb'] })
  })

  it('marks more than 100 fields', () => {
    const many = new HpackDecoder(LIMITS).decode(Buffer.alloc(101, 0x82))
    assert.ok(many.ok && many.value.isTooLarge && many.value.fields.length === 100)
  })

  it('round-trips what it encodes, whatever bytes a value has', () => {
    const all = Array.from({ length: 256 }, (_, i) => String.fromCharCode(i)).join('')
    const fields: HeaderField[] = [
      [':status', '200'],
      [':method', 'CONNECT'],
      [':authority', '10.0.0.7:8080'],
      ['baggage', 'k8s.cluster.name=x'],
      ['x', all.repeat(3)],
      ['y', ''],
    ]
    assert.deepEqual(new HpackDecoder(LIMITS).decode(encodeHeaders(fields)), { ok: true, value: { fields, isTooLarge: false } })
  })

  it('has a Huffman code that returns every byte, alone and in pairs', () => {
    for (let i = 0; i < 256; i++) {
      for (const text of [String.fromCharCode(i), String.fromCharCode(i, 255 - i), String.fromCharCode(255 - i, i, i)]) {
        const into = Buffer.alloc(huffmanBytes(text))
        assert.equal(encodeHuffman(text, into, 0), into.length)
        assert.equal(decodeHuffman(into, 0, into.length, 100), text)
      }
    }
  })
})
