// Pods are in the mesh from their first packet or they do not start: in a crowd, with the agent stopped, with probes under STRICT; and what
// the node held for them goes with them.
import assert from 'node:assert/strict'
import { describeFlow, Tap } from '../../tap/tap.ts'
import { until } from './cluster/processes.ts'
import { meshCluster, type MeshCluster } from './mesh-cluster.ts'
import { holdings, isEnrolled, isReady, MeshNamespace, processesOf } from './pods.ts'

/** Half of them on each node. */
const CROWD = 100
const HELD = 20
const HELD_MS = 12_000
const START_MS = 240_000

describe('capture on Kubernetes', () => {
  let mesh: MeshCluster
  before(async () => {
    mesh = await meshCluster()
  })

  it(`${CROWD} pods at once are captured from their first packet, and nothing of them is left`, async () => {
    const before = await Promise.all([holdings(mesh, 1), holdings(mesh, 2)])
    {
      await using space = await MeshNamespace.make(mesh, 'crowd')
      const servers = [await space.server('server-1', 1), await space.server('server-2', 2)]
      await using tap = await Tap.open({ device: mesh.cluster.layout.bridge })
      const pods = Array.from({ length: CROWD }, (_, index) => {
        const node = 1 + (index % 2)
        // the first thing that the container does is to ask the server on the other node
        const script = `curl -s --max-time 20 http://${servers[2 - node]}:8080/ && exec sleep 100000`
        return space.pod(`client-${index}`, node, script)
      })
      await mesh.cluster.apply(...pods)
      const sum = async (): Promise<number> => {
        const answers = [1, 2].map((n) => space.exec(`server-${n}`, 'curl', '-s', '127.0.0.1:8080/sum'))
        return (await Promise.all(answers)).reduce((all, { stdout }) => all + Number(stdout), 0)
      }
      await until(`${CROWD} pods have been answered`, START_MS, async () => (await sum()) >= CROWD)
      const all = await space.pods()
      const ips = all.flatMap((pod) => (pod.status?.podIP === undefined ? [] : [pod.status.podIP]))
      assert.deepEqual(
        (await tap.meshFaults(ips)).map(({ reason, flow }) => `${reason}: ${describeFlow(flow)}`),
        [],
      )
      assert.ok((await tap.tcpBetween(ips)).length > 0, 'the tap saw HBONE')
      assert.deepEqual(
        all.filter((pod) => !isEnrolled(pod)).map((pod) => pod.metadata.name),
        [],
      )
    }
    await until('what the nodes hold is what they held before', 60_000, async () => {
      assert.deepEqual(await Promise.all([holdings(mesh, 1), holdings(mesh, 2)]), before)
      return true
    })
  })

  it(`no pod starts while the agent stands still, and all ${HELD} do when it goes on`, async () => {
    await using space = await MeshNamespace.make(mesh, 'held')
    const server = await space.server('server', 2)
    await using tap = await Tap.open({ device: mesh.cluster.layout.bridge })
    const pids = await processesOf(mesh, 'cni', 1)
    assert.notEqual(pids.length, 0)
    const signal = (name: NodeJS.Signals): void => {
      for (const pid of pids) process.kill(pid, name)
    }
    const script = `curl -s --max-time 20 http://${server}:8080/ && exec sleep 100000`
    const pods = Array.from({ length: HELD }, (_, index) => space.pod(`client-${index}`, 1, script))
    const clients = async (): Promise<Awaited<ReturnType<typeof space.pods>>> =>
      (await space.pods()).filter((pod) => pod.metadata.name !== 'server')
    try {
      await mesh.cluster.apply(...pods.slice(0, HELD / 2)) // these are under way when it stops
      signal('SIGSTOP')
      await mesh.cluster.apply(...pods.slice(HELD / 2))
      await new Promise((done) => setTimeout(done, HELD_MS))
      const unmeshed = (await clients()).filter((pod) => isReady(pod) && !isEnrolled(pod))
      assert.deepEqual(
        unmeshed.map((pod) => pod.metadata.name),
        [],
      )
      const late = (await clients()).filter((pod) => Number(pod.metadata.name.slice('client-'.length)) >= HELD / 2)
      assert.deepEqual(late.filter(isReady), [], 'no pod that came later has started')
    } finally {
      signal('SIGCONT')
    }
    await until('all pods run in the mesh', START_MS, async () => (await clients()).every((pod) => isReady(pod) && isEnrolled(pod)))
    const ips = (await space.pods()).map((pod) => pod.status?.podIP ?? '')
    assert.deepEqual(
      (await tap.meshFaults(ips)).map(({ reason, flow }) => `${reason}: ${describeFlow(flow)}`),
      [],
    )
  })

  it("the kubelet's probes reach pods under STRICT, and nobody else on the node does", async () => {
    await using space = await MeshNamespace.make(mesh, 'probed')
    await mesh.cluster.apply({
      apiVersion: 'security.istio.io/v1',
      kind: 'PeerAuthentication',
      metadata: { name: 'strict', namespace: space.name },
      spec: { mtls: { mode: 'STRICT' } },
    })
    const script = "require('http').createServer((q, r) => r.end('ok')).listen(8080, '::')"
    const probe = { httpGet: { path: '/', port: 8080 }, periodSeconds: 1, failureThreshold: 2 }
    await mesh.cluster.apply(space.pod('app', 1, '', { command: ['node', '-e', script], readinessProbe: probe, livenessProbe: probe }))
    await space.ready('app')
    const ip = (await space.get('app')).status?.podIP ?? ''
    const refused = await mesh.cluster.onNode(1, 'curl', '-s', '--max-time', '5', `http://${ip}:8080/`)
    assert.notEqual(refused.status, 0, 'a process of the node that is not the kubelet')
    await new Promise((done) => setTimeout(done, 6000))
    const { status } = await space.get('app')
    assert.equal(status?.containerStatuses?.[0]?.restartCount, 0)
    assert.ok(isReady(await space.get('app')))
  })
})
