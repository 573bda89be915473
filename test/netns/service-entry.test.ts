// ServiceEntries with real traffic: an enrolled pod calls servers outside of the mesh by hosts that only the mesh knows, straight and
// through a waypoint with routes, faults and policies; the same pod's traffic to other addresses is left alone.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import type { Condition } from '../../model/object.ts'
import type { ServiceEntry } from '../../model/service-entry.ts'
import { deployment, type TestMesh, type TestPod, testMesh } from '../support/mesh.ts'
import { logLine, logLines, metric, nodeNetns } from '../support/mesh-view.ts'

/** Outside of every block of the mesh; added to the server's pod. */
const FAR = '198.51.100.7'
const SERVER = `
let asked = 0
require('node:http').createServer((request, response) => {
  asked++
  response.statusCode = request.url === '/flaky' && asked % 2 === 1 ? 503 : 200
  if (request.url === '/flaky') response.setHeader('x-asked', asked)
  response.end(JSON.stringify({ from: request.socket.remoteAddress, host: request.headers.host, added: request.headers['x-added'], name: process.env.NAME }))
}).listen(8080, '::')
`
const account = (namespace: string, name: string): object => ({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace } })
const space = (name: string, labels: object = {}): object => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } })
const idle = (name: string): object => deployment('shop', name, ['sleep', 'infinity'], { pod: { serviceAccountName: name } })
const server = (namespace: string, name: string): object =>
  deployment(namespace, name, ['node', '-e', SERVER], {
    container: { env: [{ name: 'NAME', value: name }], readinessProbe: { httpGet: { path: '/', port: 8080 }, periodSeconds: 1 } },
  })
const AMBIENT = { 'istio.io/dataplane-mode': 'ambient' }
const OBJECTS = [
  space('shop', AMBIENT),
  space('egress'),
  space('outside'),
  account('shop', 'client'),
  account('shop', 'guest'),
  idle('client'),
  idle('guest'),
  server('shop', 'legacy'),
  server('outside', 'far'),
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'far', namespace: 'outside' },
    spec: { clusterIP: 'None', selector: { app: 'far' }, ports: [{ name: 'http', port: 8080 }] },
  },
  {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: { name: 'way', namespace: 'egress' },
    spec: {
      gatewayClassName: 'istio-waypoint',
      listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE', allowedRoutes: { namespaces: { from: 'All' } } }],
    },
  },
]
const HTTP = [{ number: 80, name: 'http', protocol: 'HTTP', targetPort: 8080 }]
const entry = (name: string, spec: object, labels: object = {}): object => ({
  apiVersion: 'networking.istio.io/v1',
  kind: 'ServiceEntry',
  metadata: { name, namespace: 'egress', labels },
  spec: { hosts: [`${name}.example.com`], ports: HTTP, ...spec },
})
const BEHIND = { 'istio.io/use-waypoint': 'way' }
const ASK = `
const [url, host] = process.argv.slice(1)
const request = require('node:http').get(url, { headers: host ? { host } : {}, timeout: 8000 }, (response) => {
  let text = ''
  response.on('data', (chunk) => (text += chunk)).on('end', () => console.log(JSON.stringify({ status: response.statusCode, headers: response.headers, text })))
})
request.on('timeout', () => request.destroy(new Error('timeout'))).on('error', (error) => console.log(JSON.stringify({ error: error.code ?? error.message })))
`

interface Asked {
  readonly status?: number
  readonly error?: string
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
}

