// A real waypoint is set and taken off while requests run: none is lost, they go through it in between, and its word about the
// client reaches the destination's log.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { deployment, service, type TestMesh, type TestPod, testMesh } from '../support/mesh.ts'
import { logLine, logLines } from '../support/mesh-view.ts'

const WEFT = join(import.meta.dirname, '..', '..', 'weft')
const SERVER = `
require('node:http').createServer((request, response) => response.end(request.headers['x-request-id'] === undefined ? 'direct' : 'waypoint')).listen(8080, '::')
`
/** A new connection per request until standard input ends; then what was answered, by answer. */
const LOAD = `
const { get } = require('node:http')
const counts = {}
const count = (what) => { counts[what] = (counts[what] ?? 0) + 1 }
let isOver = false
process.stdin.on('end', () => { isOver = true }).resume()
const one = () => new Promise((resolve) => {
  get('http://server/', { agent: false, timeout: 5000 }, (answer) => {
    let text = ''
    answer.on('data', (chunk) => { text += chunk }).on('end', () => { count(answer.statusCode + ' ' + text); resolve() })
  }).on('error', (error) => { count(error.code); resolve() })
})
;(async () => { while (!isOver) await one(); console.log(JSON.stringify(counts)) })()
`
const account = (name: string): object => ({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace: 'shop' } })
const OBJECTS = [
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop', labels: { 'istio.io/dataplane-mode': 'ambient' } } },
  account('client'),
  deployment('shop', 'server', ['node', '-e', SERVER], {
    pod: { nodeName: 'node-1' },
    container: { readinessProbe: { httpGet: { path: '/', port: 8080 }, periodSeconds: 1 } },
  }),
  deployment('shop', 'client', ['sleep', 'infinity'], { pod: { nodeName: 'node-2', serviceAccountName: 'client' } }),
  service('shop', 'server', { 80: 8080 }),
]

describe('a waypoint that is set while requests run', function () {
  this.timeout(90_000)
  let mesh: TestMesh
  let client: TestPod
  let server: TestPod

  before(async () => {
    mesh = await testMesh({ nodes: 2, objects: OBJECTS })
    client = await mesh.pod('shop/client')
    server = await mesh.pod('shop/server')
    assert.equal(await weft('apply', 'way', '-n', 'shop', '--wait'), 0)
  })
  after(async () => {
    await mesh?.[Symbol.asyncDispose]()
  })

  /** Not spawnSync: the mesh's API is served by this process. */
  const weft = (...words: readonly string[]): Promise<number> =>
    new Promise((resolve) => {
      execFile(WEFT, ['waypoint', ...words, '--name', mesh.mesh.layout.name], (error) => resolve(Number(error?.code ?? 0)))
    })
  const use = (name: string | null): Promise<unknown> =>
    mesh.client.patch('services', 'shop', 'server', { metadata: { labels: { 'istio.io/use-waypoint': name } } })

  it('loses none of them', async () => {
    assert.equal(await weft('status', 'way', '-n', 'shop'), 0)
    const load = client.start(['node', '-e', LOAD])
    for (const name of ['way', null, 'way', null]) {
      await pause(1500)
      await use(name)
    }
    await pause(1500)
    const { stdout } = await load.stop()
    const counts = JSON.parse(stdout) as Record<string, number>
    assert.deepEqual(Object.keys(counts).sort(), ['200 direct', '200 waypoint'], stdout)
    for (const count of Object.values(counts)) assert.ok(count > 20, stdout)
  })

  it('tells the destination whose requests it carries', async () => {
    await use('way')
    const get = (url: string): Promise<string> =>
      client
        .exec(['node', '-e', `fetch('${url}').then((answer) => answer.text()).then(console.log, () => console.log('failed'))`])
        .then(({ stdout }) => stdout.trim())
    await mesh.until('requests go through it', async () => (await get('http://server/')) === 'waypoint')
    assert.equal(await weft('delete', 'way', '-n', 'shop'), 0) // ends its connections: then their lines are written
    const line = await logLine(mesh, 'ztunnel-node-1', 0, (each) => each['src.client'] !== undefined)
    assert.deepEqual(
      [line['src.identity'], line['src.client']],
      ['spiffe://cluster.local/ns/shop/sa/way', 'spiffe://cluster.local/ns/shop/sa/client'],
    )
    await mesh.until('nobody gets through', async () => (await get('http://server/')) === 'failed')
    // nodes that have not heard of the new waypoint are waited for
    await mesh.until('nor past it', async () => (await get(`http://${server.ip}:8080/`)) === 'failed')
    assert.ok(logLines(mesh, 'ztunnel-node-2').some((each) => each.code === 'UNKNOWN_WAYPOINT'))
  })
})
