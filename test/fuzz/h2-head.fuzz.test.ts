// Heads and trailers of HTTP/2 as a peer may send them: no input throws; what is accepted keeps the rules of model/http.ts, can be
// sent on, and is read back as the same head. Mutations start from good heads, so that they get past the outer checks.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { readFields } from '../../http/h2-fields.ts'
import { readRequest, readResponse, readTrailers, requestFields, responseFields } from '../../http/h2-head.ts'
import type { HeaderField, RequestHead } from '../../model/http.ts'
import { fuzzOptions } from '../support/fuzz.ts'

const HOP_BY_HOP = [
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
  'host',
  'content-length',
]

const name = fc.oneof(
  fc.constantFrom(':method', ':scheme', ':path', ':authority', ':protocol', ':status', ':x'),
  fc.constantFrom('host', 'te', 'cookie', 'content-length', 'connection', 'transfer-encoding', 'upgrade', 'trailer', 'expect'),
  fc.constantFrom('x-weft-source', 'x_weft_source', 'X-Upper', 'x y', '', 'x-forwarded_for', 'content_length'),
  fc.string({ maxLength: 12 }),
)
const value = fc.oneof(
  fc.constantFrom(
    'GET',
    'CONNECT',
    'HEAD',
    'http',
    'https',
    '/',
    '/a/../b',
    '/%2e%2E/x',
    '*',
    '/a?b#c',
    'a.test:80',
    '[::1]:1',
    'websocket',
  ),
  fc.constantFrom('200', '101', '103', '99', '600', '0', '5', '-1', '1e3', ' 5', 'trailers', 'gzip', 'a=1', 'a\r\nb: c', 'a\0b', ' pad '),
  fc.string({ maxLength: 20, unit: 'binary' }),
  fc.string({ maxLength: 20 }),
)
const good = fc.constantFrom<readonly string[]>(
  [':method', 'GET', ':scheme', 'http', ':path', '/a?b', ':authority', 'a.test'],
  [':method', 'POST', ':scheme', 'http', ':path', '/', 'host', 'a.test:80', 'content-length', '5', 'cookie', 'a', 'cookie', 'b'],
  [':method', 'CONNECT', ':protocol', 'websocket', ':scheme', 'http', ':path', '/', ':authority', 'a'],
  [':status', '200', 'content-length', '7', 'x', 'y'],
  ['grpc-status', '0', 'grpc-message', 'ok'],
)
/** A good head with fields put in, changed or taken out. */
const raw = fc
  .tuple(good, fc.array(fc.tuple(fc.nat(20), fc.constantFrom('put', 'set', 'cut'), name, value), { maxLength: 4 }))
  .map(([head, edits]) => {
    const fields = [...head]
    for (const [place, how, key, text] of edits) {
      const at = 2 * (place % (fields.length / 2 + 1))
      if (how === 'put') fields.splice(at, 0, key, text)
      else if (how === 'cut') fields.splice(at, 2)
      else if (at < fields.length) fields[at + 1] = text
    }
    return fields
  })

function checkFields(fields: readonly HeaderField[]): void {
  for (const [key, text] of fields) {
    assert.match(key, /^[!#$%&'*+\-.^_`|~0-9a-z]+$/)
    assert.doesNotMatch(text, /[^\t\x20-\x7e\x80-\xff]|^[ \t]|[ \t]$/)
  }
}

function checkRequest(head: RequestHead): void {
  assert.ok(head.path === '*' || head.path.startsWith('/'))
  assert.doesNotMatch(head.path, /[?#\\]|\/\.\.?(\/|$)|%2e|%2f|%5c/i)
  assert.notEqual(head.authority, '')
  assert.equal(head.authority, head.authority.toLowerCase())
  assert.notEqual(head.method, 'CONNECT')
  checkFields(head.headers)
  for (const [key] of head.headers) assert.ok(!HOP_BY_HOP.includes(key), key)
  assert.ok(head.headers.filter(([key]) => key === 'cookie').length <= 1)
}

describe('fuzz: HTTP/2 heads', function () {
  this.timeout(120_000)

  it('requests', () => {
    fc.assert(
      fc.property(raw, fc.boolean(), (fields, isEnd) => {
        const read = readRequest(fields, isEnd, 'http')
        if (!read.ok) return assert.ok(read.errors.length > 0)
        const { head, length } = read.value
        checkRequest(head)
        assert.ok(length === undefined || (Number.isSafeInteger(length) && length >= 0))
        const sent = requestFields(head, length)
        if (!sent.ok) assert.fail(sent.errors[0])
        const again = readRequest(sent.value, length === 0, 'http')
        if (!again.ok) assert.fail(again.errors[0])
        const withoutTe = { ...head, headers: head.headers.filter(([key]) => key !== 'te') }
        const headers = again.value.head.headers.filter(([key]) => key !== 'te')
        assert.deepEqual({ ...again.value.head, headers }, withoutTe)
      }),
      fuzzOptions([[[':method', 'POST', ':scheme', 'http', ':path', '/', 'host', 'a', 'cookie', 'a', 'cookie', ''], false]]),
    )
  })

  it('responses and trailers', () => {
    fc.assert(
      fc.property(raw, fc.boolean(), fc.boolean(), (fields, isEnd, isHead) => {
        const read = readResponse(fields, isEnd, isHead)
        if (read.ok) {
          const { head, length } = read.value
          assert.ok(head.status >= 100 && head.status <= 599 && head.status !== 101)
          checkFields(head.headers)
          const sent = responseFields(head, length, isHead)
          if (!sent.ok) assert.fail(sent.errors[0])
          const again = readResponse(sent.value, length === 0, isHead)
          if (!again.ok) assert.fail(again.errors[0])
          assert.equal(again.value.head.status, head.status)
        }
        for (const isRequest of [true, false]) {
          const trailers = readTrailers(fields, isRequest)
          if (trailers.ok) checkFields(trailers.value)
        }
      }),
      fuzzOptions(),
    )
  })

  it('lists of any strings', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary', maxLength: 10 }), { maxLength: 12 }), (list) => {
        const { fields, faults } = readFields(list)
        if (faults.length === 0) checkFields(fields)
      }),
      fuzzOptions(),
    )
  })
})
