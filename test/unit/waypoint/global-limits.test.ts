// A waypoint and a gRPC rate limit service of the mesh: what it is asked, over what, and what its answers do to requests.
import assert from 'node:assert/strict'
import type { AddressInfo } from 'node:net'
import net from 'node:net'
import { fromBinary, toBinary, create } from '@bufbuild/protobuf'
import { Server, ServerCredentials, status as grpcStatus } from '@grpc/grpc-js'
import type { handleUnaryCall } from '@grpc/grpc-js'
import { SHOULD_RATE_LIMIT } from '../../../http/grpc-rate-limit.ts'
import type { GlobalRateLimit, Listener } from '../../../model/route.ts'
import type { RateLimitRequest, RateLimitResponse } from '../../../proto/ratelimit_pb.ts'
import { RateLimitRequestSchema, RateLimitResponse_Code as Code, RateLimitResponseSchema } from '../../../proto/ratelimit_pb.ts'
import { listenerOf } from '../../support/route-values.ts'
import { route } from '../../support/flow-case.ts'
import { serviceOf } from '../../support/mesh-values.ts'
import { podOf } from '../../support/waypoint-lab.ts'
import { CLIENT_ID, WaypointWorld } from '../../support/waypoint-world.ts'

const LIMITS = 'shop/limits.shop.svc.cluster.local'
type Answer = 'ok' | 'over' | 'error' | 'silence'

/** A rate limit service in this process. */
class LimitServer {
  readonly asked: RateLimitRequest[] = []
  readonly #server = new Server()
  answer: Answer = 'ok'
  port = 0

  async start(): Promise<this> {
    const call: handleUnaryCall<RateLimitRequest, RateLimitResponse> = ({ request }, done) => {
      this.asked.push(request)
      if (this.answer === 'silence') return
      if (this.answer === 'error') return done({ code: grpcStatus.UNAVAILABLE })
      const isOver = this.answer === 'over'
      const statuses = isOver ? [{ code: Code.OVER_LIMIT, durationUntilReset: { seconds: 41n, nanos: 1 } }] : []
      done(null, create(RateLimitResponseSchema, { overallCode: isOver ? Code.OVER_LIMIT : Code.OK, statuses }))
    }
    const method = {
      path: SHOULD_RATE_LIMIT,
      requestStream: false,
      responseStream: false,
      requestSerialize: () => Buffer.alloc(0),
      requestDeserialize: (bytes: Buffer) => fromBinary(RateLimitRequestSchema, bytes),
      responseSerialize: (value: RateLimitResponse) => Buffer.from(toBinary(RateLimitResponseSchema, value)),
      responseDeserialize: (bytes: Buffer) => fromBinary(RateLimitResponseSchema, bytes),
    }
    this.#server.addService({ shouldRateLimit: method }, { shouldRateLimit: call })
    this.port = await new Promise<number>((resolve, reject) =>
      this.#server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
        error === null ? resolve(port) : reject(error),
      ),
    )
    return this
  }

  [Symbol.dispose](): void {
    this.#server.forceShutdown()
  }
}

const limitOf = (change: Partial<GlobalRateLimit> = {}): GlobalRateLimit => ({
  policy: 'shop/rl',
  service: { service: LIMITS, port: 8081, subset: undefined },
  domain: 'shop',
  descriptors: [
    [
      { kind: 'identity', key: 'source_identity' },
      { kind: 'route', key: 'route' },
    ],
    [
      { kind: 'text', key: 'plan', value: 'free' },
      { kind: 'header', key: 'user', name: 'x-user' },
    ],
  ],
  timeoutMs: 5000,
  failsOpen: false,
  ...change,
})

/** A world whose service is limited, and the service that limits it. */
async function worldWith(limits: LimitServer, listener: Partial<Listener>): Promise<WaypointWorld> {
  const world = await WaypointWorld.start()
  const services = new Map([[LIMITS, [{ servicePort: 8081, targetPort: limits.port }]]] as const)
  const pod = podOf('limits-1', '127.0.0.1', [], { services, serviceAccount: 'reviews-1', uid: 'limits-1' })
  const ports = [{ servicePort: 8081, targetPort: limits.port, appProtocol: 'UNKNOWN' as const }]
  const { config } = world.waypoint.context
  config.apply({
    services: { upserts: [serviceOf('limits', ['10.96.0.9'], { ports })], removes: [] },
    workloads: { upserts: [pod], removes: [] },
  })
  config.applyListeners({ upserts: [listenerOf('shop/waypoint', 'reviews', listener)], removes: [] })
  return world
}

const outcomes = async (world: WaypointWorld): Promise<string[]> => {
  const { text } = await world.page('stats', '/metrics')
  return [...text.matchAll(/^weft_global_rate_limits_total\{policy="shop\/rl",outcome="(\w+)"\} (\d+)$/gm)].map(
    ([, name, count]) => `${name} ${count}`,
  )
}

