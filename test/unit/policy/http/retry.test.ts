// Which tries are repeated, how long the pauses are, and how many retries the budget lets through.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { RetryCondition, RetryPolicy } from '../../../../model/route.ts'
import type { TryOutcome } from '../../../../policy/http/retry.ts'
import { RetryBudget, retryPauseMs, shouldRetry } from '../../../../policy/http/retry.ts'
import { requestOf } from '../../../support/request-values.ts'

const policy = (change: Partial<RetryPolicy>): RetryPolicy => ({
  attempts: 2,
  codes: [],
  conditions: [],
  backoffMs: 25,
  perTryMs: undefined,
  ...change,
})
const on = (...conditions: readonly RetryCondition[]): RetryPolicy => policy({ conditions })
const codes = (...list: readonly number[]): RetryPolicy => policy({ codes: list })
const status = (code: number): TryOutcome => ({ status: code, wasSent: true })
const grpc = (code: number): TryOutcome => ({ status: 200, grpcStatus: code, wasSent: true })
const failed = (failure: NonNullable<TryOutcome['failure']>, wasSent = true): TryOutcome => ({ failure, wasSent })
const EVERYTHING: RetryPolicy = policy({
  codes: [500, 503],
  conditions: ['connect-failure', 'refused-stream', 'reset', 'reset-before-request', 'gateway-error', '5xx', 'unavailable'],
})

interface Row {
  readonly name: string
  readonly given: readonly [RetryPolicy, TryOutcome, method?: string, retriesDone?: number]
  readonly want: boolean
}

const CONDITIONS: readonly Row[] = [
  { name: 'a code that is named', given: [codes(500, 503), status(503)], want: true },
  { name: 'a code that is not', given: [codes(500, 503), status(502)], want: false },
  { name: 'success', given: [EVERYTHING, status(200)], want: false },
  { name: 'nothing named', given: [policy({}), status(503)], want: false },
  { name: 'nothing named, failed', given: [policy({}), failed('connect', false)], want: false },
  { name: 'code 503 named, connect failed', given: [codes(503), failed('connect', false)], want: true },
  { name: 'code 503 named, reset', given: [codes(503), failed('reset')], want: true },
  { name: 'code 504 named, timed out', given: [codes(504), failed('timeout')], want: true },
  { name: 'code 503 named, timed out', given: [codes(503), failed('timeout')], want: false },
  { name: 'connect-failure', given: [on('connect-failure'), failed('connect', false)], want: true },
  { name: 'connect-failure: reset', given: [on('connect-failure'), failed('reset')], want: false },
  { name: 'connect-failure: 503', given: [on('connect-failure'), status(503)], want: false },
  { name: 'refused-stream', given: [on('refused-stream'), failed('refused', false)], want: true },
  { name: 'refused-stream: connect', given: [on('refused-stream'), failed('connect', false)], want: false },
  { name: 'reset', given: [on('reset'), failed('reset')], want: true },
  { name: 'reset: timeout', given: [on('reset'), failed('timeout')], want: true },
  { name: 'reset: connect', given: [on('reset'), failed('connect', false)], want: true },
  { name: 'reset: 503', given: [on('reset'), status(503)], want: false },
  { name: 'reset-before-request', given: [on('reset-before-request'), failed('reset', false)], want: true },
  { name: 'reset-before-request: after', given: [on('reset-before-request'), failed('reset')], want: false },
  { name: 'gateway-error: 502', given: [on('gateway-error'), status(502)], want: true },
  { name: 'gateway-error: 504', given: [on('gateway-error'), status(504)], want: true },
  { name: 'gateway-error: 500', given: [on('gateway-error'), status(500)], want: false },
  { name: 'gateway-error: 505', given: [on('gateway-error'), status(505)], want: false },
  { name: 'gateway-error: reset', given: [on('gateway-error'), failed('reset')], want: true },
  { name: '5xx: 500', given: [on('5xx'), status(500)], want: true },
  { name: '5xx: 599', given: [on('5xx'), status(599)], want: true },
  { name: '5xx: 499', given: [on('5xx'), status(499)], want: false },
  { name: '5xx: timeout', given: [on('5xx'), failed('timeout')], want: true },
  { name: 'retriable-4xx: 409', given: [on('retriable-4xx'), status(409)], want: true },
  { name: 'retriable-4xx: 404', given: [on('retriable-4xx'), status(404)], want: false },
  { name: 'retriable-4xx: 429', given: [on('retriable-4xx'), status(429)], want: false },
  { name: 'cancelled', given: [on('cancelled'), grpc(1)], want: true },
  { name: 'deadline-exceeded', given: [on('deadline-exceeded'), grpc(4)], want: true },
  { name: 'resource-exhausted', given: [on('resource-exhausted'), grpc(8)], want: true },
  { name: 'internal', given: [on('internal'), grpc(13)], want: true },
  { name: 'unavailable', given: [on('unavailable'), grpc(14)], want: true },
  { name: 'unavailable: internal', given: [on('unavailable'), grpc(13)], want: false },
  { name: 'unavailable: OK', given: [on('unavailable'), grpc(0)], want: false },
  { name: 'unavailable: HTTP 503', given: [on('unavailable'), status(503)], want: false },
  { name: 'several: one holds', given: [on('unavailable', 'connect-failure', '5xx'), status(500)], want: true },
  { name: 'attempts left', given: [on('5xx'), status(500), 'GET', 1], want: true },
  { name: 'attempts done', given: [on('5xx'), status(500), 'GET', 2], want: false },
  { name: 'no attempts', given: [policy({ attempts: 0, codes: [500] }), status(500)], want: false },
]

