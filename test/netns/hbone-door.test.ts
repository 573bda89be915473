// Port 15008 against whoever may dial it: each refusal with its reason, beside a peer that is admitted. Two data threads.
import assert from 'node:assert/strict'
import type tls from 'node:tls'
import { type Dial, dialTcp, dialTls, tryConnect } from '../support/mesh-view.ts'
import type { Lab, LabPod } from '../support/netns-lab.ts'
import { lab } from '../support/netns-lab.ts'
import { TestCa } from '../support/test-ca.ts'
import { PodProgram, ZtunnelNode } from '../support/ztunnel-node.ts'

const CLIENT_ID = 'spiffe://cluster.local/ns/shop/sa/client'

describe('the door of a pod', () => {
  let node: Lab
  let ca: TestCa
  let foreign: TestCa
  let ztunnel: ZtunnelNode
  let [server, outside] = [] as unknown as [LabPod, LabPod]
  let app: PodProgram

  before(async () => {
    node = lab(`wzd${process.pid}`)
    ca = await TestCa.start()
    foreign = await TestCa.start('other.domain')
    ;[server, outside] = [node.pod('server'), node.pod('outside')]
    app = new PodProgram(
      node,
      server,
      `import http from 'node:http'; http.createServer((request, response) => response.end('hello')).listen(8080, () => console.log('listening'))`,
    )
    await app.says('listening')
    const pod = (of: LabPod, protocol: string): string =>
      `- { uid: "Kubernetes//Pod/shop/${of.name}", name: ${of.name}, namespace: shop, serviceAccount: ${of.name}, workloadIps: ["${of.ip4}", "${of.ip6}"], protocol: ${protocol} }`
    const yaml = `workloads:\n${pod(server, 'HBONE')}\n${pod(outside, 'TCP')}\nnetworks: ["10.77.0.0/24"]\n`
    const limits = { WEFT_HANDSHAKE_TIMEOUT: '700ms', WEFT_MAX_HANDSHAKES: '20', ZTUNNEL_WORKER_THREADS: '2', WEFT_DIAL_TIMEOUT: '2s' }
    ztunnel = await ZtunnelNode.start(node, ca, yaml, limits)
    await ztunnel.enrol(server)
  })

  after(async () => {
    await app?.stop()
    await ztunnel?.[Symbol.asyncDispose]()
    await node?.[Symbol.asyncDispose]()
    await ca?.[Symbol.asyncDispose]()
    await foreign?.[Symbol.asyncDispose]()
  })

  /** The way of a client in the unenrolled pod. */
  const door = (): Dial => ({ from: outside.path, ip: server.ip4 })
  const dial = (options: tls.ConnectionOptions): Promise<tls.TLSSocket> => dialTls(door(), options)
  const connect = (options: tls.ConnectionOptions, authority: string): Promise<string> => tryConnect(door(), options, authority)

  it('admits a peer of the trust domain', async () => {
    assert.equal(await connect(await ca.workload(CLIENT_ID), `${server.ip4}:8080`), '200')
  })

  for (const { name, port = 8080, ip, want, code } of [
    { name: 'another address', ip: '10.77.0.99', want: '400', code: 'WRONG_AUTHORITY' },
    { name: 'loopback', ip: '127.0.0.1', want: '400', code: 'WRONG_AUTHORITY' },
    { name: 'port 15001', port: 15001, want: '503', code: 'SELF_CALL' },
    { name: 'port 15006', port: 15006, want: '503', code: 'SELF_CALL' },
    { name: 'port 15008', port: 15008, want: '503', code: 'SELF_CALL' },
    { name: 'port 15053', port: 15053, want: '503', code: 'SELF_CALL' },
    { name: 'a port where nothing listens', port: 8081, want: '503', code: 'DIAL_' },
    { name: 'a host that it does not serve', ip: 'other.shop.svc.cluster.local', want: '503', code: 'UNKNOWN_HOST' },
  ] as { name: string; port?: number; ip?: string; want: string; code: string }[]) {
    it(`refuses ${name}: ${want}`, async () => {
      const from = ztunnel.lines.length
      assert.equal(await connect(await ca.workload(CLIENT_ID), `${ip ?? server.ip4}:${port}`), want)
      assert.equal(
        (await ztunnel.line((line) => String(line.code).startsWith(code), from))['src.addr']?.toString().startsWith(outside.ip4),
        true,
      )
    })
  }

  for (const { name, options, code, reason } of [
    { name: 'a peer without a certificate', options: async () => ({}), code: 'PEER_REFUSED', reason: /no certificate/ },
    {
      name: 'a peer of another root',
      options: () => foreign.workload('spiffe://other.domain/ns/shop/sa/client'),
      code: 'PEER_REFUSED',
      reason: /OpenSSL/,
    },
    {
      name: 'a peer without ALPN',
      options: async () => ({ ...(await ca.workload(CLIENT_ID)), ALPNProtocols: [] }),
      code: 'ALPN_MISSING',
      reason: /HTTP\/2/,
    },
    {
      name: 'TLS 1.2',
      options: async () => ({ ...(await ca.workload(CLIENT_ID)), maxVersion: 'TLSv1.2' as const }),
      code: 'HANDSHAKE_FAILED',
      reason: /protocol/,
    },
  ]) {
    it(`refuses ${name}`, async () => {
      const from = ztunnel.lines.length
      assert.notEqual(await connect(await options(), `${server.ip4}:8080`), '200')
      assert.match(String((await ztunnel.line((line) => line.code === code, from)).error), reason)
    })
  }

  it('does not resume sessions', async () => {
    const options = await ca.workload(CLIENT_ID)
    const first = await dial(options)
    const session = await new Promise<Buffer | undefined>((resolve) => {
      first.once('session', resolve)
      setTimeout(() => resolve(first.getSession()), 300)
    })
    first.destroy()
    const second = await dial({ ...options, ...(session === undefined ? {} : { session }) })
    assert.equal(second.isSessionReused(), false)
    second.destroy()
    await new Promise((resolve) => setTimeout(resolve, 200)) // its reset may be a line of the log
  })

  it('ends handshakes that do not finish, and has a bound for them', async () => {
    const from = ztunnel.lines.length
    const sockets = Array.from({ length: 60 }, () => {
      const socket = dialTcp(door())
      socket.on('error', () => undefined).resume()
      return new Promise<void>((resolve) => socket.on('close', () => resolve()))
    })
    await Promise.all(sockets)
    const count = (code: string): number => ztunnel.lines.slice(from).filter((line) => line.code === code).length
    const all = (): number => count('TOO_MANY_HANDSHAKES') + count('HANDSHAKE_FAILED')
    for (let n = 0; n < 50 && all() < 60; n++) await new Promise((resolve) => setTimeout(resolve, 20)) // lines come by a pipe
    assert.equal(all(), 60)
    assert.ok(count('TOO_MANY_HANDSHAKES') >= 20)
    assert.match(ztunnel.get(15020, '/metrics'), /weft_handshakes_open 0/)
    assert.equal(await connect(await ca.workload(CLIENT_ID), `${server.ip4}:8080`), '200')
  })

  it('counts the sockets that are open, over both threads', async () => {
    for (let n = 0; n < 50; n++) {
      if (/istio_tcp_sockets_open\{reporter="destination"\} 0/.test(ztunnel.get(15020, '/metrics'))) return
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    assert.fail(
      ztunnel
        .get(15020, '/metrics')
        .match(/istio_tcp_sockets_open.*/g)
        ?.join('\n'),
    )
  })
})
