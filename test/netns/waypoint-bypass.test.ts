// Behind a waypoint: the pod takes its port from that waypoint only, and believes only it about the original client. Each refusal
// stands beside the same connection that is admitted. The test dials as the waypoint, with a certificate of the mesh's own root.
import assert from 'node:assert/strict'
import type { SpiffeId } from '../../model/identity.ts'
import type { Condition } from '../../model/object.ts'
import type { Credentials } from '../support/certificates.ts'
import { deployment, service, type TestMesh, type TestPod, testMesh } from '../support/mesh.ts'
import { type Dial, get, type LogLine, logLine, logLines, meshCredentials, metric } from '../support/mesh-view.ts'
import { tryConnect } from '../support/mesh-view.ts'

const SERVER = `
const answer = (request, response) => response.end('hello')
for (const port of [8080, 9090]) require('node:http').createServer(answer).listen(port, '::')
`
const account = (name: string): object => ({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace: 'shop' } })
const OBJECTS = [
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop', labels: { 'istio.io/dataplane-mode': 'ambient' } } },
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'outside' } },
  account('client'),
  account('server'),
  deployment('shop', 'server', ['node', '-e', SERVER], {
    pod: { serviceAccountName: 'server' },
    container: { readinessProbe: { httpGet: { path: '/', port: 8080 }, periodSeconds: 1 } },
  }),
  deployment('shop', 'client', ['sleep', 'infinity'], { pod: { serviceAccountName: 'client' } }),
  deployment('outside', 'attacker', ['sleep', 'infinity']),
  service('shop', 'server', { 80: 8080 }),
  {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: { name: 'way', namespace: 'shop' },
    spec: { gatewayClassName: 'istio-waypoint', listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }] },
  },
]
const idOf = (name: string): SpiffeId => `spiffe://cluster.local/ns/shop/sa/${name}` as SpiffeId
const policy = (name: string, action: string, source: object): object => ({
  apiVersion: 'security.istio.io/v1',
  kind: 'AuthorizationPolicy',
  metadata: { name, namespace: 'shop' },
  spec: { selector: { matchLabels: { app: 'server' } }, action, rules: [{ from: [{ source }] }] },
})
const GET = `fetch(process.argv[1]).then((answer) => answer.text()).then(console.log, (error) => console.log(error.cause?.code ?? error.message))`