const SAFETY: readonly Row[] = [
  { name: 'GET', given: [EVERYTHING, status(503), 'GET'], want: true },
  { name: 'HEAD', given: [EVERYTHING, status(503), 'HEAD'], want: true },
  { name: 'OPTIONS', given: [EVERYTHING, status(503), 'OPTIONS'], want: true },
  { name: 'TRACE', given: [EVERYTHING, status(503), 'TRACE'], want: true },
  { name: 'PUT', given: [EVERYTHING, status(503), 'PUT'], want: true },
  { name: 'DELETE', given: [EVERYTHING, status(503), 'DELETE'], want: true },
  { name: 'POST, answered', given: [EVERYTHING, status(503), 'POST'], want: false },
  { name: 'PATCH, answered', given: [EVERYTHING, status(503), 'PATCH'], want: false },
  { name: 'a method nobody knows', given: [EVERYTHING, status(503), 'PURGE'], want: false },
  { name: 'methods have a case', given: [EVERYTHING, status(503), 'get'], want: false },
  { name: 'POST, reset after bytes', given: [EVERYTHING, failed('reset'), 'POST'], want: false },
  { name: 'POST, timed out after bytes', given: [EVERYTHING, failed('timeout'), 'POST'], want: false },
  { name: 'POST, refused after bytes', given: [EVERYTHING, failed('refused'), 'POST'], want: false },
  { name: 'POST, gRPC status after bytes', given: [EVERYTHING, grpc(14), 'POST'], want: false },
  { name: 'POST, not connected', given: [EVERYTHING, failed('connect', false), 'POST'], want: true },
  { name: 'POST, refused unseen', given: [EVERYTHING, failed('refused', false), 'POST'], want: true },
  { name: 'POST, reset before a byte', given: [EVERYTHING, failed('reset', false), 'POST'], want: true },
  { name: 'POST, not connected, not named', given: [on('unavailable'), failed('connect', false), 'POST'], want: false },
]

const PAUSES: readonly {
  readonly name: string
  readonly given: readonly [backoffMs: number, done: number, random: number]
  readonly want: number
}[] = [
  { name: 'first, least', given: [25, 0, 0], want: 25 },
  { name: 'first, middle', given: [25, 0, 0.5], want: 37.5 },
  { name: 'first, most', given: [25, 0, 1], want: 50 },
  { name: 'second, most', given: [25, 1, 1], want: 100 },
  { name: 'third, most', given: [25, 2, 1], want: 200 },
  { name: 'fourth: ten times', given: [25, 3, 1], want: 250 },
  { name: 'hundredth: ten times', given: [25, 99, 1], want: 250 },
  { name: 'never below the least', given: [1000, 99, 0], want: 1000 },
  { name: 'no pause', given: [0, 3, 0.9], want: 0 },
]

const retries = ([by, outcome, method = 'GET', done = 0]: Row['given']): boolean =>
  shouldRetry(by, requestOf('/', {}, { method }), outcome, done)

