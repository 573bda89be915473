// The agent and its plugin on a real node: containerd calls the plugin, the kubelet starts and probes pods, nothing is played
// but ztunnel, which says on each connection where it was going.
import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { pluginTypes } from '../../cni/install/conf-list.ts'
import type { Node, Pod } from '../../model/object.ts'
import { row } from '../support/capture-rows.ts'
import { CniNode, NOWHERE, pod } from './cni-node.ts'

const CONF = 'etc/cni/net.d/10-bridge.conflist'
const CAPTURED = new RegExp(`^ztunnel 15001 orig=${NOWHERE.replaceAll('.', '\\.')}:8080`)
/** The first thing that a pod does is to connect to nowhere; it tries once. */
const FIRST = `curl -s --http0.9 -N -m 3 http://${NOWHERE}:8080/; exec sleep 100000`

describe('the agent on a Kubernetes node', function () {
  this.timeout('300s')
  let node: CniNode

  const isUp = (each: Pod): boolean => each.status?.phase === 'Running'
  const redirection = (each: Pod): string | undefined => each.metadata.annotations?.['ambient.istio.io/redirection']
  const ready = (name: string, namespace = 'shop'): Promise<string> =>
    node.cluster.kubectl('-n', namespace, 'wait', '--for=condition=Ready', `pod/${name}`, '--timeout=60s')
  const conf = (): string[] => pluginTypes(CONF, readFileSync(node.path(CONF), 'utf8'))

  before(async () => {
    node = await CniNode.up('wcnit', 57)
    await node.spy()
    await node.cluster.kubectl('taint', 'node', 'node1', 'weft.dev/agent-not-ready=:NoSchedule')
    const account = { serviceAccountName: 'ztunnel', tolerations: [{ operator: 'Exists' }] }
    await node.cluster.apply(
      pod('weft-system', 'ztunnel', account, 'exec sleep 1000000'),
      pod('shop', 'before', { tolerations: account.tolerations }),
    )
    await ready('before')
    await ready('ztunnel', 'weft-system')
  })
  after(async () => {
    await node?.[Symbol.asyncDispose]()
  })

  it('installs the plugin, and takes the taint off when ztunnel is there, too', async () => {
    await node.startAgent()
    assert.deepEqual(conf(), ['bridge', 'weft-cni'])
    assert.equal(existsSync(node.path('opt/cni/bin/weft-cni')), true)
    const taints = async (): Promise<string> => JSON.stringify((await node.cluster.get<Node>('node', 'node1')).spec ?? {})
    assert.match(await taints(), /agent-not-ready/)
    await node.startZtunnel()
    await node.until('ready', () => node.isReady())
    await node.until('no taint', async () => !(await taints()).includes('agent-not-ready'))
  })

  row('k8s-before', async () => {
    await node.until('taken up', async () => (await node.pods()).some((each) => redirection(each) === 'enabled'))
    assert.match(await node.curl('shop/before', `http://${NOWHERE}:8080/`), CAPTURED)
    assert.equal(await node.metric('weft_capture_drift_total{kind="missed"}'), 1)
  })

  row('k8s-first-connect', async () => {
    await node.cluster.apply(pod('shop', 'first', {}, FIRST))
    await ready('first')
    await node.until('it has printed', async () => CAPTURED.test(await node.logs('shop', 'first')))
  })

  row('k8s-init', async () => {
    const init = {
      name: 'init',
      image: 'docker.io/weft/shop:dev',
      imagePullPolicy: 'Never',
      command: ['curl', '-s', '--http0.9', '-m', '2', `http://${NOWHERE}:8080/`],
    }
    await node.cluster.apply(pod('shop', 'init', { initContainers: [init], restartPolicy: 'Never' }))
    await node.until('it has run', async () => CAPTURED.test(await node.logs('shop', 'init', 'init').catch(() => '')))
  })

  row('k8s-exec', async () => {
    assert.match(await node.curl('shop/first', `http://${NOWHERE}:8080/`), CAPTURED)
  })

  const server = `exec node -e "require('http').createServer((q, s) => s.end('the app')).listen(8080)"`

  row('k8s-probe', async () => {
    const container = { name: 'app', image: 'docker.io/weft/shop:dev', imagePullPolicy: 'Never', command: ['sh', '-c', server] }
    const probed = { ...container, readinessProbe: { httpGet: { path: '/', port: 8080 }, periodSeconds: 1 } }
    await node.cluster.apply(pod('shop', 'probed', { containers: [probed] }))
    await ready('probed')
    const [{ status } = {}] = (await node.pods()).filter(({ metadata }) => metadata.name === 'probed')
    const other = await node.cluster.onNode(1, 'curl', '-s', '--http0.9', '-m', '2', `http://${status?.podIP}:8080/`)
    assert.match(other.stdout, /^ztunnel 15006/, 'another process of the node is no kubelet')
  })

  row('k8s-port-forward', async () => {
    const command = `kubectl -n shop port-forward pod/probed 18080:8080 >/dev/null & p=$!; for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.5; curl -s -m 2 http://127.0.0.1:18080/ && break; done; kill $p`
    const { stdout } = await node.cluster.onNode(1, 'sh', '-c', command)
    assert.equal(stdout, 'the app')
  })

  row('k8s-job', async () => {
    const before = await node.traces()
    const template = {
      metadata: { labels: { app: 'job' } },
      spec: { ...(pod('shop', 'job', { restartPolicy: 'Never' }, 'true') as { spec: object }).spec },
    }
    await node.cluster.apply({ apiVersion: 'batch/v1', kind: 'Job', metadata: { name: 'job', namespace: 'shop' }, spec: { template } })
    await node.cluster.kubectl('-n', 'shop', 'wait', '--for=condition=Complete', 'job/job', '--timeout=60s')
    await node.until('nothing of it is left', async () => JSON.stringify(await node.traces()) === JSON.stringify(before))
  })

  row('k8s-rollout', async () => {
    assert.equal(await node.end('agent', 'SIGTERM'), 0)
    assert.deepEqual(conf(), ['bridge', 'weft-cni'])
    assert.match(await node.curl('shop/first', `http://${NOWHERE}:8080/`), CAPTURED)
    await node.startAgent()
    await node.until('ready', () => node.isReady())
    assert.match(await node.curl('shop/first', `http://${NOWHERE}:8080/`), CAPTURED)
    assert.equal(await node.metric('weft_capture_drift_total{kind="lost"}'), 0)
  })

  it('somebody rewrites the conf list: the entry is back before the next pod', async () => {
    const list = JSON.parse(readFileSync(node.path(CONF), 'utf8')) as { plugins: { type: string }[] }
    writeFileSync(node.path(CONF), JSON.stringify({ ...list, plugins: list.plugins.filter(({ type }) => type !== 'weft-cni') }))
    await node.until('back', () => Promise.resolve(conf().at(-1) === 'weft-cni'))
    await node.cluster.apply(pod('shop', 'rewritten', {}, FIRST))
    await ready('rewritten')
    await node.until('captured', async () => CAPTURED.test(await node.logs('shop', 'rewritten')))
    assert.ok((await node.metric('weft_capture_drift_total{kind="conflist"}')) >= 1)
  })

  const many = (prefix: string, count: number): object[] =>
    Array.from({ length: count }, (_, index) => pod('shop', `${prefix}-${index}`, {}, FIRST))
  const remove = (...prefixes: string[]): Promise<string> =>
    node.cluster.kubectl(
      '-n',
      'shop',
      'delete',
      'pod',
      '--wait=true',
      '-l',
      `app in (${prefixes.flatMap((prefix) => Array.from({ length: 100 }, (_, index) => `${prefix}-${index}`)).join()})`,
    )

  row('k8s-many', async () => {
    const before = await node.traces()
    await node.cluster.apply(...many('many', 100))
    const ours = async (): Promise<readonly Pod[]> => (await node.pods()).filter(({ metadata }) => metadata.name.startsWith('many-'))
    await node.until('all run', async () => (await ours()).filter(isUp).length === 100, 240_000)
    assert.deepEqual(
      (await ours()).filter((each) => redirection(each) !== 'enabled').map(({ metadata }) => metadata.name),
      [],
    )
    for (const { metadata } of await ours())
      await node.until(`${metadata.name} has printed`, async () => CAPTURED.test(await node.logs('shop', metadata.name)))
    assert.equal(await node.seen(), 0, 'not one packet went past the mesh')
    await remove('many')
    await node.until('nothing is left', async () => JSON.stringify(await node.traces()) === JSON.stringify(before), 120_000)
  })

  row('k8s-agent-away', async () => {
    await node.cluster.apply(...many('away', 50))
    await node.until(
      'some run',
      async () => (await node.pods()).filter((each) => each.metadata.name.startsWith('away-') && isUp(each)).length >= 3,
      120_000,
    )
    await node.end('agent')
    const began = Date.now()
    while (Date.now() - began < 15_000) {
      const running = (await node.pods()).filter((each) => each.metadata.name.startsWith('away-') && isUp(each))
      assert.deepEqual(
        running.filter((each) => redirection(each) !== 'enabled'),
        [],
      )
    }
    assert.equal(await node.seen(), 0)
    await node.startAgent()
    await node.until(
      'all run',
      async () => (await node.pods()).filter((each) => each.metadata.name.startsWith('away-') && isUp(each)).length === 50,
      240_000,
    )
    assert.deepEqual(
      (await node.pods()).filter((each) => isUp(each) && redirection(each) !== 'enabled').map(({ metadata }) => metadata.name),
      [],
    )
    assert.equal(await node.seen(), 0, 'not one packet went past the mesh')
    await remove('away')
  })

  row('k8s-reboot', async () => {
    await node.loseState()
    await node.startAgent()
    await node.startZtunnel()
    const running = (await node.pods()).filter(isUp)
    await node.until('all are known again', async () => (await node.metric('weft_agent_pods{stage="enrolled"}')) === running.length)
    assert.match(await node.curl('shop/first', `http://${NOWHERE}:8080/`), CAPTURED)
    assert.equal(await node.metric('weft_capture_drift_total{kind="lost"}'), running.length)
  })

  row('k8s-released', async () => {
    writeFileSync(node.path('run/weft/node/released.json'), `[{"namespace":"shop","at":"${new Date().toISOString()}"}]`)
    await node.until('let go', async () => (await node.pods()).filter(isUp).every((each) => redirection(each) === undefined))
    const before = await node.seen()
    await node.until('plain', async () => (await node.curl('shop/first', `http://${NOWHERE}:8080/`)) === '') // peers are told first
    assert.ok((await node.seen()) > before, 'plain networking')
    writeFileSync(node.path('run/weft/node/released.json'), '[]')
    await node.until('taken again', async () => CAPTURED.test(await node.curl('shop/first', `http://${NOWHERE}:8080/`)))
    await node.cluster.kubectl('annotate', 'node', 'node1', `weft.dev/released=${new Date().toISOString()}`)
    await node.until('let go', async () => (await node.pods()).filter(isUp).every((each) => redirection(each) === undefined))
    assert.equal(await node.isReady(), false, 'a released node is seen')
    await node.cluster.kubectl('annotate', 'node', 'node1', 'weft.dev/released-')
    await node.until('taken again', async () => CAPTURED.test(await node.curl('shop/first', `http://${NOWHERE}:8080/`)))
  })

  row('k8s-uninstall', async () => {
    const selector = { matchLabels: { app: 'cni' } }
    const template = {
      metadata: { labels: { app: 'cni' } },
      spec: { nodeSelector: { nowhere: 'yes' }, containers: [{ name: 'cni', image: 'x' }] },
    }
    await node.cluster.apply({
      apiVersion: 'apps/v1',
      kind: 'DaemonSet',
      metadata: { name: 'cni', namespace: 'weft-system' },
      spec: { selector, template },
    })
    await node.end('agent', 'SIGTERM')
    assert.deepEqual(conf(), ['bridge', 'weft-cni'], 'there is a DaemonSet')
    await node.startAgent()
    await node.until('ready', () => node.isReady())
    await node.cluster.kubectl('-n', 'weft-system', 'delete', 'daemonset', 'cni')
    assert.equal(await node.end('agent', 'SIGTERM'), 0)
    assert.deepEqual(conf(), ['bridge'])
    assert.equal(existsSync(node.path('opt/cni/bin/weft-cni')), false)
    assert.equal((await node.cluster.onNode(1, 'ls', '/sys/fs/bpf/weft')).stdout.trim(), '')
    await node.cluster.apply(pod('shop', 'after'))
    await ready('after')
  })
})
