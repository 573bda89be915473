// The certificate of a pod while its connections live: renewed at half of its life, kept while the authority refuses, of no use
// once it has expired. A real ztunnel, leaves of six seconds.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import type tls from 'node:tls'
import { connectHbone, type HboneClientConnection } from '../../hbone/client.ts'
import { duplexOf } from '../../hbone/duplex.ts'
import { type Dial, dialTls, tryConnect } from '../support/mesh-view.ts'
import { type Lab, type LabPod, lab } from '../support/netns-lab.ts'
import { TestCa } from '../support/test-ca.ts'
import { PodProgram, ZtunnelNode } from '../support/ztunnel-node.ts'

const CLIENT_ID = 'spiffe://cluster.local/ns/shop/sa/client'
const SERVER_ID = 'spiffe://cluster.local/ns/shop/sa/server'
const LEAF_MS = 6000

/** A tunnel to the app, which sends back what it gets. */
class Echo implements Disposable {
  readonly #connection: HboneClientConnection
  readonly #stream: Duplex

  constructor(connection: HboneClientConnection, stream: Duplex) {
    this.#connection = connection
    this.#stream = stream
  }

  async says(text: string): Promise<string> {
    this.#stream.write(text)
    const [answer] = (await once(this.#stream, 'data', { signal: AbortSignal.timeout(3000) })) as [Buffer]
    return answer.toString()
  }

  [Symbol.dispose](): void {
    this.#connection.destroy()
  }
}

describe('the certificate of a pod', () => {
  let node: Lab
  let ca: TestCa
  let server: LabPod
  let door: Dial
  let app: PodProgram
  let ztunnel: ZtunnelNode

  before(async () => {
    node = lab(`wzr${process.pid}`)
    ca = await TestCa.start()
    ca.leafMs = LEAF_MS
    server = node.pod('server')
    const outside = node.pod('outside')
    door = { from: outside.path, ip: server.ip4 }
    app = new PodProgram(
      node,
      server,
      `import net from 'node:net'; net.createServer((socket) => socket.on('error', () => undefined).pipe(socket)).listen(8080, () => console.log('listening'))`,
    )
    await app.says('listening')
    const pod = `- { uid: "Kubernetes//Pod/shop/server", name: server, namespace: shop, serviceAccount: server, workloadIps: ["${server.ip4}"], protocol: HBONE }`
    const settings = { ZTUNNEL_WORKER_THREADS: '2', WEFT_CERTIFICATE_WAIT: '300ms' }
    ztunnel = await ZtunnelNode.start(node, ca, `workloads:\n${pod}\nnetworks: ["10.77.0.0/24"]\n`, settings)
    await ztunnel.enrol(server)
  })

  after(async () => {
    await app?.stop()
    await ztunnel?.[Symbol.asyncDispose]()
    await node?.[Symbol.asyncDispose]()
    await ca?.[Symbol.asyncDispose]()
  })

  const dial = async (): Promise<tls.TLSSocket> => dialTls(door, await ca.workload(CLIENT_ID))
  const open = async (): Promise<Echo> => {
    const connection = connectHbone(await dial())
    const stream = duplexOf(await connection.open({ authority: `${server.ip4}:8080` }))
    stream.on('error', () => undefined) // of the end of the test
    return new Echo(connection, stream)
  }
  const connects = async (): Promise<string> => tryConnect(door, await ca.workload(CLIENT_ID), `${server.ip4}:8080`)
  const line = (message: string, from: number) => ztunnel.line((each) => each.message === message && each.id === SERVER_ID, from)

  async function serial(): Promise<string> {
    const socket = await dial()
    const { serialNumber } = socket.getPeerCertificate()
    socket.destroy()
    return serialNumber
  }

  it('is renewed at half of its life: new connections get the new one, those that are open go on', async () => {
    using echo = await open()
    assert.equal(await echo.says('one'), 'one')
    const before = await serial()
    const from = ztunnel.lines.length
    const began = performance.now()
    await line('certificate fetched', from)
    assert.ok(performance.now() - began < LEAF_MS, 'before it would have expired')
    const after = await serial()
    assert.notEqual(after, before)
    assert.equal(await echo.says('two'), 'two')
  })

  it('stays in use while renewal fails, with longer and longer pauses, until it expires; then nobody is admitted', async () => {
    using echo = await open()
    assert.equal(await echo.says('one'), 'one')
    const from = ztunnel.lines.length
    ca.isRefusing = true
    const first = await line('no certificate', from)
    assert.equal(first.isStillValid, true)
    const held = await serial()
    assert.equal(await connects(), '200')
    const second = await line('no certificate', ztunnel.lines.length)
    assert.ok(Number(second.retryMs) > Number(first.retryMs), `${String(second.retryMs)} after ${String(first.retryMs)}`)
    assert.equal(await serial(), held)
    const end = performance.now() + 2 * LEAF_MS
    let answer = await connects()
    while (answer === '200' && performance.now() < end) answer = await connects()
    assert.notEqual(answer, '200', 'an expired certificate serves nobody')
    await ztunnel.line(({ code }) => code === 'CERTIFICATE_TIMEOUT', from)
    assert.equal(await echo.says('two'), 'two', 'a connection that is open goes on')
    ca.isRefusing = false
    await line('certificate fetched', ztunnel.lines.length)
    assert.equal(await connects(), '200')
    assert.notEqual(await serial(), held)
  })
})
