// A stock istioctl reads the dumps of our ztunnels, from a file and from its standard input, and shows what `weft` shows.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { VIEWS, type ZtunnelDump } from '../../cli/ztunnel-views.ts'
import { getInNetns } from '../../runtime/node-http.ts'
import { buildIstioctl, ztunnelConfig } from '../support/interop-istioctl.ts'
import { deployedPod, type RunningCommand, service, type TestMesh, testMesh } from '../support/mesh.ts'

const ECHO = `require('net').createServer((socket) => socket.pipe(socket)).listen(8080, '::')`
/** Holds one connection until its input ends. */
const HOLD = `
const hold = () => require('net').connect(80, 'server.shop.svc.cluster.local')
  .on('data', (data) => console.log(String(data)))
  .on('error', (error) => { console.log(error.code); setTimeout(hold, 200) })
  .write('held')
hold()
process.stdin.on('end', () => process.exit()).resume()`
const WAYPOINT = {
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'Gateway',
  metadata: { name: 'way', namespace: 'shop' },
  spec: { gatewayClassName: 'istio-waypoint', listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }] },
}
const POLICY = {
  apiVersion: 'security.istio.io/v1',
  kind: 'AuthorizationPolicy',
  metadata: { name: 'only-client', namespace: 'shop' },
  spec: {
    selector: { matchLabels: { app: 'server' } },
    action: 'ALLOW',
    rules: [{ from: [{ source: { principals: ['cluster.local/ns/shop/sa/client'] } }] }],
  },
}

describe('a stock istioctl and our ztunnel', function () {
  this.timeout('60s')
  let program: string
  let mesh: TestMesh
  let held: RunningCommand
  const dumps: { text: string; dump: ZtunnelDump; file: string }[] = []
  const folder = mkdtempSync(join(tmpdir(), 'weft-istioctl-'))

  before(async function () {
    this.timeout('1500s') // the first build
    program = buildIstioctl()
    const behind = service('shop', 'behind', { 80: 9090 }) // another port: what is behind a waypoint is reached through it only
    mesh = await testMesh({
      objects: [
        { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop', labels: { 'istio.io/dataplane-mode': 'ambient' } } },
        ...['server', 'client'].map((name) => ({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace: 'shop' } })),
        deployedPod('shop', 'server', 'node-1', [process.execPath, '-e', ECHO]),
        deployedPod('shop', 'client', 'node-2', ['sleep', '600']),
        service('shop', 'server', { 80: 8080 }),
        {
          ...behind,
          metadata: { ...behind.metadata, labels: { 'istio.io/use-waypoint': 'way' } },
          spec: { ...(behind.spec as object), selector: { app: 'server' } },
        },
        WAYPOINT,
        POLICY,
      ],
    })
    held = (await mesh.pod('shop/client')).start([process.execPath, '-e', HOLD])
    await mesh.until('the connection is held', () => held.stdout.includes('held'))
    for (const index of [1, 2]) {
      const { body } = await getInNetns(mesh.node(index).netns, '127.0.0.1', 15_000, '/config_dump')
      const file = join(folder, `node-${index}.json`)
      writeFileSync(file, body)
      dumps.push({ text: body, dump: JSON.parse(body) as ZtunnelDump, file })
    }
  })
  after(async () => {
    rmSync(folder, { recursive: true, force: true })
    await held?.stop()
    await mesh?.[Symbol.asyncDispose]()
  })

  // It leaves cells empty where we write a dash, and its table cannot tell an empty cell from none.
  const sorted = (rows: readonly (readonly string[])[]): string[] =>
    rows.map((row) => row.filter((cell) => cell !== '' && cell !== '-').join(' ')).sort()

  for (const name of ['workloads', 'services', 'policies', 'certificates'])
    it(`shows the same ${name}`, () => {
      for (const { dump, file } of dumps) {
        const view = VIEWS[name]
        const [header, ...rows] = cellsOf(ztunnelConfig(program, [name, '--file', file]))
        assert.equal(header, view?.header.join(' '))
        assert.deepEqual(rows.sort(), sorted(view?.rows(dump, Date.now()) ?? []))
        assert.ok(rows.length > 0)
      }
    })

  it('names the waypoint of a service', () => {
    const rows = cellsOf(ztunnelConfig(program, ['services', '--file', dumps[0]?.file ?? '']))
    assert.match(rows.find((row) => row.startsWith('shop behind ')) ?? '', / way 1\/1$/)
  })

  it('shows the connection on both sides, and reads its standard input', () => {
    const both = dumps.map(({ text }) => cellsOf(ztunnelConfig(program, ['connections', '--raw', '--file', '-'], text)))
    const [server, client] = both.map((rows) => rows.find((row) => /^(server|client)\.shop /.test(row)))
    assert.match(server ?? '', /^server\.shop Inbound \S+:8080 \S+ \S+:8080 HBONE$/)
    assert.match(client ?? '', /^client\.shop Outbound \S+ \S+:15008 \S+:80 HBONE$/)
  })

  const fields: Readonly<Record<string, readonly string[]>> = {
    workloads: ['uid', 'workloadIps', 'protocol', 'name', 'namespace', 'serviceAccount', 'clusterId', 'trustDomain', 'status'],
    services: ['name', 'namespace', 'hostname', 'vips', 'ports', 'endpoints'],
    policies: ['name', 'namespace', 'scope', 'action', 'rules'],
    certificates: ['identity', 'state', 'certChain', 'rootCerts'],
    connections: ['state', 'connections', 'info'],
  }
  for (const [name, wanted] of Object.entries(fields))
    it(`reads the fields of ${name}`, () => {
      const rows = JSON.parse(ztunnelConfig(program, [name, '-o', 'json', '--file', dumps[0]?.file ?? ''])) as Record<string, unknown>[]
      const ours = rows.filter((row) => JSON.stringify(row).includes('shop'))
      assert.ok(ours.length > 0)
      for (const row of ours) for (const field of wanted) assert.ok(hasContent(row[field]), `${field} of ${JSON.stringify(row)}`)
    })
})

function hasContent(value: unknown): boolean {
  return typeof value === 'object' && value !== null ? Object.keys(value).length > 0 : value !== undefined && value !== null && value !== ''
}

/** A line's cells, one space between them. */
function cellsOf(text: string): string[] {
  return text
    .trim()
    .split('\n')
    .map((line) => line.trim().replaceAll(/ +/g, ' '))
}