describe('ServiceEntries', () => {
  let mesh: TestMesh
  let client: TestPod
  let guest: TestPod
  let far: TestPod
  const ask = async (from: TestPod, url: string, host = ''): Promise<Asked> => {
    const { stdout, stderr } = await from.exec(['node', '-e', ASK, url, host])
    if (stdout === '') throw new Error(stderr)
    return JSON.parse(stdout) as Asked
  }
  const answers = (from: TestPod, url: string, status: number): Promise<Asked> =>
    mesh.until(`${url} answers ${status}`, async () => {
      const answer = await ask(from, url)
      return answer.status === status ? answer : undefined
    })
  const body = ({ text }: Asked): Record<string, string> => JSON.parse(text) as Record<string, string>
  const statusOf = (name: string): { conditions: readonly Condition[]; addresses?: readonly { host?: string; value: string }[] } =>
    (mesh.mesh.store.get('serviceentries', 'egress', name) as ServiceEntry & { status?: never }).status ?? { conditions: [] }
  const said = (name: string, type: string): string => {
    const found = statusOf(name).conditions.find((one) => one.type === type)
    return `${found?.status} ${found?.reason}`
  }

  before(async () => {
    mesh = await testMesh({ nodes: 1, objects: OBJECTS, timeoutMs: 60_000 })
    client = await mesh.pod('shop/client')
    guest = await mesh.pod('shop/guest')
    far = await mesh.pod('outside/far')
    execFileSync('nsenter', [`--net=${far.netnsPath}`, 'ip', 'addr', 'add', `${FAR}/32`, 'dev', 'lo'])
    execFileSync('nsenter', [`--net=${nodeNetns(mesh, 1)}`, 'ip', 'route', 'add', `${FAR}/32`, 'via', far.ip])
  })
  after(async () => {
    await mesh?.[Symbol.asyncDispose]()
  })

  it('a host that nobody knows is nobody’s', async () => {
    assert.match((await ask(client, 'http://static.example.com/')).error ?? '', /ENOTFOUND|EAI_AGAIN/)
  })

  it('STATIC: by an address that the mesh gives the host', async () => {
    await mesh.apply(entry('static', { resolution: 'STATIC', endpoints: [{ address: far.ip }] }))
    const from = logLines(mesh, 'ztunnel-node-1').length
    const answer = await answers(client, 'http://static.example.com/', 200)
    assert.deepEqual([body(answer).name, body(answer).host], ['far', 'static.example.com'])
    const line = await logLine(mesh, 'ztunnel-node-1', from, (each) => each['dst.service'] === 'static.example.com')
    assert.equal(line['dst.addr'], `${far.ip}:8080`)
    await mesh.until('the status names the address', () => statusOf('static').addresses?.some(({ value }) => value.startsWith('240.240.')))
    assert.equal(said('static', 'weft.dev/Accepted'), 'True Accepted')
    const [address] = statusOf('static').addresses ?? []
    assert.equal((await ask(client, `http://${address?.value}/`)).status, 200)
  })

  it('DNS: ztunnel resolves the endpoint’s name', async () => {
    await mesh.apply(entry('named', { resolution: 'DNS', endpoints: [{ address: 'far.outside.svc.cluster.local' }] }))
    const answer = await answers(client, 'http://named.example.com/', 200)
    assert.deepEqual([body(answer).name, body(answer).host], ['far', 'named.example.com'])
  })

  it('DNS: a name that nobody knows is refused, with the reason', async () => {
    await mesh.apply(entry('lost', { resolution: 'DNS', endpoints: [{ address: 'nobody.outside.svc.cluster.local' }] }))
    await mesh.until('the host is known', async () => (await ask(client, 'http://lost.example.com/')).error === 'ECONNRESET')
    const from = 0
    await logLine(mesh, 'ztunnel-node-1', from, (line) => line.code === 'NAME_NOT_RESOLVED')
  })

  it('NONE: what is dialled in a block is known for the host', async () => {
    await mesh.apply(
      entry('block', {
        hosts: ['*.block.example'],
        addresses: ['198.51.100.0/24'],
        resolution: 'NONE',
        ports: [{ number: 8080, name: 'http' }],
      }),
    )
    const from = logLines(mesh, 'ztunnel-node-1').length
    await mesh.until('the block is known', async () => {
      assert.equal((await ask(client, `http://${FAR}:8080/`)).status, 200)
      return logLines(mesh, 'ztunnel-node-1')
        .slice(from)
        .some((line) => line['dst.service'] === '*.block.example')
    })
  })

  it('selected pods take HBONE', async () => {
    const legacy = {
      ...entry('legacy', { resolution: 'STATIC', location: 'MESH_INTERNAL', workloadSelector: { labels: { app: 'legacy' } } }),
      metadata: { name: 'legacy', namespace: 'shop' },
    }
    await mesh.apply(legacy)
    const from = logLines(mesh, 'ztunnel-node-1').length
    assert.equal(body(await answers(client, 'http://legacy.example.com/', 200)).name, 'legacy')
    const line = await logLine(mesh, 'ztunnel-node-1', from, (each) => each.direction === 'inbound' && each['dst.workload'] !== undefined)
    assert.equal(line['src.identity'], 'spiffe://cluster.local/ns/shop/sa/client')
  })

  it('a pod outside of the mesh knows none of it', async () => {
    assert.match((await ask(far, 'http://static.example.com/')).error ?? '', /ENOTFOUND|EAI_AGAIN/)
  })

  it('a host of another namespace’s Service is not taken', async () => {
    await mesh.apply(
      entry('thief', { hosts: ['legacy.shop', 'thief.example.com'], resolution: 'STATIC', endpoints: [{ address: far.ip }] }),
    )
    await mesh.until('the status says so', () => said('thief', 'weft.dev/Accepted') === 'True PartiallyInvalid')
    await answers(client, 'http://thief.example.com/', 200)
    assert.match((await ask(client, 'http://legacy.shop/')).error ?? '', /ENOTFOUND|EAI_AGAIN/)
  })

  it('through a waypoint: an HTTPRoute adds a header and tries again', async () => {
    await mesh.apply(entry('static', { resolution: 'STATIC', endpoints: [{ address: far.ip }] }, BEHIND))
    await mesh.apply({
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'HTTPRoute',
      metadata: { name: 'static', namespace: 'egress' },
      spec: {
        parentRefs: [{ group: 'networking.istio.io', kind: 'ServiceEntry', name: 'static' }],
        rules: [
          {
            filters: [{ type: 'RequestHeaderModifier', requestHeaderModifier: { set: [{ name: 'x-added', value: 'by the waypoint' }] } }],
            retry: { codes: [503], attempts: 2 },
            backendRefs: [{ group: 'networking.istio.io', kind: 'Hostname', name: 'static.example.com', port: 80 }],
          },
        ],
      },
    })
    await mesh.until('the waypoint adds its header', async () => {
      const answer = await ask(client, 'http://static.example.com/')
      return answer.status === 200 && body(answer).added === 'by the waypoint'
    })
    const waypoint = await mesh.pod('egress/way')
    assert.equal(body(await ask(client, 'http://static.example.com/')).from?.replace('::ffff:', ''), waypoint.ip)
    for (let i = 0; i < 4; i++) assert.equal((await ask(client, 'http://static.example.com/flaky')).status, 200)
    await mesh.until('the status says that it is bound', () => said('static', 'istio.io/WaypointBound') === 'True WaypointAccepted')
  })

  it('through a waypoint: endpoints with a name', async () => {
    await mesh.apply(entry('named', { resolution: 'DNS', endpoints: [{ address: 'far.outside.svc.cluster.local' }] }, BEHIND))
    const waypoint = await mesh.pod('egress/way')
    await mesh.until('it goes through the waypoint', async () => {
      const answer = await ask(client, 'http://named.example.com/')
      return answer.status === 200 && body(answer).from?.replace('::ffff:', '') === waypoint.ip
    })
  })

  it('through a waypoint: a block, to the address that was dialled', async () => {
    await mesh.apply(
      entry(
        'block',
        { hosts: ['*.block.example'], addresses: ['198.51.100.0/24'], resolution: 'NONE', ports: [{ number: 8080, name: 'http' }] },
        BEHIND,
      ),
    )
    const waypoint = await mesh.pod('egress/way')
    await mesh.until('it goes through the waypoint', async () => {
      const answer = await ask(client, `http://${FAR}:8080/`)
      return answer.status === 200 && body(answer).from?.replace('::ffff:', '') === waypoint.ip
    })
  })

  it('a VirtualService’s fault', async () => {
    await mesh.apply({
      apiVersion: 'networking.istio.io/v1',
      kind: 'VirtualService',
      metadata: { name: 'named', namespace: 'egress' },
      spec: {
        hosts: ['named.example.com'],
        http: [
          { fault: { abort: { httpStatus: 418, percentage: { value: 100 } } }, route: [{ destination: { host: 'named.example.com' } }] },
        ],
      },
    })
    await answers(client, 'http://named.example.com/', 418)
    assert.equal((await ask(client, 'http://static.example.com/')).status, 200)
  })

  it('egress policy: who may go there', async () => {
    const principals = ['cluster.local/ns/shop/sa/client', 'cluster.local/ns/egress/sa/way']
    assert.equal((await ask(guest, 'http://static.example.com/')).status, 200)
    await mesh.apply({
      apiVersion: 'security.istio.io/v1',
      kind: 'AuthorizationPolicy',
      metadata: { name: 'clients', namespace: 'egress' },
      spec: { action: 'ALLOW', rules: [{ from: [{ source: { principals: principals.slice(0, 1) } }] }] },
    })
    await answers(guest, 'http://static.example.com/', 403)
    assert.equal((await ask(client, 'http://static.example.com/')).status, 200)
  })

  it('a waypoint that is not there is not gone round', async () => {
    await mesh.apply(entry('static', { resolution: 'STATIC', endpoints: [{ address: far.ip }] }, { 'istio.io/use-waypoint': 'gone' }))
    await mesh.until('it is refused', async () => (await ask(client, 'http://static.example.com/')).error === 'ECONNRESET')
    assert.ok((await metric(mesh, 1, 15_020, 'weft_refused_total', { code: 'UNKNOWN_WAYPOINT' })) > 0)
    await mesh.until('the status says so', () => said('static', 'istio.io/WaypointBound') === 'False WaypointIsNotReady')
  })

  it('taken away, the host is nobody’s again', async () => {
    await mesh.client.delete('serviceentries', 'egress', 'static')
    await mesh.until('the name is gone', async () =>
      /ENOTFOUND|EAI_AGAIN/.test((await ask(client, 'http://static.example.com/')).error ?? ''),
    )
  })
})
