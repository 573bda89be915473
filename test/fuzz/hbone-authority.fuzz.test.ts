// Hostile authorities and CONNECT heads: never a throw; an accepted authority has one meaning.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { parseAuthority, readConnect, readResponse } from '../../hbone/connect.ts'
import { formatEndpoint } from '../../model/address.ts'

const LIMIT_MS = 10_000
const parts = fc.constantFrom(
  '10.0.0.1',
  '[fd00::1]',
  '[',
  ']',
  ':',
  '80',
  '00080',
  '65536',
  '@',
  '/',
  '%2f',
  '#',
  '?',
  ' ',
  '.',
  '..',
  '-a',
  'a-',
  'svc.ns',
  '\0',
  '127.1',
  '0x7f.1',
  '::1',
)
const authority = fc.array(fc.oneof(parts, fc.string({ maxLength: 4 })), { maxLength: 8 }).map((list) => list.join(''))
const fieldName = fc.oneof(
  fc.constantFrom(':method', ':authority', ':path', ':status', 'te', 'host', 'baggage', 'connection', '__proto__', 'A'),
  fc.string({ maxLength: 6 }),
)
const value = fc.oneof(fc.constantFrom('CONNECT', 'GET', '200', '10.0.0.1:80', 'trailers', ''), fc.string({ unit: 'binary', maxLength: 6 }))

describe('fuzz: hbone/connect', function () {
  this.timeout(LIMIT_MS * 3)

  it('accepts an authority only in the form that it would be written in again', () => {
    fc.assert(
      fc.property(authority, (text) => {
        const got = parseAuthority(text)
        if (got === undefined) return
        if (got.kind === 'host') assert.equal(`${got.host}:${got.port}`, text.toLowerCase())
        else assert.deepEqual(parseAuthority(formatEndpoint(got.endpoint)), got)
        assert.ok(!/[@/?#% \0]/.test(text))
      }),
      { interruptAfterTimeLimit: LIMIT_MS, numRuns: 50_000 },
    )
  })

  it('judges any head without a throw', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fieldName, value), { maxLength: 10 }), fc.boolean(), fc.boolean(), (fields, isTooLarge, isEnd) => {
        const head = readConnect(fields, isTooLarge, isEnd)
        if (head.kind === 'connect') {
          assert.ok(parseAuthority(head.request.authority) !== undefined && !isTooLarge && !isEnd)
          for (const text of Object.values(head.request.extra ?? {})) assert.doesNotMatch(text, /[\r\n\0]/)
        }
        readResponse(fields, isTooLarge)
      }),
      { interruptAfterTimeLimit: LIMIT_MS, numRuns: 50_000 },
    )
  })
})