describe('behind a waypoint', () => {
  let mesh: TestMesh
  let server: TestPod
  let client: TestPod
  let attacker: TestPod
  let door: Dial
  let asWaypoint: Credentials
  let asClient: Credentials
  const log = (): readonly LogLine[] => logLines(mesh, 'ztunnel-node-1')
  const connect = (as: Credentials, port = 8080, source?: string): Promise<string> =>
    tryConnect(door, as, `${server.ip}:${port}`, source === undefined ? {} : { extra: { 'x-weft-source': source } })
  const fetched = async (url: string): Promise<string> => (await client.exec(['node', '-e', GET, url])).stdout.trim()
  /** Until the data plane acts on it. */
  const becomes = (want: string, as: Credentials, port?: number, source?: string): Promise<boolean> =>
    mesh.until(`${want} is the answer`, async () => (await connect(as, port, source)) === want)

  before(async () => {
    // The waypoint's pod exists and is never ready: what it would send comes from this test.
    const componentArgs = { controlplane: ['--waypoint-image', 'no-such-image'] }
    mesh = await testMesh({ nodes: 1, objects: OBJECTS, waits: false, componentArgs })
    server = await mesh.pod('shop/server')
    client = await mesh.pod('shop/client')
    attacker = await mesh.pod('outside/attacker')
    door = { from: attacker.netnsPath, ip: server.ip }
    asWaypoint = await meshCredentials(mesh, idOf('way'))
    asClient = await meshCredentials(mesh, idOf('client'))
    await mesh.until('the waypoint pod has an address', () =>
      JSON.stringify(mesh.mesh.store.list('endpointslices', 'shop')).includes('"way-'),
    )
  })
  after(async () => {
    await mesh?.[Symbol.asyncDispose]()
  })

  it('takes everybody while no waypoint is set', async () => {
    await becomes('200', asClient)
    assert.equal(await connect(asWaypoint), '200')
    assert.equal(await fetched(`http://${server.ip}:8080/`), 'hello')
    assert.match(await get({ from: attacker.netnsPath, ip: server.ip, port: 8080 }, '/'), /hello/)
  })

  it('takes a set waypoint only, on that port', async () => {
    await mesh.client.patch('services', 'shop', 'server', { metadata: { labels: { 'istio.io/use-waypoint': 'way' } } })
    await becomes('401', asClient)
    assert.equal(await connect(asWaypoint), '200')
    assert.equal(await connect(asClient, 9090), '200')
    const refused = (): Promise<number> =>
      metric(mesh, 1, 15_020, 'weft_refused_total', { direction: 'inbound', code: 'WAYPOINT_REQUIRED' })
    const [from, before] = [log().length, await refused()]
    assert.notEqual(await fetched(`http://${server.ip}:8080/`), 'hello')
    assert.equal(await fetched(`http://${server.ip}:9090/`), 'hello')
    await logLine(mesh, 'ztunnel-node-1', from, (line) => line.code === 'WAYPOINT_REQUIRED' && line['src.identity'] === idOf('client'))
    assert.ok((await refused()) > before)
    assert.ok((await metric(mesh, 1, 15_020, 'istio_tcp_connections_failed_total', { response_flags: 'DENY' })) > 0)
  })

  it('is reached by nobody while the waypoint is not ready', async () => {
    const from = log().length
    assert.notEqual(await fetched('http://server.shop/'), 'hello')
    await logLine(mesh, 'ztunnel-node-1', from, (line) => line.code === 'UNKNOWN_WAYPOINT')
    const { status } = mesh.mesh.store.get('services', 'shop', 'server') as { status?: { conditions?: Condition[] } }
    const bound = status?.conditions?.find(({ type }) => type === 'istio.io/WaypointBound')
    assert.deepEqual([bound?.status, bound?.reason], ['False', 'WaypointIsNotReady'])
  })

  it('takes no plaintext on that port, and still answers the probes of its node', async () => {
    assert.doesNotMatch(await get({ from: attacker.netnsPath, ip: server.ip, port: 8080 }, '/'), /hello/)
    assert.match(await get({ from: attacker.netnsPath, ip: server.ip, port: 9090 }, '/'), /hello/)
    await new Promise((resolve) => setTimeout(resolve, 3500)) // three probes
    assert.equal((await mesh.pod('shop/server')).name, server.name)
  })

  it('shows the client that its waypoint names, and nobody else may name one', async () => {
    const from = log().length
    assert.equal(await connect(asWaypoint, 8080, idOf('client')), '200')
    const line = await logLine(mesh, 'ztunnel-node-1', from, (each) => each['src.client'] !== undefined)
    assert.deepEqual([line['src.identity'], line['src.client']], [idOf('way'), idOf('client')])
    const ignored = await metric(mesh, 1, 15_020, 'weft_source_ignored_total')
    const before = log().length
    assert.equal(await connect(asClient, 9090, idOf('somebody')), '200')
    const other = await logLine(mesh, 'ztunnel-node-1', before, (each) => each['src.identity'] === idOf('client'))
    assert.equal(other['src.client'], undefined)
    assert.equal(await metric(mesh, 1, 15_020, 'weft_source_ignored_total'), ignored + 1)
    // On a port that needs no waypoint it is nobody's waypoint.
    assert.equal(await connect(asWaypoint, 9090, idOf('somebody')), '200')
    assert.equal(await metric(mesh, 1, 15_020, 'weft_source_ignored_total'), ignored + 2)
  })

  it('refuses a client that is no identity of the mesh', async () => {
    for (const text of [
      'x',
      'spiffe://cluster.local/ns/shop',
      'spiffe://other.example/ns/shop/sa/client',
      `${idOf('client')},${idOf('server')}`,
    ])
      assert.equal(await connect(asWaypoint, 8080, text), '400', text)
  })

  it('asks policy about the original client', async () => {
    await mesh.apply(policy('no-thief', 'DENY', { principals: ['cluster.local/ns/shop/sa/thief'] }))
    await becomes('401', asWaypoint, 8080, idOf('thief'))
    assert.equal(await connect(asWaypoint, 8080, idOf('client')), '200')
    await mesh.client.delete('authorizationpolicies', 'shop', 'no-thief')
    await mesh.apply(policy('only-client', 'ALLOW', { principals: ['cluster.local/ns/shop/sa/client'] }))
    await becomes('401', asWaypoint) // by itself it is not the client
    assert.equal(await connect(asWaypoint, 8080, idOf('thief')), '401')
    assert.equal(await connect(asWaypoint, 8080, idOf('client')), '200')
    await mesh.client.delete('authorizationpolicies', 'shop', 'only-client')
    await mesh.apply(policy('only-way', 'ALLOW', { principals: ['cluster.local/ns/shop/sa/way'] }))
    await becomes('200', asWaypoint, 8080, idOf('thief'))
    await becomes('401', asClient, 9090)
    await mesh.client.delete('authorizationpolicies', 'shop', 'only-way')
    await becomes('200', asClient, 9090)
  })

  it('takes everybody again when the waypoint is taken off', async () => {
    await mesh.client.patch('services', 'shop', 'server', { metadata: { labels: { 'istio.io/use-waypoint': null } } })
    await becomes('200', asClient)
    assert.equal(await fetched(`http://${server.ip}:8080/`), 'hello')
  })

  it('takes nobody when the waypoint that is named does not exist, and callers are told at once', async () => {
    await mesh.client.patch('services', 'shop', 'server', { metadata: { labels: { 'istio.io/use-waypoint': 'nowhere' } } })
    await becomes('401', asClient)
    await becomes('401', asWaypoint)
    const from = log().length
    assert.notEqual(await fetched('http://server.shop/'), 'hello')
    await logLine(mesh, 'ztunnel-node-1', from, (line) => line.code === 'UNKNOWN_WAYPOINT')
  })
})
