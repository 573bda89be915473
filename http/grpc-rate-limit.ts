// Messages of Envoy's rate limit service (envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit) as the one gRPC frame that a
// unary call has each way. Answers are hostile text until decoded. Called by waypoint/global-limits.ts.
import { faults, type Result, success } from '../kit/error.ts'
import { RateLimitRequestSchema, RateLimitResponse_Code as Code, RateLimitResponseSchema } from '../proto/ratelimit_pb.ts'
import { decodeMessage, encodeMessage } from '../proto/wire.ts'

/** Path of the call. */
export const SHOULD_RATE_LIMIT = '/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit'
/** Longer answers are not read: a real one is a few hundred bytes. */
export const MAX_ANSWER_BYTES = 64 * 1024

/** Keys and values that are counted together. */
export type Descriptor = readonly { readonly key: string; readonly value: string }[]

/** `retryAfterMs` is when the last of the limits that were passed begins anew; undefined = the service does not say. */
export type RateLimitAnswer = { readonly isAllowed: true } | { readonly isAllowed: false; readonly retryAfterMs: number | undefined }

/** Length of what stands before a gRPC message: a flag and the message's length. */
const PREFIX_BYTES = 5
/** No limit has a longer unit than a year. */
const MAX_RETRY_MS = 366 * 24 * 3_600_000

/** The body of a request for one hit of each descriptor. */
export function encodeRateLimitCall(domain: string, descriptors: readonly Descriptor[]): Buffer {
  const message = encodeMessage(RateLimitRequestSchema, {
    domain,
    descriptors: descriptors.map((entries) => ({ entries: entries.map(({ key, value }) => ({ key, value })) })),
  })
  const prefix = Buffer.alloc(PREFIX_BYTES)
  prefix.writeUInt32BE(message.length, 1)
  return Buffer.concat([prefix, message])
}

/** Reads the body of an answer whose gRPC status is OK. Never throws. */
export function decodeRateLimitAnswer(body: Buffer): Result<RateLimitAnswer> {
  if (body.length < PREFIX_BYTES || body[0] !== 0) return faults('not one uncompressed gRPC message')
  if (body.readUInt32BE(1) !== body.length - PREFIX_BYTES) return faults('the length of the gRPC message is not that of the body')
  const message = decodeMessage(RateLimitResponseSchema, body.subarray(PREFIX_BYTES), MAX_ANSWER_BYTES)
  if (!message.ok) return message
  const { overallCode, statuses } = message.value
  if (overallCode === Code.OK) return success({ isAllowed: true })
  if (overallCode !== Code.OVER_LIMIT) return faults(`overall_code is ${overallCode}`)
  let retryAfterMs: number | undefined
  for (const { code, durationUntilReset } of statuses) {
    if (code !== Code.OVER_LIMIT || durationUntilReset === undefined) continue
    const ms = Number(durationUntilReset.seconds) * 1000 + durationUntilReset.nanos / 1e6
    if (ms >= 0 && ms <= MAX_RETRY_MS) retryAfterMs = Math.max(retryAfterMs ?? 0, ms)
  }
  return success({ isAllowed: false, retryAfterMs })
}
