// The main job on one node: an ordinary program in one pod reaches another over mutual TLS, both identities are known, policy
// decides, plaintext is what it should be. A real ztunnel, real capture, a real certificate authority.
import assert from 'node:assert/strict'
import type { Lab, LabPod } from '../support/netns-lab.ts'
import { lab } from '../support/netns-lab.ts'
import { TestCa } from '../support/test-ca.ts'
import { PodProgram, ZtunnelNode } from '../support/ztunnel-node.ts'

const CLIENT_ID = 'spiffe://cluster.local/ns/shop/sa/client'
const SERVER_ID = 'spiffe://cluster.local/ns/shop/sa/server'

const SERVER = `
import http from 'node:http'
import net from 'node:net'
http.createServer((request, response) => response.end('hello ' + request.socket.remoteAddress + ' ' + request.url)).listen(8080, '::')
net.createServer({ allowHalfOpen: true }, (socket) => {
  let bytes = 0
  socket.on('error', () => console.log('reset'))
  socket.on('data', (data) => { bytes += data.length })
  socket.on('end', () => socket.end('got ' + bytes))
}).listen(9090, '::')
net.createServer((socket) => { socket.on('error', () => console.log('ended')); socket.on('close', () => console.log('closed')); socket.pipe(socket) }).listen(7070, '::', () => console.log('listening'))
`
const get = (host: string): string => `
try { const r = await fetch('http://${host}:8080/x', { signal: AbortSignal.timeout(8000) }); console.log(r.status, await r.text()) }
catch (error) { console.log('failed', error.cause?.code ?? error.name) }
`

