// Cookies: what is read from any text, and what is written.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { cookieOf, setCookie } from '../../../../waypoint/balance/cookie.ts'

const READ = [
  { name: 'the only one', given: ['a=1'], want: '1' },
  { name: 'one of several', given: ['b=2; a=1; c=3'], want: '1' },
  { name: 'the first of two', given: ['a=1; a=2'], want: '1' },
  { name: 'one of a second field', given: ['b=2', 'a=1'], want: '1' },
  { name: 'without blanks between', given: ['b=2;a=1;c=3'], want: '1' },
  { name: 'an empty value', given: ['a='], want: '' },
  { name: 'a value with =', given: ['a=x=y'], want: 'x=y' },
  { name: 'a quoted value', given: ['a="x y"'], want: 'x y' },
  { name: 'no longer name', given: ['aa=1; ba=2'], want: undefined },
  { name: 'no name without value', given: ['a; b=1'], want: undefined },
  { name: 'nothing of nothing', given: [], want: undefined },
]

describe('waypoint/balance/cookie', () => {
  for (const { name, given, want } of READ) {
    it(`reads ${name}`, () =>
      assert.equal(
        cookieOf(
          given.map((value) => ['cookie', value] as const),
          'a',
        ),
        want,
      ))
  }

  it('reads any text', () => {
    fc.assert(
      fc.property(
        fc.string({ maxLength: 200, unit: fc.constantFrom('a', '=', ';', ' ', '"', 'b') }),
        (text) => void cookieOf([['cookie', text]], 'a'),
      ),
    )
  })

  it('reads what it writes', () => {
    const field = setCookie('a', 'x-1', { path: '/', maxAgeSeconds: undefined, isSecure: false })!
    assert.equal(cookieOf([['cookie', field[1]]], 'a'), 'x-1')
  })

  for (const { name, given, want } of [
    { name: 'a session cookie', given: { path: '/shop', maxAgeSeconds: undefined, isSecure: false }, want: 'a=1; Path=/shop; HttpOnly' },
    {
      name: 'a lifetime',
      given: { path: '/', maxAgeSeconds: 3600.7, isSecure: true },
      want: 'a=1; Path=/; Max-Age=3600; HttpOnly; Secure',
    },
    {
      name: 'no attributes from a path',
      given: { path: '/; Domain=evil', maxAgeSeconds: undefined, isSecure: false },
      want: 'a=1; Path=/; HttpOnly',
    },
    {
      name: 'no line from a path',
      given: { path: '/\r\nx: y', maxAgeSeconds: -1, isSecure: false },
      want: 'a=1; Path=/; Max-Age=0; HttpOnly',
    },
  ]) {
    it(`writes ${name}`, () => assert.deepEqual(setCookie('a', '1', given), ['set-cookie', want]))
  }

  it('writes no cookie of a bad name', () => {
    for (const name of ['', 'a b', 'a;b', 'a=b', 'a\r\nb', 'ü'])
      assert.equal(setCookie(name, '1', { path: '/', maxAgeSeconds: undefined, isSecure: false }), undefined)
  })
})
