// What operators see of a chain of services behind waypoints: one connected trace at a collector whose name the cluster's DNS
// knows, and counts that agree with the client's own.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseAllDocuments } from 'yaml'
import { deployment, type TestMesh, type TestPod, testMesh } from '../support/mesh.ts'
import type { LoadOptions, LoadReport } from '../support/waypoint-load.ts'
import { gateway, httpRoute, SPACE, WAYPOINT } from '../support/waypoint-stage.ts'

const SHOP_DIR = join(import.meta.dirname, '..', '..', 'samples', 'shop')
const CHAIN_APP = join(import.meta.dirname, '..', 'support', 'chain-app.ts')
const LOAD = join(import.meta.dirname, '..', 'support', 'waypoint-load.ts')
const COLLECTOR = 'http://collector.observe.svc.cluster.local:4318'
/** Waypoint of payments alone, so that a trace has two writers. */
const TILL = 'till'
/** promtool's exit status when it can read everything and would have chosen other names. */
const ONLY_STYLE = 3
/** Istio's, and those of Node that prom-client adds. */
const NAMES_OF_OTHERS = /^(istio_request_duration_milliseconds|nodejs_\w+) /
const HOST = (service: string): string => `${service}.${SPACE}.svc.cluster.local`
const idOf = (account: string): string => `spiffe://cluster.local/ns/${SPACE}/sa/${account}`

/** A span as samples/shop/collector.mjs shows it. */
interface Span {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  readonly traceState?: string
  readonly error?: string
  readonly attributes: Readonly<Record<string, unknown>>
  readonly service: string
}

type Labels = Readonly<Record<string, string>>

function app(name: string, node: string, next?: string): object[] {
  const command = ['node', CHAIN_APP, name, ...(next === undefined ? [] : [`http://${next}`])]
  const container = { readinessProbe: { httpGet: { path: '/ready', port: 8080 }, periodSeconds: 1 } }
  const labels = name === 'payments' ? { 'istio.io/use-waypoint': TILL } : {}
  const ports = [{ name: 'http', port: 80, targetPort: 8080, appProtocol: 'http' }]
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace: SPACE } },
    deployment(SPACE, name, command, { pod: { serviceAccountName: name, nodeName: node }, container }),
    { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace: SPACE, labels }, spec: { selector: { app: name }, ports } },
  ]
}

function objects(): object[] {
  const labels = { 'istio.io/dataplane-mode': 'ambient', 'istio.io/use-waypoint': WAYPOINT }
  const backendRefs = [{ name: 'payments', port: 80 }]
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: SPACE, labels } },
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'client', namespace: SPACE } },
    deployment(SPACE, 'client', ['sleep', 'infinity'], { pod: { serviceAccountName: 'client', nodeName: 'node-1' } }),
    ...app('front', 'node-2', 'cart'),
    ...app('cart', 'node-1', 'payments'),
    ...app('payments', 'node-2'),
    ...[WAYPOINT, TILL].map((name) => gateway(name)),
    httpRoute('payments', [{ retry: { codes: [503], attempts: 3, backoff: '5ms' }, backendRefs }]),
    ...parseAllDocuments(readFileSync(join(SHOP_DIR, 'observe', 'collector.yaml'), 'utf8')).map((one) => one.toJS() as object),
  ]
}

