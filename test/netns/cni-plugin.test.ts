// The CNI plugin, the agent and the kernel together: the committed binary is executed as containerd executes it, behind the
// result of another plugin.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { AgentNode, type AgentPod } from '../support/agent-node.ts'
import { row } from '../support/capture-rows.ts'
import { type PluginRun, pluginConfig, pluginEnvironment, prevResult, runPlugin } from '../support/cni-plugin.ts'
import type { LabPeer } from '../support/netns-lab.ts'

const NAME = `wcp${process.pid}`

describe('CNI plugin and agent', () => {
  let node: AgentNode
  let server: AgentPod
  let client: AgentPod

  const call = (command: string, pod: AgentPod, config = pluginConfig(prevResult(pod)), change: object = {}): Promise<PluginRun> =>
    runPlugin({ ...pluginEnvironment(command, join(node.directory, 'cni.sock'), pod), ...change }, config)
  const dial = async (from: LabPeer, port = 8080): Promise<string> =>
    (await from.do('call', { ip: server.lab.ip4, port })).split(' |')[0] ?? ''
  const pins = (): string[] => readdirSync(node.lab.bpffs)
  const isKnown = (pod: AgentPod): boolean => existsSync(join(node.directory, 'cni', `${pod.uid}.json`))

  before(async () => {
    node = await AgentNode.make(NAME)
    await node.namespace('shop', true)
    await node.namespace('plain', false)
    await node.startAgent()
    node.startZtunnel()
    await node.until(async () => (await node.monitor('/readyz'))?.startsWith('HTTP/1.1 200') ?? false, 'ready')
    server = await node.pod('shop', 'server')
    client = await node.pod('shop', 'client')
    const app = await node.lab.peer(server.lab.path, 'pods/server')
    await app.do('listen', { name: 'server', ports: [8080] })
  })
  after(async () => {
    await node[Symbol.asyncDispose]()
  })

  it('ADD ends when the pod is captured, and passes on the result of the plugins before', async () => {
    for (const pod of [server, client]) {
      const { code, output } = await call('ADD', pod)
      assert.equal(code, 0, JSON.stringify(output))
      assert.deepEqual(output, prevResult(pod))
      assert.equal(await node.redirection(pod), 'enabled')
      assert.equal(node.stateFile(pod).stage, 'enrolled')
    }
    const app = await node.lab.peer(client.lab.path, 'pods/client') // its first connect
    assert.equal(await dial(app), `ztunnel 15001 orig=${server.lab.ip4}:8080`)
    await app.stop()
  })

  it('ADD of a pod outside the mesh passes at once; it is known for the day of its label', async () => {
    const pod = await node.pod('plain', 'plain')
    const { code, output } = await call('ADD', pod)
    assert.equal(code, 0)
    assert.deepEqual(output, prevResult(pod))
    assert.equal(node.stateFile(pod).stage, 'out')
    await node.label('plain', true)
    await node.until(async () => (await node.redirection(pod)) === 'enabled', 'enrolled later')
    await node.label('plain', false)
    assert.equal((await call('DEL', pod)).code, 0)
  })

  it('ADD of a pod in a namespace that is never enrolled, or of no pod at all, asks nobody', async () => {
    const stranger = { ...client, namespace: 'kube-system', name: 'nobody-knows', uid: 'no-such-uid' }
    assert.equal((await call('ADD', stranger)).code, 0)
    assert.equal((await call('ADD', client, undefined, { CNI_ARGS: 'IgnoreUnknown=1', CNI_CONTAINERID: 'x' })).code, 0)
  })

  row('k8s-no-address', async () => {
    const early = await node.pod('shop', 'early')
    const result = { ...prevResult(early), ips: [] }
    const { code, output } = await call('ADD', early, pluginConfig(result))
    assert.equal(code, 1)
    assert.equal(output?.code, 11)
    assert.match(String(output?.msg), /has no address yet/)
    assert.equal(isKnown(early), false)
    const other = await node.pod('plain', 'other')
    assert.equal((await call('ADD', other, pluginConfig({ ...prevResult(other), ips: [] }))).code, 0)
    assert.equal((await call('ADD', early)).code, 0)
    assert.equal((await call('DEL', early)).code, 0)
  })

  it('CHECK says whether the kernel has what the pod needs', async () => {
    assert.equal((await call('CHECK', client)).code, 0)
    const unknown = await node.pod('plain', 'unknown')
    assert.equal((await call('CHECK', unknown)).code, 0)
  })

  it('GC lets go of dead sandboxes only', async () => {
    const dead = await node.pod('shop', 'dead')
    assert.equal((await call('ADD', dead)).code, 0)
    node.lab.deleteNamespace(dead.lab)
    const config = pluginConfig(undefined, { 'cni.dev/valid-attachments': [{ containerID: `c-${server.uid}`, ifname: 'eth0' }] })
    assert.equal((await call('GC', client, config)).code, 0)
    await node.until(() => !isKnown(dead), 'forgotten')
    assert.equal(isKnown(client), true, 'not listed, but it lives')
    assert.equal(node.stateFile(client).stage, 'enrolled')
  })

  row('k8s-host-port', async () => {
    const outside = await node.lab.peer(node.lab.nodePath, 'agent')
    await node.pod('plain', 'visitor') // its veth is on the bridge
    const { ip4 } = server.lab
    const rules = `table ip hostport {
      chain in { type nat hook prerouting priority -100; tcp dport 30080 dnat to ${ip4}:8080; }
      chain out { type nat hook output priority -100; ip daddr 10.77.0.1 tcp dport 30080 dnat to ${ip4}:8080; }
    }`
    execFileSync('nsenter', [`--net=${node.lab.nodePath}`, 'nft', '-f', '-'], { input: rules })
    assert.match(await outside.do('call', { ip: '10.77.0.1', port: 30_080 }), /^ztunnel 15006 /)
    execFileSync('nsenter', [`--net=${node.lab.nodePath}`, 'nft', 'delete', 'table', 'ip', 'hostport'])
    await outside.stop()
  })

  it('DEL of an older sandbox leaves the pod that runs alone; its own is immediate and may be repeated', async () => {
    assert.equal((await call('DEL', client, undefined, { CNI_CONTAINERID: 'c-older' })).code, 0)
    assert.equal(node.stateFile(client).stage, 'enrolled')
    const { code, tookMs } = await call('DEL', client)
    assert.equal(code, 0)
    assert.ok(tookMs < 1000)
    assert.equal(isKnown(client), false)
    assert.equal((await call('DEL', client)).code, 0)
  })

  it('what cannot be read is refused by name, with the code of the specification', async () => {
    for (const [what, config, change, code, message] of [
      ['no prevResult', pluginConfig(undefined), {}, 7, /prevResult: missing/],
      ['no JSON', '{', {}, 7, /not JSON/],
      ['no container', undefined, { CNI_CONTAINERID: '' }, 4, /CNI_CONTAINERID: missing/],
      ['a namespace that climbs', undefined, { CNI_NETNS: '/run/netns/../x' }, 4, /CNI_NETNS: not usable/],
      ['a command of the future', undefined, { CNI_COMMAND: 'DANCE' }, 4, /CNI_COMMAND/],
      ['a namespace that is gone', undefined, { CNI_NETNS: '/run/netns/no-such' }, 3, /namespace is gone/],
      ['a pod that nobody knows', undefined, { CNI_ARGS: 'K8S_POD_NAMESPACE=shop;K8S_POD_NAME=who' }, 11, /does not know this pod/],
    ] as const) {
      const { code: exit, output } = await call('ADD', server, config, change)
      assert.equal(exit, 1, what)
      assert.equal(output?.code, code, what)
      assert.match(`${output?.msg} ${output?.details}`, message, what)
    }
  })

  it('STATUS: ready, and 50 when no agent runs', async () => {
    assert.equal((await call('STATUS', server, pluginConfig(undefined))).code, 0)
  })

  row('k8s-no-agent-del', async () => {
    const gone = await node.pod('shop', 'gone')
    assert.equal((await call('ADD', gone)).code, 0)
    await node.kill('agent')
    const { code, tookMs } = await call('DEL', gone)
    assert.equal(code, 0)
    assert.ok(tookMs < 1000)
    node.lab.deleteNamespace(gone.lab)
    assert.equal(isKnown(gone), true)
    await node.startAgent()
    await node.until(() => !isKnown(gone), 'forgotten')
    await node.until(() => !pins().some((pin) => pin.includes(String(gone.lab.cookie))), 'no pin of it is left')
    await node.until(async () => (await node.monitor('/readyz'))?.startsWith('HTTP/1.1 200') ?? false, 'ready', 20_000)
  })

  it('without the agent: ADD says 11, STATUS 50, DEL succeeds, VERSION answers; an agent that comes back in time is waited for', async () => {
    await node.kill('agent')
    const late = await node.pod('shop', 'late')
    const [add, status, del, version] = await Promise.all(['ADD', 'STATUS', 'DEL', 'VERSION'].map((command) => call(command, late)))
    assert.deepEqual([add?.code, add?.output?.code], [1, 11])
    assert.deepEqual([status?.code, status?.output?.code], [1, 50])
    assert.deepEqual([del?.code, del?.output], [0, undefined])
    assert.deepEqual(version?.output?.supportedVersions, ['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'])
    assert.ok((version?.tookMs ?? 9999) < 500 && (del?.tookMs ?? 9999) < 1000 && (add?.tookMs ?? 9999) < 5000)
    assert.equal(await node.redirection(late), undefined)
    const waiting = call('ADD', late) // waits 3 s for an agent; the runtime comes again after that
    await node.startAgent()
    const { code, output } = await waiting
    if (code !== 0) {
      assert.equal(output?.code, 11)
      await node.until(async () => (await call('ADD', late)).code === 0, 'enrolled by a later attempt', 20_000)
    }
    assert.equal(await node.redirection(late), 'enabled')
  })
})
