// Token buckets: rates, keys, and what a flood of key values can and cannot do.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { RequestHead } from '../../../../model/http.ts'
import type { LocalRateLimit, RateLimitKey } from '../../../../model/route.ts'
import { rateLimited, TokenBuckets } from '../../../../policy/http/rate-limit.ts'
import { requestOf } from '../../../support/request-values.ts'

const limit = (change: Partial<LocalRateLimit> = {}): LocalRateLimit => ({
  policy: 'shop/limit',
  requests: 10,
  perMs: 1000,
  burst: 10,
  keys: [],
  ...change,
})
const IDENTITY: RateLimitKey = { kind: 'identity' }
const USER: RateLimitKey = { kind: 'header', name: 'X-User' }
const user = (name: string): RequestHead => requestOf('/', { 'x-user': name })
const PLAIN = requestOf('/')

/** How many of `most` requests pass. */
function passed(buckets: TokenBuckets, by: LocalRateLimit, nowMs: number, head = PLAIN, identity?: string, most = 100): number {
  let count = 0
  for (let i = 0; i < most; i++) if (buckets.take(by, head, identity, nowMs).isAllowed) count++
  return count
}

const RATES: readonly {
  readonly name: string
  readonly given: readonly [Partial<LocalRateLimit>, times: readonly number[]]
  readonly want: readonly number[]
}[] = [
  { name: 'burst, then nothing', given: [{}, [0, 0]], want: [10, 0] },
  { name: 'refilled by the rate', given: [{}, [0, 99, 100, 350]], want: [10, 0, 1, 2] },
  { name: 'refilled to the burst, no more', given: [{}, [0, 60_000]], want: [10, 10] },
  { name: 'burst above the rate', given: [{ requests: 1, burst: 5 }, [0, 1000, 10_000]], want: [5, 1, 5] },
  { name: 'slow rate', given: [{ requests: 1, perMs: 60_000, burst: 1 }, [0, 59_999, 60_000]], want: [1, 0, 1] },
  { name: 'no requests: the burst once', given: [{ requests: 0, burst: 2 }, [0, 10 ** 9]], want: [2, 0] },
  { name: 'no burst: nothing', given: [{ burst: 0 }, [0, 10_000]], want: [0, 0] },
  { name: 'a clock that goes back', given: [{}, [5000, 1000, 5100]], want: [10, 0, 1] },
]

