// What a collector sees of requests through the proxy loop: one connected trace, with the names that Istio's dashboards ask for.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { Registry } from 'prom-client'
import { systemClock } from '../../../kit/clock.ts'
import { createLog } from '../../../kit/log.ts'
import { headerOf } from '../../../model/http.ts'
import type { HeaderField } from '../../../model/http.ts'
import type { Route } from '../../../model/route.ts'
import { otlpExporter } from '../../../telemetry/trace-export.ts'
import { Tracing } from '../../../telemetry/trace.ts'
import { readSettings } from '../../../waypoint/settings.ts'
import { resourceOf } from '../../../waypoint/tracing.ts'
import { ANSWER, GRPC, RATINGS, retry, route } from '../../support/flow-case.ts'
import { OtlpReceiver } from '../../support/otlp-receiver.ts'
import type { ReceivedSpan } from '../../support/otlp-receiver.ts'
import { turns, WaypointLab, waypointSettings } from '../../support/waypoint-lab.ts'
import type { FakeBody, FakeUpstreamRequest, LabOptions } from '../../support/waypoint-lab.ts'

const PARENT = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
const MIRROR = {
  kind: 'mirror' as const,
  mirror: { backend: { service: RATINGS, port: 80, subset: undefined }, numerator: 1, denominator: 1 },
}

interface Traced {
  readonly spans: readonly ReceivedSpan[]
  readonly upstream: readonly FakeUpstreamRequest[]
}

/** Sends one request through a lab that traces, and reads what came of it. */
async function traced(
  routes: readonly Route[],
  request: {
    readonly head?: Parameters<WaypointLab['request']>[0]
    readonly body?: FakeBody
    readonly options?: LabOptions
    readonly ratio?: number
  },
): Promise<Traced> {
  await using receiver = await OtlpReceiver.start()
  const tracing = new Tracing({
    exporter: await otlpExporter(receiver.endpoint, 'http', ''),
    ratio: request.ratio ?? 1,
    resource: resourceOf(waypointSettings()),
    registry: new Registry(),
    log: createLog({ process: 'test', levels: 'off' }),
    clock: systemClock,
    random: () => 0.5,
    randomBytes,
  })
  const lab = new WaypointLab({ listener: { routes }, tracing, ...request.options })
  await lab.request(request.head, request.body)
  await turns()
  await lab.clock.advance(100)
  await turns()
  await tracing.stop(5000)
  return { spans: receiver.spans, upstream: lab.upstream }
}

function parentsOf(upstream: readonly FakeUpstreamRequest[]): (string | undefined)[] {
  return upstream.map(({ head }) => headerOf(head.headers, 'traceparent'))
}

/** A request with a parent, answered by the second try. */
function twoTries(): Promise<Traced> {
  const headers: HeaderField[] = [
    ['traceparent', PARENT],
    ['tracestate', 'v=1'],
    ['user-agent', 'curl'],
    ['x-request-id', 'id-7'],
  ]
  return traced([route({ retry: retry({}) })], {
    head: { path: '/a', query: 'token=secret', headers },
    options: { answer: ANSWER(503, 200) },
  })
}

