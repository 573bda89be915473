// What is remembered of token reviews, for how long, and what never is.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { BAD_MS, GOOD_MS, REVIEWS_AT_ONCE, REVIEWS_WAITING, TokenCache } from '../../../../controlplane/ca/token-cache.ts'
import type { TokenReviewStatus } from '../../../../model/object.ts'
import { FakeClock } from '../../../support/fake-clock.ts'

const START_MS = 1_800_000_000_000
const USER = { namespace: 'weft-system', serviceAccount: 'ztunnel', podName: 'z', podUid: 'z-1', nodeName: 'node-1' }
const GOOD: TokenReviewStatus = { authenticated: true, user: USER }

const tokenWith = (claims: unknown): string => `h.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.s`

class Stage {
  readonly clock = new FakeClock(START_MS)
  readonly asked: string[] = []
  readonly from: string[] = []
  answer: () => Promise<TokenReviewStatus> = () => Promise.resolve(GOOD)
  readonly cache = new TokenCache({
    reviewToken: (token, audience) => {
      this.asked.push(`${audience} ${token.slice(0, 8)}`)
      return this.answer()
    },
    clock: this.clock,
    onReview: (from) => this.from.push(from),
  })

  /** A token that ends in `seconds`. */
  token(seconds: number, more: object = {}): string {
    return tokenWith({ exp: this.clock.nowMs() / 1000 + seconds, ...more })
  }
}

describe('controlplane/ca/token-cache', () => {
  it('asks once a minute for a good token', async () => {
    const stage = new Stage()
    const token = stage.token(3600)
    for (let i = 0; i < 59; i++) {
      assert.deepEqual(await stage.cache.review(token, 'istio-ca'), GOOD)
      await stage.clock.advance(1000)
    }
    assert.equal(stage.asked.length, 1)
    await stage.clock.advance(GOOD_MS - 59_000)
    await stage.cache.review(token, 'istio-ca')
    assert.equal(stage.asked.length, 2)
    assert.deepEqual([...new Set(stage.from)], ['api', 'cache'])
  })

  it('never believes a token past its own end', async () => {
    const stage = new Stage()
    const token = stage.token(10)
    await stage.cache.review(token, 'istio-ca')
    await stage.clock.advance(9999)
    await stage.cache.review(token, 'istio-ca')
    assert.equal(stage.asked.length, 1)
    stage.answer = () => Promise.resolve({ authenticated: false, error: 'token has expired' })
    await stage.clock.advance(1)
    assert.equal((await stage.cache.review(token, 'istio-ca')).authenticated, false)
  })

  const FORGETFUL: readonly { readonly name: string; readonly token: string }[] = [
    { name: 'that is no JWT', token: 'opaque' },
    { name: 'whose payload is no JSON', token: 'a.b.c' },
    { name: 'without an end', token: tokenWith({}) },
    { name: 'whose end is text', token: tokenWith({ exp: 'later' }) },
    { name: 'whose payload is null', token: tokenWith(null) },
    { name: 'that has ended, though the API server still takes it', token: tokenWith({ exp: START_MS / 1000 - 1 }) },
  ]
  for (const { name, token } of FORGETFUL) {
    it(`asks each time about a token ${name}`, async () => {
      const stage = new Stage()
      for (let i = 0; i < 3; i++) assert.equal((await stage.cache.review(token, 'istio-ca')).authenticated, true)
      assert.equal(stage.asked.length, 3)
    })
  }

  it('keeps audiences and tokens apart', async () => {
    const stage = new Stage()
    const token = stage.token(3600)
    await stage.cache.review(token, 'istio-ca')
    await stage.cache.review(token, 'other')
    await stage.cache.review(`${token}x`, 'istio-ca')
    await stage.cache.review(token, 'istio-cah')
    assert.equal(stage.asked.length, 4)
  })

  it('remembers a refusal for a second only', async () => {
    const stage = new Stage()
    const token = stage.token(3600)
    stage.answer = () => Promise.resolve({ authenticated: false, error: 'no' })
    await stage.cache.review(token, 'istio-ca')
    await stage.cache.review(token, 'istio-ca')
    assert.equal(stage.asked.length, 1)
    stage.answer = () => Promise.resolve(GOOD)
    await stage.clock.advance(BAD_MS)
    assert.equal((await stage.cache.review(token, 'istio-ca')).authenticated, true)
  })

  it('remembers no failure to ask', async () => {
    const stage = new Stage()
    const token = stage.token(3600)
    stage.answer = () => Promise.reject(new Error('away'))
    await assert.rejects(stage.cache.review(token, 'istio-ca'), /away/)
    stage.answer = () => Promise.resolve(GOOD)
    assert.equal((await stage.cache.review(token, 'istio-ca')).authenticated, true)
    assert.deepEqual(stage.from, ['failed', 'api'])
  })

  it('asks once for many that come together', async () => {
    const stage = new Stage()
    const token = stage.token(3600)
    const all = await Promise.all(Array.from({ length: 50 }, () => stage.cache.review(token, 'istio-ca')))
    assert.equal(all.length, 50)
    assert.equal(stage.asked.length, 1)
  })

  it('has few questions under way: some wait for their turn, the rest of a flood is turned away', async () => {
    const stage = new Stage()
    const { promise, resolve } = Promise.withResolvers<TokenReviewStatus>()
    stage.answer = () => promise
    const most = REVIEWS_AT_ONCE + REVIEWS_WAITING
    const flood = Array.from({ length: most + 40 }, (_, i) => stage.cache.review(`made-up-${i}`, 'istio-ca'))
    const settled = Promise.allSettled(flood)
    assert.equal(stage.asked.length, REVIEWS_AT_ONCE)
    resolve({ authenticated: false })
    const turnedAway = (await settled).filter((result) => result.status === 'rejected' && result.reason.code === 'BUSY')
    assert.equal(turnedAway.length, 40)
    assert.equal(stage.asked.length, most)
    assert.equal((await stage.cache.review(stage.token(60), 'istio-ca')).authenticated, false, 'and it goes on after that')
  })

  it('stays small, and asks nothing about a token without end', async () => {
    const stage = new Stage()
    stage.answer = () => Promise.resolve({ authenticated: false })
    for (let i = 0; i < 20_100; i++) await stage.cache.review(`made-up-${i}`, 'istio-ca')
    assert.equal(stage.cache.size, 20_000)
    const { length } = stage.asked
    assert.equal((await stage.cache.review('x'.repeat(16_385), 'istio-ca')).error, 'the token is too long')
    assert.equal(stage.asked.length, length)
  })
})
