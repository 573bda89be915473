// A rate limit service in a pod: node limit-server.ts PORT MOST. Lets the first MOST hits of each descriptor pass. Its gRPC port is
// open as soon as the pod is ready.
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import type { handleUnaryCall } from '@grpc/grpc-js'
import { SHOULD_RATE_LIMIT } from '../../http/grpc-rate-limit.ts'
import type { RateLimitRequest, RateLimitResponse } from '../../proto/ratelimit_pb.ts'
import { RateLimitRequestSchema, RateLimitResponse_Code as Code, RateLimitResponseSchema } from '../../proto/ratelimit_pb.ts'

const [port = '', most = ''] = process.argv.slice(2)
const hits = new Map<string, number>()

const shouldRateLimit: handleUnaryCall<RateLimitRequest, RateLimitResponse> = ({ request: { domain, descriptors } }, done) => {
  let isOver = false
  for (const { entries } of descriptors) {
    const name = `${domain} ${entries.map(({ key, value }) => `${key}=${value}`).join(' ')}`
    const count = (hits.get(name) ?? 0) + 1
    hits.set(name, count)
    if (count > Number(most)) isOver = true
  }
  const statuses = isOver ? [{ code: Code.OVER_LIMIT, durationUntilReset: { seconds: 30n, nanos: 0 } }] : []
  done(null, create(RateLimitResponseSchema, { overallCode: isOver ? Code.OVER_LIMIT : Code.OK, statuses }))
}

const server = new Server()
server.addService(
  {
    shouldRateLimit: {
      path: SHOULD_RATE_LIMIT,
      requestStream: false,
      responseStream: false,
      requestSerialize: (value: RateLimitRequest) => Buffer.from(toBinary(RateLimitRequestSchema, value)),
      requestDeserialize: (bytes: Buffer) => fromBinary(RateLimitRequestSchema, bytes),
      responseSerialize: (value: RateLimitResponse) => Buffer.from(toBinary(RateLimitResponseSchema, value)),
      responseDeserialize: (bytes: Buffer) => fromBinary(RateLimitResponseSchema, bytes),
    },
  },
  { shouldRateLimit },
)
server.bindAsync(`[::]:${port}`, ServerCredentials.createInsecure(), (error) => {
  if (error !== null) throw error
})