describe('spans', () => {
  it('join request, two tries and what the endpoints are told', async () => {
    const { spans, upstream } = await twoTries()
    const [first, second, root] = spans
    const attempt = 'router inbound-vip|80|http|reviews.shop.svc.cluster.local egress'
    assert.deepEqual(
      spans.map(({ name }) => name),
      [attempt, attempt, 'reviews.shop.svc.cluster.local:80/*'],
    )
    assert.deepEqual([root?.traceId, root?.parentSpanId], [PARENT.slice(3, 35), PARENT.slice(36, 52)])
    assert.deepEqual([first?.parentSpanId, second?.parentSpanId], [root?.spanId, root?.spanId])
    assert.deepEqual(
      parentsOf(upstream),
      [first, second].map((span) => `00-${span?.traceId}-${span?.spanId}-01`),
    )
    assert.equal(headerOf(upstream[1]?.head.headers ?? [], 'tracestate'), 'v=1')
    assert.deepEqual([first?.error, second?.error, root?.error], ['503', undefined, undefined])
  })

  it('tell of each try where it went and how', async () => {
    const { spans } = await twoTries()
    const names = ['http.response.status_code', 'http.request.resend_count', 'istio.upstream.workload', 'error.type']
    assert.deepEqual(
      spans.slice(0, 2).map(({ attributes }) => names.map((name) => attributes[name])),
      [
        [503, undefined, 'reviews-1', '503'],
        [200, 1, 'reviews-2', undefined],
      ],
    )
  })

  const REQUEST: Readonly<Record<string, unknown>> = {
    'http.request.method': 'GET',
    'url.path': '/a',
    'url.scheme': 'http',
    'server.address': 'reviews.shop.svc.cluster.local',
    'network.protocol.version': '1.1',
    'user_agent.original': 'curl',
    'guid:x-request-id': 'id-7',
    'http.response.status_code': 200,
    response_flags: '-',
    upstream_cluster: 'inbound-vip|80|http|reviews.shop.svc.cluster.local',
    upstream_request_attempt_count: 2,
    'istio.downstream.namespace': 'shop',
    'istio.source_principal': 'spiffe://cluster.local/ns/shop/sa/productpage',
    'istio.upstream.workload': 'reviews-2',
    'istio.upstream.namespace': 'shop',
    'istio.destination_principal': 'spiffe://cluster.local/ns/shop/sa/reviews-2',
    'error.type': undefined,
  }
  it('tell of a request what dashboards ask for, and not its query', async () => {
    const { attributes, resource } = (await twoTries()).spans[2] ?? assert.fail('no span')
    assert.deepEqual(Object.fromEntries(Object.keys(REQUEST).map((name) => [name, attributes[name]])), REQUEST)
    assert.equal(resource['service.name'], 'waypoint.shop')
    assert.ok(!JSON.stringify(attributes).includes('secret'))
  })

  it('show a mirror beside the try', async () => {
    const { spans } = await traced([route({ filters: [MIRROR] })], {})
    const root = spans.find(({ kind }) => kind === 2)
    assert.deepEqual(
      spans.filter(({ parentSpanId }) => parentSpanId === root?.spanId).map(({ name }) => name.split(' ', 1)[0]),
      ['mirror', 'router'],
    )
  })

  it('tell how a gRPC call went', async () => {
    const options: LabOptions = { answer: (request) => request.respond(200, '', [], [['grpc-status', '5']]) }
    const { spans } = await traced([route()], { head: GRPC, options })
    const root = spans.find(({ kind }) => kind === 2)
    assert.deepEqual([root?.attributes['rpc.system'], root?.attributes['rpc.grpc.status_code']], ['grpc', 5])
  })

  it('tell why there was no answer from a backend', async () => {
    const { spans } = await traced([route()], { options: { pods: [] } })
    assert.deepEqual([spans.length, spans[0]?.error, spans[0]?.attributes['http.response.status_code']], [1, 'NO_HEALTHY_UPSTREAM', 503])
  })

  it('are not made for a trace that is not recorded, which still goes on', async () => {
    const { spans, upstream } = await traced([route()], { ratio: 0 })
    assert.equal(spans.length, 0)
    assert.match(parentsOf(upstream)[0] ?? '', /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/)
  })

  it('leave the headers alone when nothing is traced', async () => {
    const lab = new WaypointLab()
    await lab.request({ headers: [['traceparent', 'whatever']] })
    assert.deepEqual(parentsOf(lab.upstream), ['whatever'])
  })

  const REFUSED: readonly { readonly name: string; readonly args: readonly string[]; readonly want: string }[] = [
    { name: 'an endpoint without a scheme', args: ['--otlp-endpoint', 'collector:4317'], want: '--otlp-endpoint' },
    { name: 'an endpoint that is no address', args: ['--otlp-endpoint', 'x'], want: '--otlp-endpoint' },
    { name: 'another protocol', args: ['--otlp-protocol', 'zipkin'], want: '--otlp-protocol' },
    { name: 'more than everything', args: ['--trace-sampling', '100.1'], want: '--trace-sampling' },
    { name: 'less than nothing', args: ['--trace-sampling=-1'], want: '--trace-sampling' },
  ]
  for (const { name, args, want } of REFUSED) {
    it(`settings refuse ${name}`, () => {
      const basis = [
        '--gateway',
        'shop/w',
        '--pod-name',
        'w',
        '--pod-namespace',
        'shop',
        '--service-account',
        'w',
        '--instance-ip',
        '10.0.0.9',
      ]
      const parsed = readSettings([...basis, ...args], {})
      assert.deepEqual(parsed.ok ? [] : parsed.errors.map((error) => error.split(' ', 1)[0]), [want])
    })
  }
})
