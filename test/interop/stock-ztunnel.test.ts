// Istio's own ztunnel under our control plane, CA, agent and kernel programs, and against our ztunnel on the other node.
// The binary is given by ZTUNNEL=PATH; nothing here builds it.
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { deployedPod, service, type TestMesh, testMesh, type TestPod } from '../support/mesh.ts'
import { skipTest } from '../support/skip.ts'

const PORT = 8080
const SERVER = `import http from 'node:http'
http.createServer((request, response) => {
  let size = 0
  request.on('data', (chunk) => { size += chunk.length })
  request.on('end', () => response.end(JSON.stringify({ peer: request.socket.remoteAddress, size })))
}).listen(${PORT}, '::')`

/** Asks `url` (with a body of `size` bytes) and prints what came, or the error's code. */
const ask = (url: string, size = 0): string => `
try {
  const response = await fetch(${JSON.stringify(url)}, { method: 'POST', body: Buffer.alloc(${size}, 97), signal: AbortSignal.timeout(5000) })
  console.log(await response.text())
} catch (error) { console.log(error.cause?.code ?? error.name) }`

const program = (text: string): string[] => ['node', '--input-type=module', '-e', text]

const only4 = (object: object): object => ({ ...object, spec: { ...(object as { spec: object }).spec, ipFamilyPolicy: 'SingleStack' } })

const OBJECTS = [
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop', labels: { 'istio.io/dataplane-mode': 'ambient' } } },
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'outside' } },
  deployedPod('shop', 'one', 'node-1', program(SERVER)),
  deployedPod('shop', 'two', 'node-2', program(SERVER)),
  deployedPod('outside', 'visitor', 'node-1', ['sleep', '3600']),
  only4(service('shop', 'one', { 80: PORT })),
  only4(service('shop', 'two', { 80: PORT })),
  ...['one', 'two', 'visitor'].map((name) => ({
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name, namespace: name === 'visitor' ? 'outside' : 'shop' },
  })),
]

const policy = (name: string, kind: string, spec: object): object => ({
  apiVersion: 'security.istio.io/v1',
  kind,
  metadata: { name, namespace: 'shop' },
  spec,
})

for (const nodes of [['node-2'], ['node-1', 'node-2']]) {
  describe(`the stock ztunnel on ${nodes.join(' and ')}`, function () {
    this.timeout('120s')
    let mesh: TestMesh
    let one: TestPod
    let two: TestPod
    let visitor: TestPod

    before(async function () {
      const path = process.env.ZTUNNEL
      if (path === undefined || !existsSync(path)) skipTest(this, `ZTUNNEL ${path === undefined ? 'is not set' : `names no file: ${path}`}`)
      mesh = await testMesh({ objects: OBJECTS, stockZtunnel: { path, nodes }, timeoutMs: 60_000 })
      one = await mesh.pod('shop/one')
      two = await mesh.pod('shop/two')
      visitor = await mesh.pod('outside/visitor')
    })
    after(() => mesh?.[Symbol.asyncDispose]())

    const said = async (pod: TestPod, url: string, size?: number): Promise<string> => (await pod.script(ask(url, size))).stdout.trim()
    const answer = async (pod: TestPod, url: string, size?: number): Promise<unknown> => {
      const text = await said(pod, url, size)
      return text.startsWith('{') ? JSON.parse(text) : text
    }
    const peerOf = (pod: TestPod): string => `::ffff:${pod.ip}`

    it('carries requests both ways, by service name and address, with the client’s address kept', async () => {
      assert.deepEqual(await answer(one, 'http://two.shop'), { peer: peerOf(one), size: 0 })
      assert.deepEqual(await answer(two, 'http://one.shop'), { peer: peerOf(two), size: 0 })
      assert.deepEqual(await answer(one, `http://${two.ip}:${PORT}`), { peer: peerOf(one), size: 0 })
      assert.deepEqual(await answer(two, `http://[${one.ip6}]:${PORT}`), { peer: two.ip6, size: 0 })
    })

    it('carries 32 MiB both ways, exactly', async () => {
      const size = 32 * 1024 * 1024
      assert.deepEqual(await answer(one, 'http://two.shop', size), { peer: peerOf(one), size })
      assert.deepEqual(await answer(two, 'http://one.shop', size), { peer: peerOf(two), size })
    })

    it('logs both identities on the receiving side', async () => {
      const [first, second] = ['one', 'two'].map((name) => `spiffe://cluster.local/ns/shop/sa/${name}`)
      const has = (component: string, source?: string, destination?: string): boolean =>
        readFileSync(join(mesh.mesh.layout.logsDir, `${component}.log`), 'utf8')
          .split('\n')
          .some(
            (line) =>
              line.includes('"direction":"inbound"') &&
              line.includes(`"src.identity":"${source}"`) &&
              line.includes(`"dst.identity":"${destination}"`),
          )
      await mesh.until('both logs name both identities', () => has('ztunnel-node-2', first, second) && has('ztunnel-node-1', second, first))
    })

    it('denies what a policy denies, on either side', async () => {
      for (const [server, client, url] of [
        ['two', one, 'http://two.shop'],
        ['one', two, 'http://one.shop'],
      ] as const) {
        const action = {
          selector: { matchLabels: { app: server } },
          action: 'DENY',
          rules: [{ from: [{ source: { namespaces: ['shop'] } }] }],
        }
        await mesh.apply(policy('deny', 'AuthorizationPolicy', action))
        await mesh.until(`${server} refuses`, async () => /ECONNRESET|UND_ERR_SOCKET/.test(await said(client, url)))
        await mesh.client.delete('authorizationpolicies', 'shop', 'deny')
        await mesh.until(`${server} answers again`, async () => (await said(client, url)).startsWith('{'))
      }
    })

    it('refuses plaintext under STRICT, and takes it without', async () => {
      assert.equal(((await answer(visitor, 'http://two.shop')) as { size: number }).size, 0)
      await mesh.apply(policy('strict', 'PeerAuthentication', { mtls: { mode: 'STRICT' } }))
      for (const url of ['http://one.shop', 'http://two.shop'])
        await mesh.until(`${url} refuses`, async () => !(await said(visitor, url)).startsWith('{'))
      assert.deepEqual(await answer(one, 'http://two.shop'), { peer: peerOf(one), size: 0 })
      await mesh.client.delete('peerauthentications', 'shop', 'strict')
      await mesh.until('plaintext is taken again', async () => (await said(visitor, 'http://two.shop')).startsWith('{'))
    })

    it('refuses a closed port', async () => {
      assert.match(await said(one, `http://${two.ip}:4242`), /ECONNRESET|UND_ERR_SOCKET|ECONNREFUSED/)
      assert.match(await said(two, `http://${one.ip}:4242`), /ECONNRESET|UND_ERR_SOCKET|ECONNREFUSED/)
    })
  })
}
