// Istio's own ztunnel where our agent redirects by nftables: the rules are Istio's, so it needs nothing of ours. By addresses only:
// without programs this runtime has no virtual addresses outside the mesh, and the stock ztunnel serves no names here.
// The binary is given by ZTUNNEL=PATH.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { deployedPod, type TestMesh, testMesh, type TestPod } from '../support/mesh.ts'
import { skipTest } from '../support/skip.ts'
import { accessLines } from '../support/ztunnel-facts.ts'

const SERVER = `require('node:http').createServer((q, r) => r.end(q.socket.remoteAddress.replace('::ffff:', ''))).listen(8080, '::')`
const OBJECTS = [
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop', labels: { 'istio.io/dataplane-mode': 'ambient' } } },
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'outside' } },
  ...['one', 'two', 'visitor'].map((name) => ({
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name, namespace: name === 'visitor' ? 'outside' : 'shop' },
  })),
  deployedPod('shop', 'one', 'node-1', ['node', '-e', SERVER]),
  deployedPod('shop', 'two', 'node-2', ['node', '-e', SERVER]),
  deployedPod('outside', 'visitor', 'node-1', ['node', '-e', SERVER]),
]

for (const nodes of [['node-2'], ['node-1', 'node-2']]) {
  describe(`the stock ztunnel on ${nodes.join(' and ')}, redirected to by nftables`, function () {
    this.timeout('120s')
    let mesh: TestMesh
    const pods = {} as Record<'one' | 'two' | 'visitor', TestPod>

    before(async function () {
      const path = process.env.ZTUNNEL
      if (path === undefined || !existsSync(path)) skipTest(this, `ZTUNNEL ${path === undefined ? 'is not set' : `names no file: ${path}`}`)
      mesh = await testMesh({
        objects: OBJECTS,
        stockZtunnel: { path, nodes },
        timeoutMs: 60_000,
        componentArgs: { cni: ['--redirect=nftables'] },
      })
      pods.one = await mesh.pod('shop/one')
      pods.two = await mesh.pod('shop/two')
      pods.visitor = await mesh.pod('outside/visitor')
      await mesh.until('enrolled', async () =>
        (await mesh.status()).pods.every((pod) => pod.namespace === 'outside' || pod.enrolment === 'enabled'),
      )
    })
    after(async () => {
      await mesh?.[Symbol.asyncDispose]()
    })

    const ask = async (from: TestPod, ip: string): Promise<string> => {
      const url = `http://${ip.includes(':') ? `[${ip}]` : ip}:8080/`
      const { stdout } = await from.script(`
        const answer = await fetch(${JSON.stringify(url)}, { signal: AbortSignal.timeout(5000) }).then((r) => r.text(), (e) => e.cause?.code ?? e.name)
        console.log(answer)`)
      return stdout.trim()
    }

    it('carries requests both ways as mutual TLS, with the client’s address kept, IPv4 and IPv6', async () => {
      const { one, two } = pods
      for (const [from, to] of [
        [one, two],
        [two, one],
      ] as const) {
        await mesh.until('the path is known', async () => (await ask(from, to.ip)) === from.ip)
        assert.equal(await ask(from, to.ip6), from.ip6)
        const node = to === two ? 2 : 1
        const line = accessLines(mesh, node).findLast((each) => each.direction === 'inbound' && each['dst.workload'] === to.name)
        assert.equal(line?.['src.identity'], `spiffe://cluster.local/ns/shop/sa/${from.name}`)
      }
    })

    it('refuses plaintext under STRICT, and takes it without', async () => {
      const { two, visitor } = pods
      assert.equal(await ask(visitor, two.ip), visitor.ip)
      const spec = { mtls: { mode: 'STRICT' } }
      const strict = {
        apiVersion: 'security.istio.io/v1',
        kind: 'PeerAuthentication',
        metadata: { name: 'strict', namespace: 'shop' },
        spec,
      }
      await mesh.apply(strict)
      for (const ip of [two.ip, two.ip6])
        await mesh.until('refused', async () => ['ECONNRESET', 'UND_ERR_SOCKET'].includes(await ask(visitor, ip)))
    })
  })
}
