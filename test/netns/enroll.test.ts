// The node agent as a process, on the real kernel, with the real object API and a stand-in ztunnel: pods are enrolled and
// released by labels, survive kills on either side, and are repaired.
import assert from 'node:assert/strict'
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { pause, systemClock } from '../../kit/clock.ts'
import { SeqpacketThread } from '../../linux/seqpacket.ts'
import { AgentNode, type AgentPod } from '../support/agent-node.ts'
import type { LabPeer } from '../support/netns-lab.ts'

const NAME = `wcn${process.pid}`

describe('enrolment', () => {
  let node: AgentNode
  let client: AgentPod
  let server: AgentPod
  let clientApp: LabPeer
  let serverApp: LabPeer

  const call = async (port = 8080): Promise<string> => (await clientApp.do('call', { ip: server.lab.ip4, port })).split(' |')[0] ?? ''
  const isEnrolled = async (pod: AgentPod): Promise<boolean> => (await node.redirection(pod)) === 'enabled'

  before(async () => {
    node = await AgentNode.make(NAME)
    await node.namespace('shop', false)
    await node.startAgent()
    node.startZtunnel()
    client = await node.pod('shop', 'client')
    server = await node.pod('shop', 'server')
    clientApp = await node.lab.peer(client.lab.path, 'pods/client')
    serverApp = await node.lab.peer(server.lab.path, 'pods/server')
    await serverApp.do('listen', { name: 'server', ports: [8080] })
    await node.until(async () => (await node.monitor('/readyz'))?.startsWith('HTTP/1.1 200') ?? false, 'ready')
  })
  after(async () => {
    await node[Symbol.asyncDispose]()
  })

  it('records a pod that is not to be enrolled and leaves it alone', async () => {
    for (const pod of [client, server]) assert.equal((await node.ask('/cmdadd', pod)).status, 200)
    assert.equal((await node.ask('/cmdadd', client)).status, 200) // again
    assert.equal(node.stateFile(client).stage, 'out')
    assert.equal(await node.redirection(client), undefined)
    assert.match(await call(), /^server 8080 /)
  })

  it('enrols running pods when their namespace is labelled', async () => {
    await node.label('shop', true)
    await node.until(async () => (await isEnrolled(client)) && (await isEnrolled(server)), 'both are enrolled')
    assert.equal(await call(), `ztunnel 15001 orig=${server.lab.ip4}:8080`)
    const outside = await node.lab.peer(node.lab.nodePath, 'agent')
    assert.match(await outside.do('call', { ip: server.lab.ip4, port: 8080 }), /^ztunnel 15006 orig=/)
    assert.equal(node.stateFile(client).stage, 'enrolled')
    await outside.stop()
  })

  it('a pod that starts in a labelled namespace may run when it is enrolled, not before', async () => {
    const late = await node.pod('shop', 'late')
    const { status, text } = await node.ask('/cmdadd', late)
    assert.equal(status, 200, text)
    assert.equal(await node.redirection(late), 'enabled')
    assert.equal((await node.ask('/cmddel', late)).status, 200)
    assert.equal((await node.ask('/cmddel', late)).status, 200) // again
    assert.equal(existsSync(join(node.directory, 'cni', `${late.uid}.json`)), false)
    assert.deepEqual(
      readdirSync(node.lab.bpffs).filter((pin) => pin.includes(String(late.lab.cookie))),
      [],
    )
  })

  it('capture outlives the agent, and the next agent goes on', async () => {
    await node.kill('agent')
    assert.equal(await call(), `ztunnel 15001 orig=${server.lab.ip4}:8080`)
    await node.label('shop', false) // while nobody looks
    await node.startAgent()
    await node.until(async () => (await node.redirection(client)) === undefined && node.stateFile(client).stage === 'out', 'released')
    assert.match(await call(), /^server 8080 /)
    await node.label('shop', true)
    await node.until(async () => (await isEnrolled(client)) && (await isEnrolled(server)), 'enrolled again')
    assert.match(await call(), /^ztunnel 15001 /)
  })

  it('a dead ztunnel refuses connects; the next one serves the same pods', async () => {
    await node.kill('ztunnel')
    assert.match(await call(), /^error E/)
    assert.equal(await node.redirection(client), 'enabled')
    const began = systemClock.monotonicMs()
    node.startZtunnel()
    await node.until(async () => (await call()).startsWith('ztunnel 15001'), 'served again', 3000)
    assert.ok(systemClock.monotonicMs() - began < 3000)
  })

  for (const [kind, pin] of [
    ['guard', () => `guard_${server.lab.hostIfindex}`],
    ['inbound', () => `steer_${server.lab.cookie}`],
  ] as const) {
    it(`puts back what somebody took away: ${kind}`, async () => {
      const path = join(node.lab.bpffs, pin())
      const isCounted = async (): Promise<boolean> => (await node.metric(`weft_capture_drift_total{kind="${kind}"}`)) >= 1
      const isWhole = (): boolean => existsSync(path) && node.stateFile(server).stage === 'enrolled'
      await node.until(isWhole, 'enrolled')
      rmSync(path)
      // a pod that is just being announced to the new ztunnel climbs through all stages, and gets the pin back without a count
      await node.until(async () => {
        if (!isWhole()) return false
        if (await isCounted()) return true
        rmSync(path)
        return false
      }, 'repaired and counted')
      assert.equal(await node.redirection(server), 'enabled')
    })
  }

  it('attaches again after every pin was deleted', async () => {
    for (const pin of readdirSync(node.lab.bpffs)) rmSync(join(node.lab.bpffs, pin))
    await node.until(async () => (await node.metric('weft_capture_drift_total{kind="cgroup"}')) >= 1, 'noticed')
    await node.until(async () => (await call()).startsWith('ztunnel 15001'), 'captured again')
    await node.until(() => node.stateFile(client).stage === 'enrolled' && node.stateFile(server).stage === 'enrolled', 'enrolled')
  })

  it('a label set again while the pod is released cancels the release', async () => {
    await node.label('shop', false)
    await node.until(() => node.stateFile(client).stage === 'quiescing', 'waiting')
    assert.match(await call(), /^ztunnel 15001 /)
    await node.label('shop', true)
    await node.until(async () => (await isEnrolled(client)) && node.stateFile(client).stage === 'enrolled', 'enrolled')
    for (let i = 0; i < 20; i++) assert.match(await call(), /^ztunnel 15001 /)
  })

  it('waits for carried connections before ztunnel has to leave, and lets go of a pod without any', async () => {
    const holder = node.hold(client, server.lab.ip4, 8080)
    assert.match(await holder.say(''), /^ztunnel 15001 /)
    await node.label('shop', false)
    await node.until(() => node.stateFile(server).stage === 'out', 'the server has none')
    await pause(systemClock, 700)
    assert.equal(node.stateFile(client).stage, 'parting')
    assert.match(await call(), /^server 8080 /)
    assert.equal(await holder.say('still here'), 'still here')
    await holder.stop()
    await node.until(() => node.stateFile(client).stage === 'out', 'the client has none')
  })

  it('an app on a port of the proxy: pending, an event, nothing captured; fixed, it is enrolled', async () => {
    const odd = await node.pod('odd', 'odd')
    await node.namespace('odd', false)
    assert.equal((await node.ask('/cmdadd', odd)).status, 200)
    const app = await node.lab.peer(odd.lab.path, 'pods/odd')
    await app.do('listen', { name: 'odd', ports: [15_006], families: [4], reusePort: false })
    await node.label('odd', true)
    await node.until(async () => (await node.redirection(odd)) === 'pending', 'pending')
    const events = (await node.events()).filter((event) => 'reason' in event && event.reason === 'EnrolmentFailed')
    assert.equal(events.length, 1)
    assert.match(JSON.stringify(events[0]), /EADDRINUSE/)
    assert.match(await app.do('call', { ip: server.lab.ip4, port: 8080 }), /^server 8080 /)
    assert.equal(existsSync(join(node.lab.bpffs, `steer_${odd.lab.cookie}`)), false)
    const refused = await node.ask('/cmdadd', odd)
    assert.equal(refused.status, 503)
    assert.match(refused.text, /EADDRINUSE/)
    await app.do('closeAll')
    await node.until(() => isEnrolled(odd), 'enrolled')
    await node.ask('/cmddel', odd)
    await app.stop()
  })

  it('a pod that dies without a word is forgotten', async () => {
    const brief = await node.pod('odd', 'brief')
    assert.equal((await node.ask('/cmdadd', brief)).status, 200)
    assert.equal(await node.redirection(brief), 'enabled')
    node.lab.deleteNamespace(brief.lab)
    await node.until(() => !existsSync(join(node.directory, 'cni', `${brief.uid}.json`)), 'forgotten')
  })

  it('outbound only, where the pod asks for it', async () => {
    const gate = await node.pod('odd', 'gate', { 'ambient.istio.io/bypass-inbound-capture': 'true' })
    assert.equal((await node.ask('/cmdadd', gate)).status, 200)
    const app = await node.lab.peer(gate.lab.path, 'pods/gate')
    await app.do('listen', { name: 'gate', ports: [9000] })
    assert.match(await clientApp.do('call', { ip: gate.lab.ip4, port: 9000 }), /^gate 9000 /)
    assert.match(await app.do('call', { ip: server.lab.ip4, port: 8080 }), /^ztunnel 15001 /)
    await app.stop()
    await node.ask('/cmddel', gate)
  })

  it('a process that is not the ztunnel of the node is turned away', async () => {
    const thread = new SeqpacketThread()
    const socket = thread.connect(join(node.directory, 'zds.sock'))
    const ended = new Promise<void>((resolve) => socket.read({ onPacket: () => assert.fail('was told a pod'), onEnd: () => resolve() }))
    socket.send(Uint8Array.of(8, 1))
    await ended
    await thread.stop()
    assert.equal(await node.metric('weft_zds_refused_total'), 1)
  })

  it('translates services for pods that are not enrolled', async () => {
    const service = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'server', namespace: 'shop' } }
    await node.client.apply({ ...service, spec: { clusterIP: '10.99.0.7', ports: [{ name: 'http', port: 80, targetPort: 8080 }] } })
    const slice = {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'server-1', namespace: 'shop', labels: { 'kubernetes.io/service-name': 'server' } },
    }
    const endpoints = [{ addresses: [server.lab.ip4], conditions: { ready: true } }]
    await node.client.apply({ ...slice, addressType: 'IPv4', ports: [{ name: 'http', port: 8080, protocol: 'TCP' }], endpoints })
    await node.until(async () => (await clientApp.do('call', { ip: '10.99.0.7', port: 80 })).startsWith('server 8080'), 'translated')
  })

  const BAD: readonly { readonly name: string; readonly path: string; readonly body: string }[] = [
    { name: 'noise', path: '/cmdadd', body: '{' },
    { name: 'nothing of what is needed', path: '/cmdadd', body: '{}' },
    {
      name: 'a path that climbs',
      path: '/cmdadd',
      body: JSON.stringify({ Netns: '/run/netns/../x', PodName: 'a', PodNamespace: 'b', IPs: [{ Address: '10.0.0.1/32' }] }),
    },
    { name: 'another path', path: '/cmdcheck', body: '{}' },
    { name: 'more than 64 KiB', path: '/cmdadd', body: ' '.repeat(70_000) },
  ]
  for (const row of BAD) {
    it(`the kubelet's socket refuses ${row.name}`, async () => {
      assert.equal((await node.post(row.path, row.body)).status, 400)
    })
  }

  it('a pod that the API does not know does not start', async () => {
    const { status } = await node.ask('/cmdadd', { ...client, name: 'nobody', uid: 'x' })
    assert.equal(status, 503)
  })

  it('without a ztunnel a pod of a labelled namespace does not start, and starts when one is there', async () => {
    await node.kill('ztunnel')
    const early = await node.pod('odd', 'early')
    const refused = await node.ask('/cmdadd', early)
    assert.equal(refused.status, 503, refused.text)
    assert.match(refused.text, /no ztunnel/)
    const waiting = node.ask('/cmdadd', early)
    node.startZtunnel()
    assert.equal((await waiting).status, 200)
    assert.equal(await node.redirection(early), 'enabled')
  })
})
