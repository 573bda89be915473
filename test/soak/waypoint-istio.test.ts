// Istio's own objects at a waypoint, on a whole mesh: VirtualService, DestinationRule, and RateLimitPolicy, which is the mesh's.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { deployment } from '../support/mesh.ts'
import { appService, SPACE, WAYPOINT, WaypointStage } from '../support/waypoint-stage.ts'

const NETWORKING = 'networking.istio.io/v1'
const virtualService = (name: string, http: readonly object[]): object => ({
  apiVersion: NETWORKING,
  kind: 'VirtualService',
  metadata: { name, namespace: SPACE },
  spec: { hosts: [name], http },
})
const destinationRule = (name: string, spec: object): object => ({
  apiVersion: NETWORKING,
  kind: 'DestinationRule',
  metadata: { name, namespace: SPACE },
  spec: { host: name, ...spec },
})
const to = (host: string, subset?: string): object => ({ destination: { host, ...(subset === undefined ? {} : { subset }) } })
const marked = (name: string): object => ({ headers: { [name]: { exact: 'yes' } } })
const always = { percentage: { value: 100 } }
const limit = (target: object, limits: readonly object[], name: string): object => ({
  apiVersion: 'weft.dev/v1alpha1',
  kind: 'RateLimitPolicy',
  metadata: { name, namespace: SPACE },
  spec: { targetRefs: [target], limits },
})

const LIMIT_SERVER = join(import.meta.dirname, '..', 'support', 'limit-server.ts')
/** A service that lets 7 hits of each descriptor pass, for nobody but the waypoint. */
const LIMITS = [
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'infra', labels: { 'istio.io/dataplane-mode': 'ambient' } } },
  { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'limits', namespace: 'infra' } },
  deployment('infra', 'limits', ['node', LIMIT_SERVER, '8081', '7'], {
    pod: { nodeName: 'node-2', serviceAccountName: 'limits' },
    container: { readinessProbe: { tcpSocket: { port: 8081 }, periodSeconds: 1 } },
  }),
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'limits', namespace: 'infra' },
    spec: { selector: { app: 'limits' }, ports: [{ name: 'grpc', port: 8081, targetPort: 8081 }] },
  },
  {
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'limits', namespace: 'infra' },
    spec: { action: 'ALLOW', rules: [{ from: [{ source: { principals: [`cluster.local/ns/${SPACE}/sa/${WAYPOINT}`] } }] }] },
  },
]
const globalLimit = (target: string, service: object, failureMode: string): object => ({
  apiVersion: 'weft.dev/v1alpha1',
  kind: 'RateLimitPolicy',
  metadata: { name: target, namespace: SPACE },
  spec: {
    targetRefs: [{ kind: 'Service', name: target }],
    global: { service, domain: 'shop', descriptors: [{ entries: ['identity'] }], timeout: '2s', failureMode },
  },
})

const OBJECTS = [
  ...LIMITS,
  globalLimit('counted', { name: 'limits', namespace: 'infra', port: 8081 }, 'closed'),
  globalLimit('uncounted', { name: 'nobody', port: 1 }, 'closed'),
  globalLimit('unlimited', { name: 'nobody', port: 1 }, 'open'),
  ...['counted', 'uncounted', 'unlimited'].map((name) => appService(name)),
  ...['faulty', 'halves', 'subsets', 'retried', 'limited', 'hashed', 'ejected'].map((name) => appService(name)),
  virtualService('faulty', [
    { match: [marked('x-late')], fault: { delay: { fixedDelay: '5s', ...always } }, timeout: '0.4s', route: [to('faulty')] },
    { match: [marked('x-abort')], fault: { abort: { httpStatus: 418, ...always } }, route: [to('faulty')] },
    { route: [to('faulty')] },
  ]),
  virtualService('halves', [
    { fault: { abort: { httpStatus: 503, percentage: { value: 50 } } }, retries: { attempts: 0 }, route: [to('halves')] },
  ]),
  destinationRule('subsets', {
    subsets: [
      { name: 'old', labels: { version: 'v1' } },
      { name: 'new', labels: { version: 'v2' } },
    ],
  }),
  virtualService('subsets', [
    { match: [{ uri: { prefix: '/new' } }], rewrite: { uri: '/' }, route: [to('subsets', 'new')] },
    { route: [{ ...to('subsets', 'old'), headers: { response: { set: { 'x-subset': 'old' } } } }] },
  ]),
  virtualService('retried', [{ retries: { attempts: 3, retryOn: '503' }, route: [to('retried')] }]),
  limit({ kind: 'Service', name: 'limited' }, [{ requests: 10, per: '1m', by: ['identity'] }], 'limited'),
  destinationRule('hashed', { trafficPolicy: { loadBalancer: { consistentHash: { httpHeaderName: 'x-user' } } } }),
  destinationRule('ejected', {
    trafficPolicy: { outlierDetection: { consecutive5xxErrors: 3, interval: '1s', baseEjectionTime: '60s', maxEjectionPercent: 50 } },
  }),
]