describe('the path of a connection', () => {
  let node: Lab
  let ca: TestCa
  let ztunnel: ZtunnelNode
  let [client, server, plain] = [] as unknown as [LabPod, LabPod, LabPod]
  const programs: PodProgram[] = []

  const program = (pod: LabPod, script: string): PodProgram => {
    const started = new PodProgram(node, pod, script)
    programs.push(started)
    return started
  }
  const mesh = (policies = '[]', extra = ''): string => `
workloads:
${[client, server, plain].map((pod) => workload(pod, pod === plain ? 'TCP' : 'HBONE')).join('\n')}
services:
- { name: web, namespace: shop, hostname: web.shop.svc.cluster.local, vips: ["/10.96.0.10"], ports: { 8080: 8080 }, canonical: true }
policies: ${policies}
networks: ["10.77.0.0/24", "10.96.0.0/16", "fd77::/64"]
${extra}`

  before(async () => {
    node = lab(`wzp${process.pid}`)
    ca = await TestCa.start()
    ;[client, server, plain] = [node.pod('client'), node.pod('server'), node.pod('plain')]
    for (const pod of [server, plain]) await program(pod, SERVER).says('listening')
    ztunnel = await ZtunnelNode.start(node, ca, mesh())
    await ztunnel.enrol(client)
    await ztunnel.enrol(server)
  })

  after(async () => {
    for (const started of programs) await started.stop()
    await ztunnel?.[Symbol.asyncDispose]()
    await node?.[Symbol.asyncDispose]()
    await ca?.[Symbol.asyncDispose]()
  })

  it('is ready and has asked for certificates of its pods only', async () => {
    assert.equal(ztunnel.get(15021, '/healthz/ready'), 'ready\n')
    for (let n = 0; n < 100 && ca.asked.length < 2; n++) await new Promise((resolve) => setTimeout(resolve, 20))
    assert.deepEqual([...new Set(ca.asked)].sort(), [CLIENT_ID, SERVER_ID])
  })

  for (const family of ['ip4', 'ip6'] as const) {
    it(`carries HTTP over HBONE with both identities, ${family}`, async () => {
      const from = ztunnel.lines.length
      const host = family === 'ip4' ? server.ip4 : `[${server.ip6}]`
      const shown = family === 'ip4' ? `::ffff:${client.ip4}` : client.ip6
      assert.equal(await program(client, get(host)).result(), `200 hello ${shown} /x\n`)
      for (const direction of ['outbound', 'inbound']) {
        const line = await ztunnel.line((found) => found.direction === direction && found.message === 'connection complete', from)
        assert.equal(line['src.identity'], CLIENT_ID)
        assert.equal(line['dst.identity'], SERVER_ID)
        assert.equal(line['dst.hbone_addr'], `${host}:8080`)
        assert.equal(line['dst.addr'], `${host}:15008`)
        assert.equal(line['src.workload'], 'client')
        assert.equal(line.error, undefined)
        assert.ok(Number(line.bytes_sent) > 50 && Number(line.bytes_recv) > 50)
      }
    })
  }

  it('carries a service by its virtual address', async () => {
    const from = ztunnel.lines.length
    assert.match(await program(client, get('10.96.0.10')).result(), /^200 hello/)
    const line = await ztunnel.line((found) => found.direction === 'outbound', from)
    assert.equal(line['dst.service'], 'web.shop.svc.cluster.local')
  })

  it('carries a call of a pod to its own service', async () => {
    const from = ztunnel.lines.length
    assert.equal(await program(server, get('10.96.0.10')).result(), `200 hello ::ffff:${server.ip4} /x\n`)
    const line = await ztunnel.line((found) => found.direction === 'inbound', from)
    assert.deepEqual([line['src.identity'], line['dst.identity']], [SERVER_ID, SERVER_ID])
  })

  it('passes on a half-close and 20 MiB, byte by byte', async () => {
    const script = `
import net from 'node:net'
const socket = net.connect(9090, '${server.ip4}')
const chunk = Buffer.alloc(1024 * 1024, 7)
for (let i = 0; i < 20; i++) if (!socket.write(chunk)) await new Promise((done) => socket.once('drain', done))
socket.end()
console.log((await socket.toArray()).join(''))`
    assert.equal(await program(client, script).result(), `got ${20 * 1024 * 1024}\n`)
  })

  it('reports both ends of the connection in its metrics', () => {
    const text = ztunnel.get(15020, '/metrics')
    for (const reporter of ['source', 'destination']) {
      const line = text.split('\n').find((row) => row.startsWith(`istio_tcp_connections_opened_total{reporter="${reporter}"`)) ?? ''
      assert.match(line, new RegExp(`source_principal="${CLIENT_ID}".*destination_principal="${SERVER_ID}".*mutual_tls`))
    }
    assert.match(text, /istio_active_proxy_count 2/)
  })

  it('dumps what it knows', () => {
    const dump = JSON.parse(ztunnel.get(15000, '/config_dump'))
    assert.deepEqual(
      dump.certificates.map((certificate: { identity: string; state: string }) => [certificate.identity, certificate.state]),
      [
        [CLIENT_ID, 'Available'],
        [SERVER_ID, 'Available'],
      ],
    )
    assert.equal(dump.workloads.length, 3)
    assert.equal(dump.workloadState.client.state, 'Up')
    assert.doesNotMatch(JSON.stringify(dump), /PRIVATE KEY/)
  })

  it('carries plaintext to a pod that is not enrolled', async () => {
    const from = ztunnel.lines.length
    assert.match(await program(client, get(plain.ip4)).result(), /^200 hello/)
    const line = await ztunnel.line((found) => found.direction === 'outbound', from)
    assert.equal(line['dst.identity'], undefined)
    assert.equal(line['dst.addr'], `${plain.ip4}:8080`)
  })

  it('takes plaintext from a pod that is not enrolled, with its address', async () => {
    const from = ztunnel.lines.length
    assert.equal(await program(plain, get(server.ip4)).result(), `200 hello ::ffff:${plain.ip4} /x\n`)
    const line = await ztunnel.line((found) => found.direction === 'inbound', from)
    assert.equal(line['src.identity'], undefined)
    assert.equal(line['src.workload'], 'plain')
  })

  it('refuses an address of the mesh that nobody has, after waiting', async () => {
    const from = ztunnel.lines.length
    assert.match(await program(client, get('10.77.0.99')).result(), /^failed (UND_ERR_SOCKET|ECONNRESET)/)
    assert.equal((await ztunnel.line((found) => found.direction === 'outbound', from)).code, 'UNKNOWN_DESTINATION')
  })

  it('refuses who dials its ports', async () => {
    const dial = (port: number): string => `
import net from 'node:net'
const socket = net.connect(${port}, '${server.ip4}').on('error', (error) => console.log(error.code)).on('connect', () => socket.end('GET / HTTP/1.0\\r\\n\\r\\n'))
socket.on('close', () => console.log('closed', socket.bytesRead)).resume()`
    for (const port of [15001, 15006, 15008])
      assert.match(await program(plain, dial(port)).result(), /ECONNRESET|ECONNREFUSED|closed 0/, `port ${port}`)
    for (const code of ['HANDSHAKE_FAILED', 'SELF_CALL']) await ztunnel.line((found) => found.code === code)
  })

  it('ends the live connections that a policy change forbids, and no other', async () => {
    const talk = (pod: LabPod, port: number): PodProgram =>
      program(
        pod,
        `import net from 'node:net'
const socket = net.connect(${port}, '${server.ip4}', () => socket.write('x')).on('error', (error) => console.log(error.code))
socket.on('data', () => console.log('echoed')).on('close', () => console.log('closed'))`,
      )
    const forbidden = talk(client, 7070)
    const other = talk(plain, 7070)
    await forbidden.says('echoed')
    await other.says('echoed')
    const policy = `
- { name: no-client, namespace: shop, scope: Namespace, action: Deny, dryRun: false, rules: [[[{ principals: [{ Exact: cluster.local/ns/shop/sa/client }] }]]] }`
    await ztunnel.describe(mesh(policy))
    await forbidden.says('closed')
    assert.doesNotMatch(other.output, /closed/)
    const from = ztunnel.lines.length
    assert.match(await program(client, get(server.ip4)).result(), /^failed/)
    const denied = await ztunnel.line((found) => found.code === 'POLICY_DENIED', from)
    assert.match(String(denied.error), /explicitly denied by: shop\/no-client/)
    assert.match(String((await ztunnel.line((found) => found.code === 'CONNECT_REFUSED', from)).error), /status=401/)
    await ztunnel.describe(mesh())
    assert.match(await program(client, get(server.ip4)).result(), /^200/)
  })

  it('under STRICT refuses plaintext and nothing else', async () => {
    const strict = `
- { name: strict, namespace: istio-system, scope: Global, action: Deny, dryRun: false, rules: [[[{ notPrincipals: [Presence] }]]] }`
    await ztunnel.describe(mesh(strict))
    assert.match(await program(plain, get(server.ip4)).result(), /^failed/)
    assert.match(await program(client, get(server.ip4)).result(), /^200/)
    await ztunnel.describe(mesh())
  })

  it('refuses a peer that is not who it should be, also when a connection to it is pooled', async () => {
    assert.match(await program(client, get(server.ip4)).result(), /^200/)
    await ztunnel.describe(mesh().replace('serviceAccount: server', 'serviceAccount: another'))
    const from = ztunnel.lines.length
    assert.match(await program(client, get(server.ip4)).result(), /^failed/)
    const line = await ztunnel.line((found) => found.direction === 'outbound', from)
    assert.match(String(line.error), /UNEXPECTED_IDENTITY/)
    await ztunnel.describe(mesh())
    assert.match(await program(client, get(server.ip4)).result(), /^200/)
  })

  it('carries 1,000 connections, 50 at once, and keeps none', async () => {
    const count = (name: string): number => Number(new RegExp(`^${name} (\\d+)`, 'm').exec(ztunnel.get(15020, '/metrics'))?.[1])
    const before = count('process_open_fds')
    const script = `
import http from 'node:http'
const one = () => new Promise((resolve, reject) => http.get({ host: '${server.ip4}', port: 8080, agent: false }, (response) => response.resume().on('end', resolve)).on('error', reject))
const worker = async () => { for (let i = 0; i < 20; i++) await one() }
await Promise.all(Array.from({ length: 50 }, worker))
console.log('done')`
    assert.equal(await program(client, script).result(), 'done\n')
    for (let n = 0; n < 50 && count('process_open_fds') > before + 2; n++) await new Promise((resolve) => setTimeout(resolve, 100))
    assert.ok(count('process_open_fds') <= before + 2, `${count('process_open_fds')} files are open, ${before} before`)
    const dump = JSON.parse(ztunnel.get(15000, '/config_dump'))
    assert.deepEqual(dump.workloadState.client.connections, { inbound: [], outbound: [] })
    assert.deepEqual(dump.workloadState.server.connections, { inbound: [], outbound: [] })
  })

  it('answers names of the mesh', async () => {
    const script = `
import { Resolver } from 'node:dns/promises'
const resolver = new Resolver(); resolver.setServers(['10.96.0.53'])
console.log(await resolver.resolve4('web.shop.svc.cluster.local'))`
    assert.equal(await program(client, script).result(), "[ '10.96.0.10' ]\n")
  })

  it('lets a pod go', async () => {
    await ztunnel.release(client)
    assert.equal(await program(client, get(server.ip4)).result(), `200 hello ::ffff:${client.ip4} /x\n`)
    await ztunnel.enrol(client)
    assert.match(await program(client, get(server.ip4)).result(), /^200/)
  })

  it('on SIGTERM takes nothing new, lets live connections end, forces the rest at the deadline', async () => {
    const live = program(
      client,
      `import net from 'node:net'
const socket = net.connect(7070, '${server.ip4}', () => setInterval(() => socket.write('x'), 200)).on('error', (error) => console.log(error.code))
let count = 0
socket.on('data', () => console.log('echo', ++count)).on('close', () => { console.log('closed'); process.exit() })`,
    )
    await live.says('echo 1')
    const from = ztunnel.lines.length
    const ended = ztunnel.stop()
    await ztunnel.line((line) => line.message === 'draining', from)
    assert.match(await program(client, get(server.ip4)).result(), /^failed/)
    const echoed = live.output
    await live.says(`echo ${echoed.split('\n').length + 3}`)
    assert.equal(await ended, 0)
    await live.says('closed')
    assert.ok(ztunnel.lines.some((line) => line.code === 'DRAINED' && line.direction === 'outbound'))
  })
})

function workload(pod: LabPod, protocol: string): string {
  const service = pod.name === 'server' ? ', services: { shop/web.shop.svc.cluster.local: { 8080: 8080 } }' : ''
  const names = `name: ${pod.name}, namespace: shop, serviceAccount: ${pod.name}, workloadName: ${pod.name}, canonicalName: ${pod.name}`
  return `- { uid: "Kubernetes//Pod/shop/${pod.name}", ${names}, workloadIps: ["${pod.ip4}", "${pod.ip6}"], protocol: ${protocol}${service} }`
}
