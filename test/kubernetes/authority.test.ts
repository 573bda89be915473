// The certificate authority and the leader on a real API server: two replicas, real tokens, pods that are bound to nodes and move.
// No kubelet is needed: what counts is what the API server says.
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { MeshObject } from '../../model/object.ts'
import { boundPod, Replicas, tamper, type TokenOptions } from './authority-stage.ts'
import { Cluster, guard } from './cluster/cluster.ts'
import { until } from './cluster/processes.ts'

const CRDS = join(import.meta.dirname, '../../deploy/chart/crds')
const POLICY = { apiVersion: 'security.istio.io/v1', kind: 'AuthorizationPolicy', metadata: { name: 'p', namespace: 'shop' } }
const policyFor = (namespace: string): object => ({ ...POLICY, spec: { rules: [{ from: [{ source: { namespaces: [namespace] } }] }] } })
/** Of numbers of clusters, those that the other files of this tier leave. */
const NUMBER = 1 + (process.pid % 9)
const MOVES = 20

describe('the certificate authority on Kubernetes', function () {
  this.timeout('300s')
  let cluster: Cluster
  let replicas: Replicas

  before(async () => {
    const id = `au${process.pid % 10_000}`
    guard(id, process.pid)
    cluster = await Cluster.up({ id, number: NUMBER, nodes: 0 }, (sentence) => console.log(`      ${sentence}`))
    await cluster.kubectl('apply', '--server-side', ...readdirSync(CRDS).flatMap((file) => ['-f', join(CRDS, file)]))
    const account = (namespace: string, name: string): object => ({
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { namespace, name },
    })
    await cluster.apply(
      ...['weft-system', 'shop'].map((name) => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } })),
      ...['node-1', 'node-2'].map((name) => ({ apiVersion: 'v1', kind: 'Node', metadata: { name } })),
      ...[account('weft-system', 'ztunnel'), account('shop', 'cart'), account('shop', 'ztunnel'), account('shop', 'mover')],
    )
    await cluster.apply(
      boundPod('weft-system', 'ztunnel-1', 'ztunnel', 'node-1'),
      boundPod('weft-system', 'ztunnel-2', 'ztunnel', 'node-2'),
      boundPod('shop', 'cart-1', 'cart', 'node-1'),
      boundPod('shop', 'fake-1', 'ztunnel', 'node-1'),
      policyFor('shop'),
    )
    replicas = new Replicas(cluster)
    await Promise.all([replicas.start('a'), replicas.start('b')])
  })

  after(async () => {
    replicas?.[Symbol.dispose]()
    await cluster?.[Symbol.asyncDispose]()
  })

  it('two replicas that start at once have one root, and it is in every namespace, a new one too', async () => {
    const secret = await cluster.get<MeshObject>('secret', '-n', 'weft-system', 'weft-ca')
    const pem = Buffer.from(secret.data?.['root-cert.pem'] ?? '', 'base64').toString()
    await cluster.kubectl('create', 'namespace', 'later')
    await until(
      'roots in the new namespace',
      5000,
      async () => (await cluster.try('get', 'cm', '-n', 'later', 'istio-ca-root-cert')).status === 0,
    )
    const { items } = await cluster.get<{ items: MeshObject[] }>('cm', '-A', '--field-selector', 'metadata.name=istio-ca-root-cert')
    assert.ok(items.length >= 6)
    assert.deepEqual([...new Set(items.map(({ data }) => data?.['root-cert.pem']))], [pem])
    const roots = await Promise.all(['a', 'b'].map(async (name) => (await replicas.ask(name, await replicas.token())).rootsPem))
    assert.deepEqual(roots, [pem, pem])
  })

  const FORGED: readonly { readonly name: string; readonly token: TokenOptions; readonly wants?: string; readonly reason: RegExp }[] = [
    { name: 'a token for the API server', token: { audience: '' }, reason: /audiences .* is invalid/ },
    { name: 'a token for somebody else', token: { audience: 'vault' }, reason: /audiences .* is invalid/ },
    { name: 'a token bound to no pod', token: { pod: '' }, reason: /not bound to a pod/ },
    { name: 'the app’s own token', token: { namespace: 'shop', account: 'cart', pod: 'cart-1' }, reason: /not a trusted node account/ },
    {
      name: 'ztunnel’s name in another namespace',
      token: { namespace: 'shop', account: 'ztunnel', pod: 'fake-1' },
      reason: /shop\/ztunnel is not a trusted/,
    },
    { name: 'the proxy of a node without such a pod', token: { pod: 'ztunnel-2' }, reason: /no pod of the identity runs on node node-2/ },
    { name: 'an identity that nobody has', token: {}, wants: 'shop/admin', reason: /no pod of the identity/ },
    { name: 'a tampered token', token: { isTampered: true }, reason: /not good/ },
  ]
  for (const { name, token, wants, reason } of FORGED) {
    it(`refuses and audits ${name}`, async () => {
      await replicas.ask('a', await replicas.token()) // the legal one
      const forged = await replicas.token(token)
      const reasonOf = await replicas.refusal('a', token.isTampered === true ? tamper(forged) : forged, wants)
      assert.match(reasonOf, reason)
    })
  }

  it('refuses a token whose pod is gone, though it was good a moment ago, and that of its successor’s predecessor', async () => {
    await cluster.apply(boundPod('weft-system', 'ztunnel-3', 'ztunnel', 'node-1'))
    const token = await replicas.token({ pod: 'ztunnel-3' })
    await until('the pod is known', 5000, () => replicas.canAsk('a', token))
    await cluster.kubectl('delete', 'pod', '-n', 'weft-system', 'ztunnel-3', '--grace-period=0', '--force')
    await until('refused', 5000, async () => !(await replicas.canAsk('a', token)))
    await cluster.apply(boundPod('weft-system', 'ztunnel-3', 'ztunnel', 'node-1'))
    const next = await replicas.token({ pod: 'ztunnel-3' })
    await until('the successor is known', 5000, () => replicas.canAsk('a', next))
    assert.match(await replicas.refusal('a', token), /another UID|not good/)
  })

  it('a pod that moves is served on its new node within a second, and not on its old one after five', async () => {
    const tokens = { 'node-1': await replicas.token({ pod: 'ztunnel-1' }), 'node-2': await replicas.token({ pod: 'ztunnel-2' }) }
    const served: number[] = []
    const refused: number[] = []
    for (let move = 0; move < MOVES; move++) {
      const [to, from] = move % 2 === 0 ? (['node-1', 'node-2'] as const) : (['node-2', 'node-1'] as const)
      await cluster.try('delete', 'pod', '-n', 'shop', 'mover', '--grace-period=0', '--force')
      const gone = performance.now()
      await cluster.apply(boundPod('shop', 'mover', 'mover', to))
      const made = performance.now()
      const isServed = until('served', 5000, () => replicas.canAsk('a', tokens[to], 'shop/mover')).then(() =>
        served.push(performance.now() - made),
      )
      const isRefused = until('refused', 10_000, async () => !(await replicas.canAsk('a', tokens[from], 'shop/mover')))
      await Promise.all([isServed, isRefused.then(() => refused.push(performance.now() - gone))])
    }
    console.log(`      served after ${Math.max(...served).toFixed(0)} ms, refused after ${Math.max(...refused).toFixed(0)} ms at most`)
    assert.ok(Math.max(...served) < 1000 && Math.max(...refused) < 5000)
  })

  it('keeps conditions of others, and takes its own back', async () => {
    const conditions = async (): Promise<string[]> => {
      const { status } = await cluster.get<MeshObject<unknown, { conditions?: { type: string }[] }>>('gateway', '-n', 'shop', 'wp')
      return (status?.conditions ?? []).map(({ type }) => type).sort()
    }
    const listeners = [{ name: 'mesh', port: 15008, protocol: 'HBONE' }]
    const gateway = { apiVersion: 'gateway.networking.k8s.io/v1', kind: 'Gateway', metadata: { name: 'wp', namespace: 'shop' } }
    await cluster.apply({ ...gateway, spec: { gatewayClassName: 'weft-waypoint', listeners } })
    const foreign = {
      type: 'other.example/Checked',
      status: 'True',
      reason: 'Fine',
      message: '',
      lastTransitionTime: '2026-01-01T00:00:00Z',
    }
    const patch = JSON.stringify({ ...gateway, status: { conditions: [foreign] } })
    const words = ['patch', 'gateway', '-n', 'shop', 'wp', '--subresource=status', '--type=merge', '--field-manager=other', '-p', patch]
    await cluster.kubectl(...words)
    await until('both', 5000, async () => (await conditions()).join() === 'Accepted,Programmed,other.example/Checked')
    await cluster.kubectl('label', 'gateway', '-n', 'shop', 'wp', 'x=y')
    await cluster.kubectl('patch', 'gateway', '-n', 'shop', 'wp', '--type=merge', '-p', '{"spec":{"addresses":[{"value":"1.2.3.4"}]}}')
    await until(
      'the newest generation',
      5000,
      async () => (await cluster.kubectl('get', 'gateway', '-n', 'shop', 'wp', '-o', ACCEPTED)) === '2',
    )
    assert.equal((await conditions()).join(), 'Accepted,Programmed,other.example/Checked')
  })

  it('a killed leader is replaced within the lease, certificates are issued all along; one that ends hands over at once', async () => {
    const first = await replicas.leader()
    const second = first === 'a' ? 'b' : 'a'
    const token = await replicas.token()
    const observed = async (): Promise<string> => cluster.kubectl('get', 'authorizationpolicy', '-n', 'shop', 'p', '-o', OBSERVED)
    await until('the first status', 15_000, async () => (await observed()) === '1')
    replicas.kill(first)
    const killed = performance.now()
    await cluster.apply(policyFor('bank'))
    let asked = 0
    await until('status goes on', 20_000, async () => {
      await replicas.ask(second, token)
      asked++
      return (await observed()) === '2'
    })
    const tookMs = performance.now() - killed
    console.log(`      status went on after ${tookMs.toFixed(0)} ms, ${asked} certificates meanwhile`)
    assert.ok(tookMs < 15_000)
    await replicas.start(first)
    const ended = performance.now()
    await Promise.all([replicas.end(second), cluster.apply(policyFor('web'))])
    await until('status goes on', 10_000, async () => (await observed()) === '3')
    assert.ok(performance.now() - ended < 6000)
  })
})

const ACCEPTED = 'jsonpath={.status.conditions[?(@.type=="Accepted")].observedGeneration}'
const OBSERVED = 'jsonpath={.status.conditions[0].observedGeneration}'