describe('retry', () => {
  for (const row of CONDITIONS) it(row.name, () => assert.equal(retries(row.given), row.want))
  for (const row of SAFETY) it(`${row.want ? 'repeats' : 'does not repeat'} ${row.name}`, () => assert.equal(retries(row.given), row.want))
  for (const row of PAUSES)
    it(`pause: ${row.name}`, () =>
      assert.equal(
        retryPauseMs(policy({ backoffMs: row.given[0] }), row.given[1], () => row.given[2]),
        row.want,
      ))

  it('never repeats what is not idempotent once a byte was sent, whatever the policy says', () => {
    const conditions = fc.subarray<RetryCondition>([...EVERYTHING.conditions, 'retriable-4xx', 'cancelled', 'internal'])
    const outcome = fc.record(
      {
        status: fc.integer({ min: 200, max: 599 }),
        grpcStatus: fc.nat(16),
        failure: fc.constantFrom('connect' as const, 'refused' as const, 'reset' as const, 'timeout' as const),
        wasSent: fc.constant(true),
      },
      { requiredKeys: ['wasSent'] },
    )
    fc.assert(
      fc.property(
        conditions,
        fc.array(fc.integer({ min: 200, max: 599 })),
        outcome,
        fc.constantFrom('POST', 'PATCH', 'LOCK'),
        (list, named, end, method) => {
          assert.equal(retries([policy({ attempts: 9, conditions: list, codes: named }), end, method]), false)
        },
      ),
    )
  })
})

describe('retry budget', () => {
  const count = (budget: RetryBudget, nowMs: number, most = 1000): number => {
    let taken = 0
    while (taken < most && budget.take(nowMs)) taken++
    return taken
  }
  const requests = (budget: RetryBudget, many: number, nowMs: number): void => {
    for (let i = 0; i < many; i++) budget.request(nowMs)
  }

  it('allows a share of the requests', () => {
    const budget = new RetryBudget(20, 0)
    assert.equal(count(budget, 0), 0)
    requests(budget, 99, 0)
    assert.equal(count(budget, 0), 19)
    requests(budget, 1, 500)
    assert.equal(count(budget, 900), 1)
  })

  it('allows the minimum without requests', () => {
    const budget = new RetryBudget(20, 3)
    assert.equal(count(budget, 5000), 30)
    assert.equal(count(budget, 14_999), 0)
    assert.equal(count(budget, 15_000), 30)
  })

  it('forgets what is older than ten seconds', () => {
    const budget = new RetryBudget(10, 0)
    requests(budget, 100, 1000)
    requests(budget, 100, 6000)
    assert.equal(count(budget, 10_999), 20)
    assert.equal(count(budget, 11_000), 0)
    requests(budget, 100, 21_500)
    assert.equal(count(budget, 21_500), 10)
  })

  it('is empty after a long pause, and steady when the clock goes back', () => {
    const budget = new RetryBudget(10, 0)
    requests(budget, 1000, 3000)
    requests(budget, 100, 2000)
    assert.equal(count(budget, 1000), 110)
    assert.equal(count(budget, 10 ** 9), 0)
  })

  it('allows nothing at zero', () => {
    const budget = new RetryBudget(0, 0)
    requests(budget, 1000, 0)
    assert.equal(count(budget, 0), 0)
  })

  it('counts as a list of all events would', () => {
    const event = fc.record({ afterMs: fc.nat(3000), isRequest: fc.boolean() })
    fc.assert(
      fc.property(fc.array(event, { maxLength: 200 }), fc.integer({ min: 0, max: 100 }), fc.nat(2), (events, percent, least) => {
        const budget = new RetryBudget(percent, least)
        const seen: { second: number; isRequest: boolean }[] = []
        let now = 0
        for (const { afterMs, isRequest } of events) {
          now += afterMs
          const second = Math.floor(now / 1000)
          const inWindow = (wanted: boolean): number => seen.filter((one) => one.isRequest === wanted && one.second > second - 10).length
          if (isRequest) budget.request(now)
          else {
            const isAllowed = inWindow(false) + 1 <= (inWindow(true) * percent) / 100 + least * 10
            assert.equal(budget.take(now), isAllowed)
            if (!isAllowed) continue
          }
          seen.push({ second, isRequest })
        }
      }),
    )
  })
})
