// The command line on a real cluster: objects, logs, commands in pods, what proxies know, waypoints, and the kill switch with the
// control plane away. Pods run the shop's image; nothing of the shop is there.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { until } from './cluster/processes.ts'
import { APP_IMAGE } from './cluster/images.ts'
import { type MeshCluster, meshCluster, SYSTEM } from './mesh-cluster.ts'

const NAMESPACE = 'cli'
const WEFT = join(import.meta.dirname, '../../cli/main.ts')
const SERVE = `require('http').createServer((request, response) => response.end('hello')).listen(8080, '::', () => console.log('listening'))`

function pod(name: string, command: readonly string[]): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: NAMESPACE, labels: { app: name } },
    spec: { terminationGracePeriodSeconds: 1, containers: [{ name: 'main', image: APP_IMAGE, command }] },
  }
}

describe('weft on a cluster', function () {
  this.timeout('240s')
  let mesh: MeshCluster
  const weft = async (...words: readonly string[]): Promise<string> => {
    const { status, stdout, stderr } = await mesh.weft(...words)
    assert.equal(status, 0, `weft ${words.join(' ')}: ${stderr}`)
    return stdout
  }
  const kubectl = (...words: readonly string[]): ReturnType<MeshCluster['weft']> => mesh.cluster.try(...words)
  const isCaptured = async (wanted: boolean): Promise<boolean> => {
    const rows = (await weft('get', 'pods', '-n', NAMESPACE)).split('\n').filter((row) => /\b(client|server)\b/.test(row))
    return rows.length === 2 && rows.every((row) => / enabled /.test(row) === wanted)
  }

  before(async function () {
    this.timeout('900s')
    mesh = await meshCluster()
    await mesh.cluster.apply(
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE, labels: { 'istio.io/dataplane-mode': 'ambient' } } },
      pod('server', ['node', '-e', SERVE]),
      pod('client', ['sleep', '3600']),
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'server', namespace: NAMESPACE },
        spec: { selector: { app: 'server' }, ports: [{ name: 'http', port: 80, targetPort: 8080 }] },
      },
    )
    await until('the pods are captured', 90_000, () => isCaptured(true))
  })
  after(async () => {
    await kubectl('delete', 'namespace', NAMESPACE, '--wait=false')
  })

  const fetchServer = ['exec', `${NAMESPACE}/client`, '--', 'node', '-e', `fetch('http://server/').then((r) => r.text()).then(console.log)`]

  it('runs commands in pods and passes on their status', async () => {
    await until('the server answers', 30_000, async () => (await mesh.weft(...fetchServer)).stdout === 'hello\n')
    const { status, stderr } = await mesh.weft('exec', `${NAMESPACE}/client`, '--', 'node', '-e', 'console.error(1); process.exit(7)')
    assert.deepEqual([status, stderr], [7, '1\n'])
    const missing = await mesh.weft('exec', `${NAMESPACE}/nobody`, '--', 'true')
    assert.deepEqual([missing.status, missing.stderr.trim().split('\n').length], [1, 1])
  })

  it('shows logs, objects, what proxies know, and a whole mesh', async () => {
    assert.match(await weft('logs', `${NAMESPACE}/server`), /listening/)
    assert.match(await weft('ztunnel-config', 'workloads'), new RegExp(`^${NAMESPACE} +client .* HBONE$`, 'm'))
    assert.match(await weft('ztunnel-config', 'certificates'), new RegExp(`ns/${NAMESPACE}/sa/default +Leaf +Available +true`))
    const status = JSON.parse((await mesh.weft('status', '-o', 'json')).stdout)
    assert.deepEqual(status.missing, [])
    assert.ok(status.nodes.every((node: { certificates?: { valid: number } }) => node.certificates !== undefined))
    const redirection = { mode: 'ebpf', reason: 'the kernel has what it needs' } // the chart asks for auto
    assert.deepEqual(
      status.nodes.map((node: { redirection?: object }) => node.redirection),
      [redirection, redirection],
    )
    const { stdout } = await mesh.weft('check', '--cluster')
    assert.match(stdout, /^ok +API server/m)
    assert.match(stdout, /^ok +redirection +ebpf: the kernel has what it needs \(node1, node2\)$/m)
  })

  it('makes waypoints, puts them back when they are changed, and takes them away', async () => {
    await weft('waypoint', 'apply', 'way', '-n', NAMESPACE, '--wait', '--timeout', '120')
    const read = async (kind: string, path: string): Promise<string> =>
      (await kubectl('get', kind, 'way', '-n', NAMESPACE, '-o', `jsonpath=${path}`)).stdout
    assert.equal(await read('pdb', '{.spec.maxUnavailable}'), '1')
    const image = await read('deploy', '{.spec.template.spec.containers[0].image}')
    const patch = JSON.stringify({ spec: { template: { spec: { containers: [{ name: 'waypoint', image: 'localhost/other:1' }] } } } })
    await kubectl('patch', 'deploy', 'way', '-n', NAMESPACE, '-p', patch)
    await kubectl('delete', 'service', 'way', '-n', NAMESPACE)
    await until('both are put back', 30_000, async () => {
      return (
        (await read('deploy', '{.spec.template.spec.containers[0].image}')) === image &&
        (await read('svc', '{.spec.ports[0].port}')) === '15008'
      )
    })
    await weft('waypoint', 'delete', 'way', '-n', NAMESPACE)
    await until('nothing of it is left', 60_000, async () => {
      const { stdout } = await kubectl(
        'get',
        'deploy,svc,sa,pdb,pods',
        '-n',
        NAMESPACE,
        '-l',
        'gateway.networking.k8s.io/gateway-name=way',
        '-o',
        'name',
      )
      return stdout.trim() === ''
    })
  })

  it('releases a namespace with the control plane away, says so, and takes it back', async () => {
    const scale = (replicas: number) => kubectl('scale', 'deploy', 'controlplane', '-n', SYSTEM, `--replicas=${replicas}`)
    await scale(0)
    try {
      await weft('release', '-n', NAMESPACE)
      await until('the pods are released', 30_000, () => isCaptured(false))
      assert.equal((await mesh.weft(...fetchServer)).stdout, 'hello\n')
      const status = await mesh.weft('status')
      assert.equal(status.status, 1)
      assert.match(status.stdout, /^!!!!!! RELEASED[\s\S]*namespace cli since/)
    } finally {
      await scale(2)
      await weft('release', '--resume', '-n', NAMESPACE)
      await weft('label', 'namespace', NAMESPACE, 'istio.io/dataplane-mode=ambient')
    }
    await until('the pods are captured again', 90_000, () => isCaptured(true))
  })

  it('releases nodes with control plane and agents dead, from the node itself', async () => {
    const select = (value: string | null) =>
      kubectl(
        'patch',
        'ds',
        'cni',
        '-n',
        SYSTEM,
        '-p',
        JSON.stringify({ spec: { template: { spec: { nodeSelector: { 'weft.dev/nowhere': value } } } } }),
      )
    const count = async (account: string): Promise<number> =>
      (
        await kubectl('get', 'pods', '-n', SYSTEM, '-o', `jsonpath={.items[?(@.spec.serviceAccountName=="${account}")].metadata.name}`)
      ).stdout
        .split(' ')
        .filter((name) => name !== '').length
    await kubectl('scale', 'deploy', 'controlplane', '-n', SYSTEM, '--replicas=0')
    await select('x')
    try {
      await until('the agents are gone', 60_000, async () => (await count('cni')) + (await count('controlplane')) === 0)
      const refused = await mesh.weft('release', '--all')
      assert.equal(refused.status, 1)
      assert.match(refused.stderr, /node1: no agent runs there; on the node, as root: weft release --local --all/)
      for (const number of [1, 2]) {
        const { status, stdout, stderr } = await mesh.cluster.onNode(number, process.execPath, WEFT, 'release', '--local', '--all')
        assert.equal(status, 0, stderr)
        assert.match(stdout, /pods released without the agent/)
      }
      // Nobody has told the other side: a request now is plaintext from end to end, or it would hang.
      assert.equal((await mesh.weft(...fetchServer)).stdout, 'hello\n')
    } finally {
      await select(null)
      await kubectl('scale', 'deploy', 'controlplane', '-n', SYSTEM, '--replicas=2')
      await until('the agents are back', 120_000, async () => (await count('cni')) === 2)
    }
    await until('the release is taken back', 60_000, async () => (await mesh.weft('release', '--resume')).status === 0)
    await until('the pods are captured again', 90_000, () => isCaptured(true))
    await until('the server answers', 30_000, async () => (await mesh.weft(...fetchServer)).stdout === 'hello\n')
  })

  it('says in one sentence what is wrong with a kubeconfig', async () => {
    for (const words of [
      ['--kubeconfig', '/no/such/file'],
      ['--context', 'nobody'],
    ]) {
      const { status, stderr } = await mesh.weft('get', 'pods', ...words)
      assert.equal(status, 1)
      assert.equal(stderr.trim().split('\n').length, 1, stderr)
    }
  })
})