describe('global limits', function () {
  this.timeout('20s')

  it('asks the service over HBONE as the waypoint, and passes or limits as it says', async () => {
    using limits = await new LimitServer().start()
    await using world = await worldWith(limits, { rateLimits: [limitOf()] })
    assert.equal((await world.request('/', { headers: { 'x-user': 'jo' } })).status, 200)
    const [asked] = limits.asked
    assert.equal(asked?.domain, 'shop')
    assert.deepEqual(
      asked?.descriptors.map(({ entries }) => entries.map(({ key, value }) => `${key}=${value}`)),
      [
        [`source_identity=${CLIENT_ID}`, 'route=default'],
        ['plan=free', 'user=jo'],
      ],
    )
    const connect = world.connects.find(({ authority }) => authority === `127.0.0.1:${limits.port}`)
    assert.deepEqual([connect?.extra, connect?.baggage], [undefined, undefined])

    limits.answer = 'over'
    const limited = await world.request('/')
    assert.deepEqual([limited.status, limited.headers['retry-after'], limited.text], [429, '42', 'rate limited'])
    assert.equal(limits.asked[1]?.descriptors.length, 1, 'a descriptor without its header is left out')
    assert.deepEqual((await outcomes(world)).sort(), ['allowed 1', 'limited 1'])
    const line = world.lines.find((each) => each.includes('GLOBAL_RATE_LIMITED')) ?? '{}'
    assert.deepEqual([JSON.parse(line).response_flags, JSON.parse(line).response_code], ['RL', 429])
    assert.equal(world.connects.filter(({ authority }) => authority === connect?.authority).length, 1, 'one connection for both')
  })

  it('limits a rule alone, and asks nothing of a request without descriptors', async () => {
    using limits = await new LimitServer().start()
    limits.answer = 'over'
    const descriptors = [[{ kind: 'header' as const, key: 'user', name: 'x-user' }]]
    const routes = [
      route(
        { rateLimits: [limitOf({ descriptors })] },
        { path: { kind: 'prefix', value: '/paid', ignoresCase: false } },
        'HTTPRoute/shop/r/paid',
      ),
      route(),
    ]
    await using world = await worldWith(limits, { routes })
    assert.equal((await world.request('/', { headers: { 'x-user': 'jo' } })).status, 200)
    assert.equal((await world.request('/paid')).status, 200)
    assert.equal(limits.asked.length, 0)
    assert.equal((await world.request('/paid', { headers: { 'x-user': 'jo' } })).status, 429)
  })

  for (const [name, answer, timeoutMs] of [
    ['says nothing in time', 'silence', 200],
    ['answers with an error', 'error', 5000],
  ] as const) {
    it(`a service that ${name}: requests get 500, or pass when it fails open`, async () => {
      using limits = await new LimitServer().start()
      limits.answer = answer
      await using world = await worldWith(limits, { rateLimits: [limitOf({ timeoutMs })] })
      const closed = await world.request('/')
      assert.deepEqual([closed.status, closed.text, closed.headers['retry-after']], [500, 'rate limit service error', undefined])
      assert.ok(world.lines.some((line) => line.includes('"response_flags":"RLSE"')))
      const { config } = world.waypoint.context
      config.applyListeners({
        upserts: [listenerOf('shop/waypoint', 'reviews', { rateLimits: [limitOf({ timeoutMs, failsOpen: true })] })],
        removes: [],
      })
      assert.equal((await world.request('/')).status, 200)
      assert.deepEqual((await outcomes(world)).sort(), ['failed_closed 1', 'failed_open 1'])
    })
  }

  it('a service that is not there fails closed', async () => {
    using limits = await new LimitServer().start()
    const service = { service: 'shop/nobody.shop.svc.cluster.local', port: 80, subset: undefined }
    await using world = await worldWith(limits, { rateLimits: [limitOf({ service })] })
    assert.equal((await world.request('/')).status, 500)
  })

  it('a client that goes away takes its question along', async () => {
    const came = Promise.withResolvers<void>()
    const gone = Promise.withResolvers<void>()
    const sink = net.createServer((socket) => {
      came.resolve()
      socket.on('error', () => undefined).resume()
    })
    await new Promise<void>((resolve) => sink.listen(0, '127.0.0.1', resolve))
    using limits = await new LimitServer().start()
    limits.port = (sink.address() as AddressInfo).port
    await using world = await worldWith(limits, { rateLimits: [limitOf({ timeoutMs: 60_000 })] })
    const stream = await world.tunnel('10.96.0.1:80')
    stream.on('error', () => undefined).on('close', () => gone.resolve())
    stream.write('GET / HTTP/1.1\r\nhost: reviews\r\n\r\n')
    await came.promise
    stream.destroy()
    await gone.promise
    while (!world.lines.some((line) => line.includes('"response_flags":"DC"'))) await new Promise((resolve) => setTimeout(resolve, 5))
    assert.deepEqual(await outcomes(world), [])
    sink.close()
  })
})