describe('Istio objects at a waypoint', function () {
  this.timeout('60s')
  let stage: WaypointStage

  before(async () => {
    stage = await WaypointStage.open(OBJECTS)
  })
  after(async () => {
    await stage?.[Symbol.asyncDispose]()
  })

  it('cut an injected delay by a timeout, and answer with an injected status', async () => {
    const startMs = performance.now()
    const late = await stage.get(stage.client, 'faulty', '/late', { headers: { 'x-late': 'yes' } })
    assert.equal(late.status, 504)
    assert.ok(performance.now() - startMs < 3000)
    assert.equal((await stage.get(stage.client, 'faulty', '/abort', { headers: { 'x-abort': 'yes' } })).status, 418)
    assert.equal((await stage.get(stage.client, 'faulty', '/well')).status, 200)
    for (const path of ['/late', '/abort']) assert.deepEqual(await stage.counts(path), { v1: 0, v2: 0 })
  })

  it('fail a share of the requests', async () => {
    const { status } = await stage.load(stage.client, { url: 'http://halves/', connections: 8, requests: 400 })
    assert.deepEqual(Object.keys(status), ['200', '503'])
    assert.ok((status[503] ?? 0) > 140 && (status[503] ?? 0) < 260, JSON.stringify(status)) // six standard deviations
  })

  it('route to subsets', async () => {
    const [fresh, old] = await stage.getAll(stage.client, [{ host: 'subsets', path: '/new' }, { host: 'subsets' }])
    assert.deepEqual([fresh?.headers['x-version'], JSON.parse(fresh?.body ?? '{}').url], ['v2', '/'])
    assert.deepEqual([old?.headers['x-version'], old?.headers['x-subset']], ['v1', 'old'])
  })

  it('retry', async () => {
    const seen = await stage.load(stage.client, { url: 'http://retried/flaky', connections: 1, requests: 60 })
    assert.deepEqual([seen.status, seen.errors], [{ 200: 60 }, {}])
  })

  it('limit what one identity may ask, and say when to come again', async () => {
    const mine = await stage.load(stage.client, { url: 'http://limited/', connections: 4, requests: 50, header: 'retry-after' })
    assert.deepEqual(mine.status, { 200: 10, 429: 40 })
    const waits = Object.keys(mine.values).filter((value) => value !== '')
    assert.ok(waits.length > 0 && waits.every((value) => Number(value) > 0 && Number(value) <= 60), JSON.stringify(mine.values))
    assert.equal((await stage.get(stage.guest, `limited.${SPACE}`)).status, 200)
  })

  it('limit by a service that counts for all waypoints', async () => {
    await stage.mesh.pod('infra/limits')
    const mine = await stage.load(stage.client, { url: 'http://counted/', connections: 4, requests: 30, header: 'retry-after' })
    assert.deepEqual([mine.status, mine.values['30']], [{ 200: 7, 429: 23 }, 23])
    assert.equal((await stage.get(stage.guest, `counted.${SPACE}`)).status, 200)
    assert.equal((await stage.get(stage.client, 'uncounted')).status, 500)
    assert.equal((await stage.get(stage.client, 'unlimited')).status, 200)
  })

  it('keep users with one endpoint', async () => {
    const users = Array.from({ length: 24 }, (_, user) => ({ host: 'hashed', headers: { 'x-user': `user-${user}` } }))
    const answers = await stage.getAll(stage.client, [...users, ...users])
    const versions = answers.map((answer) => answer.headers['x-version'] ?? `${answer.status}`)
    assert.deepEqual(versions.slice(0, users.length), versions.slice(users.length))
    assert.deepEqual([...new Set(versions)].sort(), ['v1', 'v2'])
  })

  it('put out an endpoint that keeps failing', async () => {
    const before = await stage.load(stage.client, { url: 'http://ejected/', connections: 4, requests: 40 })
    assert.deepEqual(Object.keys(before.values).sort(), ['v1', 'v2'])
    await stage.load(stage.client, { url: 'http://ejected/broken-v2', connections: 4, requests: 40 })
    const after = await stage.load(stage.client, { url: 'http://ejected/', connections: 4, requests: 40 })
    assert.deepEqual([after.status, after.values], [{ 200: 40 }, { v1: 40 }])
  })
})
