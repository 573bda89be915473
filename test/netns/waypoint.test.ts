// A waypoint at work, on a whole mesh: clients call Services, the requests pass the waypoint, and what its routes say happens to
// them. One Service per scene; all objects are there from the beginning.
import assert from 'node:assert/strict'
import type { Echo } from '../support/waypoint-app.ts'
import { ztunnelMetrics } from '../support/ztunnel-facts.ts'
import { appService, backend, GRPC_JS, httpRoute, SPACE, WaypointStage } from '../support/waypoint-stage.ts'

const HOST = (service: string): string => `${service}.${SPACE}.svc.cluster.local`
const idOf = (account: string, namespace = SPACE): string => `spiffe://cluster.local/ns/${namespace}/sa/${account}`
const header = (name: string, value: string): object => ({ name, value })
const path = (type: string, value: string): object => ({ path: { type, value } })

const OBJECTS = [
  ...['plain', 'canary', 'tester', 'edited', 'flaky', 'mirrored', 'consumed', 'narrow', 'broken', 'late', 'rpc'].map((name) =>
    appService(name),
  ),
  httpRoute('canary', [{ backendRefs: [backend('v1', 90), backend('v2', 10)] }]),
  httpRoute('tester', [
    { matches: [{ headers: [header('x-tester', 'yes')] }], backendRefs: [backend('v2')] },
    { backendRefs: [backend('v1')] },
  ]),
  httpRoute('edited', [
    {
      matches: [path('PathPrefix', '/old')],
      filters: [
        { type: 'URLRewrite', urlRewrite: { path: { type: 'ReplacePrefixMatch', replacePrefixMatch: '/new' } } },
        { type: 'RequestHeaderModifier', requestHeaderModifier: { set: [header('x-team', 'tea')], remove: ['x-secret'] } },
        { type: 'ResponseHeaderModifier', responseHeaderModifier: { add: [header('x-served-by', 'waypoint')], remove: ['x-version'] } },
      ],
      backendRefs: [backend('v1')],
    },
    {
      matches: [path('Exact', '/gone')],
      filters: [{ type: 'RequestRedirect', requestRedirect: { hostname: 'elsewhere.example', statusCode: 301 } }],
    },
  ]),
  httpRoute('flaky', [{ retry: { codes: [503], attempts: 2, backoff: '5ms' }, backendRefs: [backend('v1')] }]),
  httpRoute('mirrored', [
    { filters: [{ type: 'RequestMirror', requestMirror: { backendRef: { name: 'v2', port: 80 } } }], backendRefs: [backend('v1')] },
  ]),
  httpRoute('consumed', [
    {
      filters: [{ type: 'ResponseHeaderModifier', responseHeaderModifier: { set: [header('x-route', 'owner')] } }],
      backendRefs: [backend('v1')],
    },
  ]),
  httpRoute(
    'consumed',
    [
      {
        filters: [{ type: 'ResponseHeaderModifier', responseHeaderModifier: { set: [header('x-route', 'guest')] } }],
        backendRefs: [{ name: 'consumed', namespace: SPACE, port: 80 }],
      },
    ],
    { namespace: 'guests' },
  ),
  httpRoute('narrow', [{ matches: [path('Exact', '/only')], backendRefs: [backend('v1')] }]),
  httpRoute('broken', [{ backendRefs: [backend('v1'), backend('no-such-service')] }]),
  httpRoute('late', [{ timeouts: { request: '300ms' }, backendRefs: [backend('v1')] }]),
  {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'GRPCRoute',
    metadata: { name: 'rpc', namespace: SPACE },
    spec: {
      parentRefs: [{ group: '', kind: 'Service', name: 'rpc', port: 50_051 }],
      rules: [
        { matches: [{ method: { service: 'weft.test.Echo', method: 'Say' } }], backendRefs: [{ name: 'v2', port: 50_051 }] },
        { backendRefs: [{ name: 'v1', port: 50_051 }] },
      ],
    },
  },
]

