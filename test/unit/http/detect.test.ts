// The first bytes of a connection: what they say, and that they say it as early as they can.
import assert from 'node:assert/strict'
import { detect } from '../../../http/detect.ts'

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'

const ROWS: readonly (readonly [bytes: string, want: ReturnType<typeof detect>])[] = [
  ['', 'more'],
  ['P', 'more'],
  ['PRI * HTTP/2.0\r\n', 'more'],
  [PREFACE, 'http2'],
  [`${PREFACE}\x00\x00\x00\x04`, 'http2'],
  ['PRI * HTTP/2.0\r\n\r\nSX', 'http1'],
  ['G', 'more'],
  ['GET', 'more'],
  ['GET ', 'more'],
  ['GET /', 'more'],
  ['GET / HTTP/1.1', 'more'],
  ['GET / HTTP/1.1\r\n', 'http1'],
  ['GET / HTTP/1.1\n', 'http1'],
  ['GET / HTTP/1.0\r\nHost: h\r\n', 'http1'],
  ['M-SEARCH * HTTP/1.1\r\n', 'http1'],
  ['POST http://h/ HTTP/1.1\r\n', 'http1'],
  [`GET /${'a'.repeat(7000)}`, 'more'],
  [`GET /${'a'.repeat(9000)}`, 'tcp'],
  ['GET /\r\n', 'tcp'],
  ['GET  ', 'tcp'],
  ['GET \0', 'tcp'],
  ['SSH-2.0-OpenSSH_9.9\r\n', 'tcp'],
  ['QUIT\r\n', 'tcp'],
  ['HELO example.com\r\n', 'tcp'],
  ['*1\r\n$4\r\nPING\r\n', 'tcp'],
  ['\x16\x03\x01\x02\x00', 'tcp'],
  ['\x00\x00\x00\x08\x04\xd2\x16\x2f', 'tcp'],
  ['get / HTTP/1.1\r\n', 'tcp'],
  [' GET / HTTP/1.1\r\n', 'tcp'],
  ['\r\nGET / HTTP/1.1\r\n', 'tcp'],
  ['ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'tcp'],
]

describe('http/detect', () => {
  for (const [bytes, want] of ROWS) {
    it(`${JSON.stringify(bytes.slice(0, 40))} (${bytes.length}) is ${want}`, () => {
      assert.equal(detect(Buffer.from(bytes, 'latin1')), want)
    })
  }

  it('never changes its mind', () => {
    for (const [bytes, want] of ROWS)
      for (let end = 0; end < bytes.length; end++) {
        const early = detect(Buffer.from(bytes.slice(0, end), 'latin1'))
        assert.ok(early === 'more' || early === want, bytes)
      }
  })
})