describe('what a waypoint lets see', function () {
  this.timeout('60s')
  let mesh: TestMesh
  let client: TestPod
  let collector: TestPod

  before(async () => {
    const controlplane = ['--tracing-endpoint', COLLECTOR, '--tracing-protocol', 'http', '--tracing-sampling', '100']
    mesh = await testMesh({ objects: objects(), images: { 'weft/shop:dev': SHOP_DIR }, componentArgs: { controlplane } })
    ;[client, collector] = await Promise.all([mesh.pod(`${SPACE}/client`), mesh.pod('observe/collector')])
    await mesh.until('both waypoints are programmed', () => [WAYPOINT, TILL].every(isProgrammed))
    await mesh.until('the chain answers', async () => (await ask('/own')) === '200')
  })
  after(async () => {
    await mesh?.[Symbol.asyncDispose]()
  })

  function isProgrammed(name: string): boolean {
    const found = mesh.mesh.store.find('gateways', SPACE, name) as { status?: { conditions?: Record<string, string>[] } } | undefined
    return found?.status?.conditions?.some((one) => one.type === 'Programmed' && one.status === 'True') === true
  }

  /** @returns status, or why there is none */
  async function ask(path: string, headers: object = {}): Promise<string> {
    const { stdout } = await client.script(`
      const answer = await fetch('http://front${path}', { headers: ${JSON.stringify(headers)} }).catch((error) => ({ status: error.cause?.code }))
      process.stdout.write(String(answer.status))`)
    return stdout
  }

  /** What an address answers to the collector's pod, which is outside of the mesh as a scraper may be. */
  async function fetched(url: string): Promise<string> {
    const { stdout, stderr } = await collector.script(`process.stdout.write(await (await fetch('${url}')).text())`)
    assert.equal(stderr, '')
    return stdout
  }

  /** The spans of the trace whose first request asked for this path, when there are so many. */
  function spansOf(path: string, count: number): Promise<readonly Span[]> {
    return mesh.until(`${count} spans of ${path} have come`, async () => {
      const all = JSON.parse(await fetched('http://127.0.0.1:4318/spans')) as Span[]
      const root = all.find((span) => span.attributes['url.path'] === path)
      const spans = all.filter(({ traceId }) => traceId === root?.traceId)
      return spans.length >= count ? spans : undefined
    })
  }

  it('one trace per request: every hop, every try, who asked whom', async () => {
    assert.equal(await ask('/order'), '200')
    const spans = await spansOf('/order', 7)
    assert.equal(spans.length, 7)
    const childrenOf = (span: Span | undefined): Span[] =>
      spans.filter(({ parentSpanId }) => parentSpanId !== undefined && parentSpanId === span?.spanId)
    const roots = spans.filter(({ parentSpanId }) => parentSpanId === undefined)
    assert.equal(roots.length, 1)
    for (const span of spans)
      assert.ok(span === roots[0] || spans.some(({ spanId }) => spanId === span.parentSpanId), `${span.name} has no parent`)

    let request = roots[0]
    for (const [source, destination] of [
      ['client', 'front'],
      ['front', 'cart'],
      ['cart', 'payments'],
    ] as const) {
      assert.ok(request !== undefined)
      const { attributes: all } = request
      assert.equal(request.name, `${HOST(destination)}:80/*`)
      assert.equal(request.service, destination === 'payments' ? `${TILL}.${SPACE}` : `${WAYPOINT}.${SPACE}`)
      assert.deepEqual([all['istio.downstream.workload'], all['istio.source_principal']], [source, idOf(source)])
      assert.deepEqual([all['istio.upstream.workload'], all['istio.destination_principal']], [destination, idOf(destination)])
      assert.deepEqual([all['http.request.method'], all['url.path'], all['http.response.status_code']], ['GET', '/order', 200])
      const tries = childrenOf(request).map((span) => span.attributes['http.response.status_code'])
      assert.deepEqual(tries.sort(), destination === 'payments' ? [200, 503] : [200])
      request = childrenOf(request).flatMap(childrenOf)[0]
    }
    const again = spans.find((span) => span.attributes['http.request.resend_count'] === 1)
    const failed = spans.find((span) => span.error !== undefined)
    assert.deepEqual([failed?.error, again?.error, failed?.parentSpanId], ['503', undefined, again?.parentSpanId])
  })

  it("the client's own trace goes on, with its state", async () => {
    const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
    const parent = '00f067aa0ba902b7'
    assert.equal(await ask('/traced', { traceparent: `00-${traceId}-${parent}-01`, tracestate: 'shop=tea,x=1' }), '200')
    const spans = await spansOf('/traced', 7)
    assert.deepEqual([...new Set(spans.map((span) => `${span.traceId} ${span.traceState}`))], [`${traceId} shop=tea,x=1`])
    const tops = spans.filter((span) => !spans.some(({ spanId }) => spanId === span.parentSpanId))
    assert.deepEqual(
      tops.map((span) => [span.name, span.parentSpanId]),
      [[`${HOST('front')}:80/*`, parent]],
    )
    assert.equal(await ask('/unwanted', { traceparent: `00-${traceId.replace('4', '5')}-${parent}-00` }), '200')
    assert.equal(await ask('/wanted'), '200')
    await spansOf('/wanted', 7)
    assert.doesNotMatch(await fetched('http://127.0.0.1:4318/spans'), /unwanted/)
  })

  it('the collector of the samples draws the tree', async () => {
    await spansOf('/order', 7)
    const trees = (await fetched('http://127.0.0.1:4318/traces?path=/order')).split(/\n(?=trace )/)
    assert.equal(trees.length, 1)
    const lines = trees[0]?.split('\n') ?? []
    const shape = lines.slice(1, 8).map((line) => line.replace(/ at [0-9a-f.:]+ /, ' ').replace(/ +[\d.]+ ms.*/, ''))
    assert.deepEqual(shape, [
      `client.shop asks GET ${HOST('front')}/order  200`,
      '└─ try 1: front.shop  200',
      `   └─ front.shop asks GET ${HOST('cart')}/order  200`,
      '      └─ try 1: cart.shop  200',
      `         └─ cart.shop asks GET ${HOST('payments')}/order  200`,
      '            ├─ try 1: payments.shop  503',
      '            └─ try 2: payments.shop  200',
    ])
  })

  it('counts are those of the client, by code, with the names of both ends', async () => {
    const before = { front: await counted(WAYPOINT, 'front'), payments: await counted(TILL, 'payments') }
    const reports = [
      await load({ url: 'http://front/own', connections: 4, requests: 220 }),
      await load({ url: 'http://front/missing', connections: 4, requests: 60 }),
      await load({ url: 'http://front/whole', connections: 1, requests: 40 }),
    ]
    assert.deepEqual(
      reports.map(({ status, errors }) => [status, errors]),
      [
        [{ 200: 220 }, {}],
        [{ 404: 60 }, {}],
        [{ 200: 40 }, {}],
      ],
    )
    for (const [waypoint, source, destination, want] of [
      [WAYPOINT, 'client', 'front', { 200: 260, 404: 60 }],
      [TILL, 'cart', 'payments', { 200: 40 }], // a request that was tried twice is one request
    ] as const) {
      const earlier = before[destination]
      const more = await counted(waypoint, destination)
      assert.deepEqual(Object.fromEntries([...more].map(([code, { value }]) => [code, value - (earlier.get(code)?.value ?? 0)])), want)
      for (const { labels } of more.values()) {
        assert.equal(labels.source_principal, idOf(source))
        assert.equal(labels.destination_principal, idOf(destination))
        assert.deepEqual([labels.source_workload, labels.destination_workload], [source, destination])
        assert.deepEqual([labels.reporter, labels.connection_security_policy], ['waypoint', 'mutual_tls'])
      }
    }
  })

  it("Prometheus's own tool accepts the text", async () => {
    const text = await scrape(WAYPOINT)
    assert.match(text, /^# TYPE istio_requests_total counter$/m)
    const check = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' })
    if (check.error !== undefined) return // it is not installed
    assert.ok(check.status === 0 || check.status === ONLY_STYLE, check.stderr)
    const complaints = check.stderr.split('\n').filter((line) => line !== '' && !NAMES_OF_OTHERS.test(line))
    assert.deepEqual(complaints, [])
  })

  async function load(options: LoadOptions): Promise<LoadReport> {
    const { stdout, stderr } = await client.exec([process.execPath, LOAD, JSON.stringify(options)], { timeoutMs: 30_000 })
    assert.equal(stderr, '')
    return JSON.parse(stdout) as LoadReport
  }

  async function scrape(waypoint: string): Promise<string> {
    const { ip } = await mesh.pod(`${SPACE}/${waypoint}`)
    return fetched(`http://${ip}:15020/metrics`)
  }

  /** `istio_requests_total` of a service by response code. */
  async function counted(waypoint: string, service: string): Promise<Map<string, { value: number; labels: Labels }>> {
    const lines = (await scrape(waypoint)).split('\n').filter((line) => line.startsWith('istio_requests_total{'))
    const counts = new Map<string, { value: number; labels: Labels }>()
    for (const line of lines) {
      const labels = Object.fromEntries([...line.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, value]) => [key, value])) as Labels
      if (labels.destination_service !== HOST(service)) continue
      assert.ok(!counts.has(labels.response_code ?? ''), `twice: ${line}`)
      counts.set(labels.response_code ?? '', { value: Number(line.slice(line.lastIndexOf(' ') + 1)), labels })
    }
    return counts
  }
})