describe('a waypoint', () => {
  let stage: WaypointStage

  before(async () => {
    stage = await WaypointStage.open(OBJECTS)
  })
  after(async () => {
    await stage?.[Symbol.asyncDispose]()
  })

  /** Runs a script in the client pod and reads the JSON that it prints. */
  const inClient = async (script: string): Promise<unknown> => {
    const { stdout, stderr } = await stage.client.script(script)
    assert.notEqual(stdout, '', stderr)
    return JSON.parse(stdout)
  }

  it('stands between client and server, and knows the client', async () => {
    const waypoint = await stage.waypoint()
    const answer = await stage.get(stage.client, 'plain', '/first')
    assert.equal(answer.status, 200, JSON.stringify(answer))
    const seen = JSON.parse(answer.body) as Echo
    assert.ok([waypoint.ip, waypoint.ip6].includes(seen.from), `the server saw ${seen.from}`)
    assert.match(seen.headers['x-request-id'] ?? '', /^[0-9a-f-]{36}$/)
    const line = await stage.line((each) => each.path === '/first')
    assert.deepEqual([line['src.identity'], line.response_code, line['dst.service']], [idOf('client'), 200, HOST('plain')])
    // The server's node knows the client by the waypoint's word alone.
    await stage.mesh.until('metrics that name the client', async () => {
      const samples = (await Promise.all([1, 2].map((node) => ztunnelMetrics(stage.mesh, node)))).flat()
      return samples.some(
        ({ name, labels: { reporter, source_workload, source_principal, destination_service } }) =>
          name === 'istio_tcp_connections_opened_total' &&
          reporter === 'destination' &&
          source_workload === 'client' &&
          source_principal === idOf('waypoint') &&
          destination_service === HOST('plain'),
      )
    })
  })

  it('is reached by IPv4, IPv6 and every name of the service, on a port of unknown protocol too', async () => {
    const [v4 = '', v6 = ''] = stage.vips('plain')
    const hosts = [v4, `[${v6}]`, 'plain', `plain.${SPACE}`, HOST('plain'), 'plain:8081']
    const waypoint = await stage.waypoint()
    for (const answer of await stage.getAll(
      stage.client,
      hosts.map((host) => ({ host })),
    )) {
      assert.equal(answer.status, 200, JSON.stringify(answer))
      assert.ok([waypoint.ip, waypoint.ip6].includes((JSON.parse(answer.body) as Echo).from), answer.body)
    }
  })

  it('splits requests by weight, and loses none', async () => {
    const report = await stage.load(stage.client, { url: 'http://canary/', connections: 16, requests: 5000 })
    assert.deepEqual([report.status, report.errors], [{ 200: 5000 }, {}])
    const share = (report.values.v2 ?? 0) / 5000
    // 1 % is 2.4 standard deviations of the draw: one run in 60 would fail. A first run outside of it is repeated with more.
    if (Math.abs(share - 0.1) <= 0.01) return
    const more = await stage.load(stage.client, { url: 'http://canary/', connections: 16, requests: 15_000 })
    assert.ok(Math.abs(((report.values.v2 ?? 0) + (more.values.v2 ?? 0)) / 20_000 - 0.1) <= 0.01, JSON.stringify([report, more]))
  })

  it('routes by header', async () => {
    const [tester, other] = await stage.getAll(stage.client, [{ host: 'tester', headers: { 'x-tester': 'yes' } }, { host: 'tester' }])
    assert.deepEqual([tester?.headers['x-version'], other?.headers['x-version']], ['v2', 'v1'])
  })

  it('rewrites paths and headers', async () => {
    const answer = await stage.get(stage.client, 'edited', '/old/tea?cup=2', {
      method: 'POST',
      headers: { 'x-secret': 'no' },
      body: 'leaves',
    })
    const seen = JSON.parse(answer.body) as Echo
    assert.deepEqual([seen.method, seen.url, seen.body], ['POST', '/new/tea?cup=2', 'leaves'])
    assert.deepEqual([seen.headers['x-team'], seen.headers['x-secret']], ['tea', undefined])
    assert.deepEqual([answer.headers['x-served-by'], answer.headers['x-version']], ['waypoint', undefined])
  })

  it('redirects', async () => {
    const answer = await stage.get(stage.client, 'edited', '/gone')
    assert.deepEqual([answer.status, answer.headers.location], [301, 'http://elsewhere.example/gone'])
  })

  it('hides a flaky backend behind retries', async () => {
    const bare = await stage.load(stage.client, { url: 'http://plain/flaky', connections: 1, requests: 30 })
    assert.ok((bare.status[503] ?? 0) >= 8, JSON.stringify(bare.status))
    const retried = await stage.load(stage.client, { url: 'http://flaky/flaky', connections: 1, requests: 300 })
    assert.deepEqual([retried.status, retried.errors], [{ 200: 300 }, {}])
  })

  it('cuts what takes too long', async () => {
    const startMs = performance.now()
    const answer = await stage.get(stage.client, 'late', '/slow?ms=5000')
    assert.equal(answer.status, 504)
    assert.ok(performance.now() - startMs < 3000)
    assert.equal((await stage.get(stage.client, 'late', '/slow?ms=10')).status, 200)
  })

  it('mirrors requests, and keeps the answers of the mirror to itself', async () => {
    const report = await stage.load(stage.client, { url: 'http://mirrored/mirrored', connections: 4, requests: 200 })
    assert.deepEqual([report.status, report.values], [{ 200: 200 }, { v1: 200 }])
    await stage.mesh.until('all mirrored requests have come', async () => (await stage.counts('/mirrored')).v2 >= 200)
    assert.deepEqual(await stage.counts('/mirrored'), { v1: 200, v2: 200 })
  })

  it('gives callers of another namespace the routes of their own', async () => {
    const [owner, guest] = await Promise.all([stage.get(stage.client, 'consumed'), stage.get(stage.guest, `consumed.${SPACE}`)])
    assert.deepEqual([owner.status, guest.status, owner.headers['x-route'], guest.headers['x-route']], [200, 200, 'owner', 'guest'])
  })

  it('answers 404 when no rule matches, and 500 for the share of a backend that is not there', async () => {
    const [only, other] = await stage.getAll(stage.client, [
      { host: 'narrow', path: '/only' },
      { host: 'narrow', path: '/other' },
    ])
    assert.deepEqual([only?.status, other?.status], [200, 404])
    const { status } = await stage.load(stage.client, { url: 'http://broken/', connections: 4, requests: 200 })
    assert.deepEqual(Object.keys(status).sort(), ['200', '500'])
    assert.ok((status[500] ?? 0) > 60 && (status[500] ?? 0) < 140, JSON.stringify(status))
  })

  it('carries WebSockets', async () => {
    const said = await inClient(`
      const socket = new WebSocket('ws://plain/talk')
      const said = []
      socket.onmessage = ({ data }) => { said.push(data); said.length < 3 ? socket.send('cup ' + said.length) : socket.close() }
      socket.onopen = () => socket.send('cup 0')
      socket.onerror = (event) => { console.log(JSON.stringify([String(event.message)])); process.exit(0) }
      socket.onclose = () => console.log(JSON.stringify(said))`)
    assert.deepEqual(said, ['cup 0', 'cup 1', 'cup 2'])
  })

  it('passes streams on as they come, and 1xx', async () => {
    const times = (await inClient(`
      const response = await fetch('http://plain/events')
      const times = []
      for await (const chunk of response.body) times.push(performance.now())
      console.log(JSON.stringify(times))`)) as number[]
    assert.ok(times.length >= 4 && (times.at(-1) ?? 0) - (times[0] ?? 0) > 300, JSON.stringify(times))
    const hints = await inClient(`
      import { request } from 'node:http'
      const seen = []
      const out = request('http://plain/hints', (response) => { response.resume().on('end', () => console.log(JSON.stringify([...seen, response.statusCode]))) })
      out.on('information', ({ statusCode, headers }) => seen.push(statusCode, headers.link))
      out.end()`)
    assert.deepEqual(hints, [103, '</style.css>; rel=preload', 200])
  })

  it('carries gRPC, unary and streaming, and routes it by method', async () => {
    const got = await inClient(`
      import { createRequire } from 'node:module'
      const grpc = createRequire(${JSON.stringify(import.meta.filename)})(${JSON.stringify(GRPC_JS)})
      const client = new grpc.Client('rpc:50051', grpc.credentials.createInsecure())
      const same = (value) => value
      const call = (name) => new Promise((resolve) => client.makeUnaryRequest('/weft.test.Echo/' + name, same, same, Buffer.from('tea'),
        (error, value) => resolve(error ? [error.code, error.details] : value.toString())))
      const said = await call('Say')
      const failed = await call('Fail')
      const chat = client.makeBidiStreamRequest('/weft.test.Echo/Chat', same, same)
      const heard = []
      chat.on('data', (message) => { heard.push(message.toString()); heard.length < 3 ? chat.write(Buffer.from('cup ' + heard.length)) : chat.end() })
      const ended = new Promise((resolve) => chat.on('status', resolve))
      chat.on('error', () => undefined)
      chat.write(Buffer.from('cup 0'))
      const { code } = await ended
      console.log(JSON.stringify({ said, failed, heard, code }))
      client.close()`)
    assert.deepEqual(got, { said: 'v2:tea', failed: [9, 'not today'], heard: ['v1:cup 0', 'v1:cup 1', 'v1:cup 2'], code: 0 })
  })

  it('carries a TCP port as it is', async () => {
    const text = await inClient(`
      import net from 'node:net'
      const socket = net.connect({ host: 'plain', port: 9000 })
      socket.end('leaves and water')
      const chunks = []
      for await (const chunk of socket) chunks.push(chunk)
      console.log(JSON.stringify(Buffer.concat(chunks).toString()))`)
    assert.equal(text, 'leaves and water')
  })
})
