// Session values: there and back, and hostile ones.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { HeaderField, RequestHead } from '../../../../model/http.ts'
import type { SessionPersistence } from '../../../../model/route.ts'
import { sessionFrom, sessionHeaders } from '../../../../waypoint/balance/session.ts'

const COOKIE: SessionPersistence = { name: 'Sticky', kind: 'cookie', cookiePath: '/shop', absoluteTimeoutSeconds: 60 }
const HEADER: SessionPersistence = { ...COOKIE, name: 'X-Session', kind: 'header' }
const UID = 'Kubernetes//Pod/shop/server-7d4b9-x2x7p'

function head(...headers: HeaderField[]): RequestHead {
  return { version: 'HTTP/1.1', method: 'GET', scheme: 'http', authority: 'shop', path: '/', query: undefined, headers, upgrade: undefined }
}

/** The value that `sessionHeaders` wrote. */
function written(uid = UID): string {
  return sessionHeaders(HEADER, uid, false)[0]![1]
}

describe('waypoint/balance/session', () => {
  it('writes a cookie with path, age, and Secure for HTTPS only', () => {
    assert.deepEqual(sessionHeaders(COOKIE, UID, true), [['set-cookie', `Sticky=${written()}; Path=/shop; Max-Age=60; HttpOnly; Secure`]])
    assert.deepEqual(sessionHeaders({ ...COOKIE, absoluteTimeoutSeconds: undefined }, UID, false), [
      ['set-cookie', `Sticky=${written()}; Path=/shop; HttpOnly`],
    ])
  })

  it('comes back from a cookie among others and from a header', () => {
    assert.equal(sessionFrom(head(['cookie', `a=b; Sticky=${written()}; c=d`]), COOKIE), UID)
    assert.equal(sessionFrom(head(['x-session', written()]), HEADER), UID)
    assert.equal(sessionFrom(head(), COOKIE), undefined)
    assert.equal(sessionFrom(head(['cookie', `sticky=${written()}`]), COOKIE), undefined, 'cookie names differ by case')
  })

  it('does not show the uid in plain text, and is a plain word', () => assert.match(written(), /^w1\.[A-Za-z0-9_-]+$/))

  it('carries any printable uid up to its bound, and no other', () => {
    const printable = fc.string({
      minLength: 1,
      maxLength: 600,
      unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)),
    })
    fc.assert(fc.property(printable, (uid) => assert.equal(sessionFrom(head(['x-session', written(uid)]), HEADER), uid)))
    for (const uid of ['', 'a b', 'a\r\nb', 'é', 'x'.repeat(601)]) assert.deepEqual(sessionHeaders(COOKIE, uid, false), [])
    assert.deepEqual(sessionHeaders({ ...HEADER, name: 'a b' }, UID, false), [])
  })

  for (const { name, given } of [
    { name: 'an empty text', given: '' },
    { name: 'another version', given: written().replace('w1', 'w2') },
    { name: 'no version', given: written().slice(3) },
    { name: 'nothing but the version', given: 'w1.' },
    { name: 'foreign characters', given: `${written()}=` },
    { name: 'control characters inside', given: `w1.${Buffer.from('a\r\nset-cookie: b').toString('base64url')}` },
    { name: 'a NUL inside', given: `w1.${Buffer.from('a\0b').toString('base64url')}` },
    { name: 'UTF-8 inside', given: `w1.${Buffer.from('größe').toString('base64url')}` },
    { name: 'too much', given: `w1.${'YQ'.repeat(50_000)}` },
  ]) {
    it(`takes ${name} for no session`, () => {
      assert.equal(sessionFrom(head(['x-session', given]), HEADER), undefined)
      assert.equal(sessionFrom(head(['cookie', `Sticky=${given}`]), COOKIE), undefined)
    })
  }

  it('takes any text without a fault, and only ever names printable uids', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.base64String().map((text) => `w1.${text}`),
        ),
        (text) => {
          assert.match(sessionFrom(head(['x-session', text]), HEADER) ?? 'none', /^[\x21-\x7e]{1,600}$/)
        },
      ),
    )
  })
})