describe('rate limit', () => {
  for (const row of RATES) {
    it(row.name, () => {
      const buckets = new TokenBuckets(10)
      const by = limit(row.given[0])
      assert.deepEqual(
        row.given[1].map((nowMs) => passed(buckets, by, nowMs)),
        row.want,
      )
    })
  }

  it('has a bucket per identity, and one for those without', () => {
    const buckets = new TokenBuckets(10)
    const by = limit({ keys: [IDENTITY], burst: 3 })
    assert.deepEqual(
      ['spiffe://td/a', 'spiffe://td/b', undefined, 'spiffe://td/a', undefined].map((identity) => passed(buckets, by, 0, PLAIN, identity)),
      [3, 3, 3, 0, 0],
    )
  })

  it('has a bucket per value of a header; absent and empty are two', () => {
    const buckets = new TokenBuckets(10)
    const by = limit({ keys: [USER], burst: 2 })
    assert.deepEqual(
      [user('a'), user('b'), PLAIN, user(''), user('a'), PLAIN].map((head) => passed(buckets, by, 0, head)),
      [2, 2, 2, 2, 0, 0],
    )
  })

  it('tells combinations of keys apart', () => {
    const buckets = new TokenBuckets(10)
    const by = limit({ keys: [USER, IDENTITY], burst: 1 })
    const pairs: readonly (readonly [string, string])[] = [
      ['a', 'bc'],
      ['ab', 'c'],
      ['a', 'b'],
      ['a', 'bc'],
    ]
    assert.deepEqual(
      pairs.map(([head, identity]) => passed(buckets, by, 0, user(head), identity)),
      [1, 1, 1, 0],
    )
  })

  it('takes long values whole, though it does not keep them', () => {
    const buckets = new TokenBuckets(10)
    const by = limit({ keys: [USER], burst: 1 })
    const long = 'x'.repeat(5000)
    assert.deepEqual(
      [`${long}a`, `${long}b`, `${long}a`].map((name) => passed(buckets, by, 0, user(name))),
      [1, 1, 0],
    )
  })

  it('keeps policies and limits of one policy apart, and goes on after an equal limit came anew', () => {
    const buckets = new TokenBuckets(10)
    assert.deepEqual(
      [limit(), limit({ policy: 'shop/other' }), limit({ burst: 5 }), limit({ keys: [IDENTITY] }), limit()].map((by) =>
        passed(buckets, by, 0),
      ),
      [10, 10, 5, 10, 0],
    )
  })

  it('says when the next request passes', () => {
    const buckets = new TokenBuckets(10)
    const by = limit({ requests: 2, perMs: 1000, burst: 1 })
    assert.deepEqual(buckets.take(by, PLAIN, undefined, 0), { isAllowed: true })
    assert.deepEqual(buckets.take(by, PLAIN, undefined, 100), { isAllowed: false, retryAfterMs: 400 })
    assert.deepEqual(buckets.take(by, PLAIN, undefined, 500), { isAllowed: true })
    assert.deepEqual(buckets.take(limit({ burst: 0 }), PLAIN, undefined, 500), { isAllowed: false, retryAfterMs: 3_600_000 })
    assert.deepEqual(buckets.take(limit({ requests: 0, burst: 0.5 }), PLAIN, undefined, 500), { isAllowed: false, retryAfterMs: 3_600_000 })
  })

  it('never has more buckets than it may, and a flood of values wins no fresh tokens', () => {
    const buckets = new TokenBuckets(100)
    const by = limit({ keys: [USER], requests: 1, perMs: 60_000, burst: 2 })
    assert.equal(passed(buckets, by, 0, user('victim')), 2)
    let flood = 0
    for (let i = 0; i < 5000; i++) flood += passed(buckets, by, 1, user(`flood ${i}`), undefined, 2)
    assert.equal(buckets.size, 100)
    // 99 buckets of their own, and one that all others share.
    assert.equal(flood, 100 * 2)
    assert.equal(passed(buckets, by, 1, user('victim')), 0)
  })

  it('drops full buckets first, so that new values get their own again', () => {
    const buckets = new TokenBuckets(50)
    const by = limit({ keys: [USER], requests: 100, perMs: 1000, burst: 2 })
    for (let i = 0; i < 50; i++) passed(buckets, by, 0, user(`early ${i}`))
    assert.deepEqual(
      [0, 1, 2].map((i) => passed(buckets, by, 1000, user(`late ${i}`))),
      [2, 2, 2],
    )
    assert.ok(buckets.size < 50)
  })

  it('lets no more pass in any span than the burst and the rate', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(500), { minLength: 1, maxLength: 60 }),
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 5 }),
        (gaps, requests, burst) => {
          const buckets = new TokenBuckets(4)
          const by = limit({ requests, burst })
          const times: number[] = []
          let now = 0
          for (const gap of gaps) {
            now += gap
            if (buckets.take(by, PLAIN, undefined, now).isAllowed) times.push(now)
          }
          for (const [first, start] of times.entries())
            for (const [last, end] of times.entries())
              if (last >= first) assert.ok(last - first + 1 <= burst + ((end - start) * requests) / 1000 + 1e-6)
        },
      ),
    )
  })

  it('answers 429 with Retry-After in whole seconds, and gRPC in its own way', () => {
    assert.deepEqual(rateLimited(PLAIN, 1), { status: 429, headers: [['retry-after', '1']] })
    assert.deepEqual(rateLimited(PLAIN, 1001), { status: 429, headers: [['retry-after', '2']] })
    const call = requestOf('/s/m', { 'content-type': 'application/grpc' }, { method: 'POST' })
    assert.deepEqual(rateLimited(call, 500), {
      status: 200,
      headers: [
        ['content-type', 'application/grpc'],
        ['grpc-status', '8'],
        ['grpc-message', 'rate limited'],
        ['retry-after', '1'],
      ],
    })
  })
})
