// SPIFFE IDs against an independent reading of the grammar, and properties that no input may break. The table of bad IDs is
// in svid.test.ts, where each is also shown in a certificate.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { isTrustDomain, parseSpiffeId, parseWorkloadId } from '../../../certs/spiffe.ts'
import { spiffeIdOf } from '../../../model/identity.ts'

const LOWER = [...'abcdefghijklmnopqrstuvwxyz0123456789.-_']
const ANY = [...LOWER, ...'ABCDEFGHIJKLMNOPQRSTUVWXYZ']
const trustDomain = fc.string({ unit: fc.constantFrom(...LOWER), minLength: 1, maxLength: 64 })
const segment = fc.string({ unit: fc.constantFrom(...ANY), minLength: 1, maxLength: 32 }).filter((text) => text !== '.' && text !== '..')
/** IDs that are nearly right: a correct one with one character put in, taken out or replaced. */
const mutated = fc
  .tuple(
    trustDomain,
    fc.array(segment, { maxLength: 5 }),
    fc.nat(),
    fc.constantFrom('', '/', '.', '%', '%2e', ' ', '\0', '\n', ':', '@', '?', '#', 'A', 'é', '\\', '//'),
    fc.nat(2),
  )
  .map(([domain, segments, at, put, cut]) => {
    const id = ['spiffe:/', domain, ...segments].join('/').replace('spiffe://', 'spiffe://')
    const place = at % (id.length + 1)
    return id.slice(0, place) + put + id.slice(place + cut)
  })

/** The grammar once more, as one expression, without the limits. */
function isIdBySecondReading(text: string): boolean {
  if (Buffer.byteLength(text) > 2048) return false
  const match = /^spiffe:\/\/([a-z0-9._-]{1,255})((?:\/[A-Za-z0-9._-]+)*)$/.exec(text)
  return match !== null && !text.endsWith('\n') && !(match[2] ?? '').split('/').some((part) => part === '.' || part === '..')
}

describe('certs/spiffe', () => {
  it('takes every ID of the grammar apart and puts it together again', () => {
    fc.assert(
      fc.property(trustDomain, fc.array(segment, { maxLength: 8 }), (domain, segments) => {
        const path = segments.map((one) => `/${one}`).join('')
        const parsed = parseSpiffeId(`spiffe://${domain}${path}`)
        assert.ok(parsed.ok)
        assert.deepEqual(parsed.value, { id: `spiffe://${domain}${path}`, trustDomain: domain, path })
      }),
    )
  })

  it('decides as a second reading of the grammar does', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          mutated,
          fc.string(),
          fc.string().map((text) => `spiffe://${text}`),
        ),
        (text) => {
          const parsed = parseSpiffeId(text)
          assert.equal(parsed.ok, isIdBySecondReading(text), JSON.stringify(text))
          if (!parsed.ok) assert.ok(parsed.errors.length > 0)
        },
      ),
      { numRuns: 2000 },
    )
  })

  it('reads back what spiffeIdOf writes, and nothing longer or shorter as a workload', () => {
    fc.assert(
      fc.property(trustDomain, segment, segment, segment, (domain, namespace, serviceAccount, more) => {
        const identity = { trustDomain: domain, namespace, serviceAccount }
        const id = spiffeIdOf(identity)
        assert.deepEqual(parseWorkloadId(id), { ok: true, value: identity })
        assert.equal(parseWorkloadId(`${id}/${more}`).ok, false)
        assert.equal(parseWorkloadId(id.slice(0, id.lastIndexOf('/'))).ok, false)
        assert.equal(parseWorkloadId(id.replace('/ns/', '/NS/')).ok, false)
      }),
    )
  })

  it('reports every fault', () => {
    const parsed = parseSpiffeId('spiffe://Bad.Domain/a/../b//c%20d/e')
    assert.deepEqual(parsed.ok ? [] : parsed.errors.length, 4)
  })

  it('knows trust domains', () => {
    for (const good of ['cluster.local', 'a', '1', 'a_b-c.d']) assert.ok(isTrustDomain(good), good)
    for (const bad of ['', 'A', 'a/b', 'a:1', 'a b', 'a\n', 'é', 'x'.repeat(256)]) assert.ok(!isTrustDomain(bad), bad)
  })
})
