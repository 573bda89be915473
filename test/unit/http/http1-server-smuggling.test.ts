// Bytes that two parsers could read as different requests: refused with 400 and a closed connection, or forwarded in a form that
// node:http reads as exactly the requests that were authorised.
import assert from 'node:assert/strict'
import { proxyBytes } from '../../support/http1-proxy.ts'
import { VECTORS } from '../../support/smuggling-vectors.ts'

describe('http/http1-server: smuggling', function () {
  this.timeout('60s')

  it('has at least 300 different vectors', () => {
    assert.equal(new Set(VECTORS.map((vector) => vector.raw)).size, VECTORS.length)
    assert.ok(VECTORS.length >= 300, `${VECTORS.length}`)
  })

  for (const isCut of [false, true]) {
    describe(isCut ? 'byte by byte' : 'in one piece', () => {
      for (const { name, raw, want } of VECTORS) {
        it(name, async () => {
          const got = await proxyBytes(isCut ? [...raw] : raw)
          assert.deepEqual(got.faults, [], 'what was forwarded is broken')
          const seen = got.seen.map(({ method, url, host, body }) => `${method} ${host} ${url} ${body}`)
          if (typeof want === 'number') {
            assert.deepEqual({ seen, statuses: got.statuses }, { seen: [], statuses: [want] })
            assert.match(got.received, /\r\nconnection: close\r\n/)
          } else {
            assert.deepEqual(
              seen,
              want.filter((line) => line !== 'REFUSED'),
            )
            assert.deepEqual(
              got.statuses,
              want.map((line) => (line === 'REFUSED' ? 400 : 200)),
            )
          }
          assert.ok(got.seen.length <= got.authorised)
        })
      }
    })
  }
})
