// The rate limit service's messages: what goes out is Envoy's, what comes in is hostile.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { decodeRateLimitAnswer, encodeRateLimitCall } from '../../../http/grpc-rate-limit.ts'
import { RateLimitResponse_Code as Code, RateLimitResponseSchema } from '../../../proto/ratelimit_pb.ts'
import { encodeMessage } from '../../../proto/wire.ts'

const framed = (message: Buffer): Buffer => {
  const prefix = Buffer.alloc(5)
  prefix.writeUInt32BE(message.length, 1)
  return Buffer.concat([prefix, message])
}
const reset = (seconds: bigint, code: Code = Code.OVER_LIMIT) => ({ code, durationUntilReset: { seconds, nanos: 500_000_000 } })

describe('http/grpc-rate-limit', () => {
  it('asks in the bytes of envoy.service.ratelimit.v3', () => {
    const call = encodeRateLimitCall('shop', [[{ key: 'k', value: 'v' }]])
    // domain = 1, descriptors = 2 { entries = 1 { key = 1, value = 2 } }
    assert.equal(call.toString('hex'), `00${'00000010'}0a0473686f70120${'80a060a016b120176'}`)
  })

  it('reads OK and OVER_LIMIT, with the longest wait of the limits that were passed', () => {
    assert.deepEqual(decodeRateLimitAnswer(framed(encodeMessage(RateLimitResponseSchema, { overallCode: Code.OK }))), {
      ok: true,
      value: { isAllowed: true },
    })
    const statuses = [reset(2n), reset(7n), reset(30n, Code.OK)]
    const over = decodeRateLimitAnswer(framed(encodeMessage(RateLimitResponseSchema, { overallCode: Code.OVER_LIMIT, statuses })))
    assert.deepEqual(over, { ok: true, value: { isAllowed: false, retryAfterMs: 7500 } })
    const bare = encodeMessage(RateLimitResponseSchema, { overallCode: Code.OVER_LIMIT, statuses: [reset(-1n), reset(1n << 60n)] })
    assert.deepEqual(decodeRateLimitAnswer(framed(bare)), { ok: true, value: { isAllowed: false, retryAfterMs: undefined } })
  })

  it('takes nothing else for an answer', () => {
    const good = framed(encodeMessage(RateLimitResponseSchema, { overallCode: Code.OK }))
    const compressed = Buffer.from(good)
    compressed[0] = 1
    for (const bad of [
      Buffer.alloc(0),
      good.subarray(0, -1),
      Buffer.concat([good, good]),
      compressed,
      framed(Buffer.alloc(0)),
      framed(Buffer.of(0xff)),
    ])
      assert.equal(decodeRateLimitAnswer(bad).ok, false, bad.toString('hex'))
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.boolean(), (bytes, isFramed) => {
        const body = Buffer.from(bytes)
        decodeRateLimitAnswer(isFramed ? framed(body) : body)
      }),
    )
  })
})
