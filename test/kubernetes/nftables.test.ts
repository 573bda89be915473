// Redirect mode nftables on a real cluster with kube-proxy: the shop's scenes as with eBPF, probes and strangers under STRICT, names, an
// agent that is replaced, and an uninstall that leaves no rule and no program anywhere.
import assert from 'node:assert/strict'
import { SCENES } from '../../cli/demo/claims.ts'
import { describeFlow, Tap } from '../../tap/tap.ts'
import { until } from './cluster/processes.ts'
import { MeshCluster } from './mesh-cluster.ts'
import { isEnrolled, isReady, MeshNamespace, processesOf } from './pods.ts'
import { ClusterShop } from './shop-on-cluster.ts'

const NODES = [1, 2]
const METRICS_PORT = 15_024
const ONE_NAMESPACE = 'nft list tables; for f in -4 -6; do ip $f rule; ip $f route show table 100; done'
const EVERY_NAMESPACE = `${ONE_NAMESPACE}; for n in /run/netns/*; do nsenter --net=$n sh -c '${ONE_NAMESPACE}'; done`

describe('redirect mode nftables on Kubernetes', () => {
  let mesh: MeshCluster
  before(async () => {
    mesh = await MeshCluster.make({
      letter: 'f',
      proxy: 'nftables',
      values: { 'cni.mode': 'nftables', 'cni.metricsPort': String(METRICS_PORT) },
    })
  })
  after(async () => {
    await mesh?.[Symbol.asyncDispose]()
  })

  /** What is of ours in the namespaces of a node and of its pods. */
  const leftIn = async (node: number): Promise<string[]> => {
    const { stdout } = await mesh.cluster.onNode(node, 'sh', '-c', EVERY_NAMESPACE)
    return stdout.split('\n').filter((line) => /weft-|fwmark 0x111|^local default dev lo/.test(line))
  }
  const pinsOf = async (node: number): Promise<string> => (await mesh.cluster.onNode(node, 'ls', '/sys/fs/bpf/weft')).stdout.trim()

  describe('the shop, in its scenes', () => {
    let shop: ClusterShop
    before(async () => {
      shop = await ClusterShop.open(mesh)
      for (const node of NODES) assert.equal(await pinsOf(node), '', 'no program of ours is in the kernel')
    })
    after(async () => {
      await shop?.[Symbol.asyncDispose]()
    })
    for (const scene of SCENES)
      it(`plays the scene ${scene.name}`, async () => {
        const claims = await scene(shop)
        for (const { says, evidence } of claims) console.log(`      ${says}: ${evidence}`)
        assert.deepEqual(
          claims.filter(({ isTrue }) => !isTrue),
          [],
        )
      })
  })

  it('says so of each node, and its agents can be scraped from elsewhere', async () => {
    const { stdout } = await mesh.weft('status', '-o', 'json')
    const { nodes } = JSON.parse(stdout) as { nodes: { redirection: object }[] }
    assert.deepEqual(
      nodes.map(({ redirection }) => redirection),
      NODES.map(() => ({ mode: 'nftables', reason: 'asked for' })),
    )
    for (const node of NODES) {
      const at = `http://${mesh.cluster.node(node).ip}:${METRICS_PORT}`
      assert.match(await (await fetch(`${at}/metrics`)).text(), /^ztunnel_connected 1$/m)
      assert.equal((await fetch(`${at}/config_dump`)).status, 404)
      await assert.rejects(fetch(`http://${mesh.cluster.node(node).ip}:15014/metrics`))
    }
  })

  describe('pods of a node', () => {
    let space: MeshNamespace
    let ip: string
    const ask = (host: string) => space.exec('client', 'curl', '-s', '--max-time', '10', `http://${host}/`)
    const stranger = (...words: readonly string[]) => mesh.cluster.try('-n', 'default', 'exec', 'stranger', '--', ...words)
    before(async () => {
      space = await MeshNamespace.make(mesh, 'story')
      await mesh.cluster.apply({
        apiVersion: 'security.istio.io/v1',
        kind: 'PeerAuthentication',
        metadata: { name: 'strict', namespace: space.name },
        spec: { mtls: { mode: 'STRICT' } },
      })
      ip = await space.server('server', 2) // probed by TCP
      const script = "require('http').createServer((q, r) => r.end('ok')).listen(8080, '::')"
      const probe = { httpGet: { path: '/', port: 8080 }, periodSeconds: 1, failureThreshold: 2 }
      await mesh.cluster.apply(
        space.pod('app', 1, '', { command: ['node', '-e', script], readinessProbe: probe, livenessProbe: probe }),
        space.pod('client', 1, 'exec sleep 100000'),
        { ...space.pod('stranger', 1, 'exec sleep 100000'), metadata: { name: 'stranger', namespace: 'default' } },
        {
          apiVersion: 'v1',
          kind: 'Service',
          metadata: { name: 'server', namespace: space.name },
          spec: { selector: { app: 'server' }, ports: [{ port: 80, targetPort: 8080 }] },
        },
      )
      for (const name of ['app', 'client']) await space.ready(name)
      await until('the stranger runs', 60_000, async () => (await stranger('true')).status === 0)
    })
    after(async () => {
      await mesh.cluster.kubectl('-n', 'default', 'delete', 'pod', 'stranger', '--ignore-not-found')
      await space?.[Symbol.asyncDispose]()
    })

    it('show the app their address, by address and by name, over TLS', async () => {
      await using tap = await Tap.open({ device: mesh.cluster.layout.bridge })
      const own = (await space.get('client')).status?.podIP ?? ''
      for (const host of [`${ip}:8080`, 'server', 'server.story.svc.cluster.local']) {
        const { stdout } = await ask(host)
        assert.equal(stdout.replace('::ffff:', ''), own, host)
      }
      const faults = (await tap.meshFaults([ip, own])).map(({ reason, flow }) => `${reason}: ${describeFlow(flow)}`)
      assert.deepEqual(faults, [])
      assert.ok((await tap.tcpBetween([ip, own])).length > 0)
    })

    it('are closed to a pod outside the mesh under STRICT; it has names', async () => {
      const refused = await stranger('curl', '-s', '--max-time', '5', `http://${ip}:8080/`)
      assert.notEqual(refused.status, 0)
      const look = "require('dns').lookup('server.story.svc.cluster.local', (e) => process.exit(e ? 1 : 0))"
      assert.equal((await stranger('node', '-e', look)).status, 0)
    })

    it('go on without their agent and with the next one, and are probed all the while', async () => {
      const [agent] = await processesOf(mesh, 'cni', 1)
      assert.ok(agent)
      process.kill(agent, 'SIGKILL')
      assert.equal((await ask('server')).status, 0, 'while the agent is dead')
      await until('an agent runs again', 60_000, async () => (await processesOf(mesh, 'cni', 1)).some((pid) => pid !== agent))
      assert.equal((await ask('server')).status, 0, 'with the new agent')
      for (const name of ['app', 'client', 'server']) {
        const pod = await space.get(name)
        assert.ok(isReady(pod) && isEnrolled(pod), name)
        assert.equal(pod.status?.containerStatuses?.[0]?.restartCount, 0, name)
      }
    })
  })

  describe('the mesh, in the end,', () => {
    it('gives pods back when the label goes, and an uninstall leaves nothing', async () => {
      await using space = await MeshNamespace.make(mesh, 'leaving')
      const ip = await space.server('server', 2)
      await mesh.cluster.apply(space.pod('client', 1, 'exec sleep 100000'))
      await space.ready('client')
      const ask = () => space.exec('client', 'curl', '-s', '--max-time', '10', `http://${ip}:8080/`)
      assert.equal((await ask()).status, 0)
      for (const node of NODES) assert.notDeepEqual(await leftIn(node), [])
      await mesh.cluster.kubectl('label', 'namespace', space.name, 'istio.io/dataplane-mode-')
      await until('no rule is left', 60_000, async () => {
        for (const node of NODES) assert.deepEqual(await leftIn(node), [])
        return true
      })
      assert.equal((await ask()).status, 0)
      await mesh.cluster.kubectl('label', 'namespace', space.name, 'istio.io/dataplane-mode=ambient')
      await until('the pods are back', 60_000, async () => (await space.pods()).every(isEnrolled))
      assert.equal((await ask()).status, 0)
      const { status, stderr } = await mesh.weft('uninstall')
      assert.equal(status, 0, stderr)
      for (const node of NODES) {
        assert.deepEqual(await leftIn(node), [])
        assert.equal(await pinsOf(node), '')
      }
      assert.equal((await ask()).status, 0)
    })
  })
})
