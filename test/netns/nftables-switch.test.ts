// A node changes its redirect mode by a restart of its agent: what the other mode left goes, pods are captured again, and a pod that
// fills its own table with rubbish, or locks it, harms nobody else.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { ebpfObstacle } from '../../bpf/feature.ts'
import { AgentNode, type AgentPod } from '../support/agent-node.ts'
import { nft, redirectLeftovers } from '../support/nft.ts'
import type { LabPeer } from '../support/netns-lab.ts'

describe('the redirect mode of a node', () => {
  let node: AgentNode
  let client: AgentPod
  let server: AgentPod
  let clientApp: LabPeer
  let serverApp: LabPeer

  const call = (): Promise<string> => clientApp.do('call', { ip: server.lab.ip4, port: 8080 }).then((said) => said.split(' |')[0] ?? '')
  const captured = (): string => `ztunnel 15001 orig=${server.lab.ip4}:8080`
  const pins = (): string[] => (existsSync(node.lab.bpffs) ? readdirSync(node.lab.bpffs) : [])
  const restart = async (mode: string): Promise<void> => {
    await node.kill('agent', 'SIGTERM')
    await node.startAgent([`--redirect=${mode}`])
    await node.until(async () => (await node.monitor('/readyz'))?.startsWith('HTTP/1.1 200') ?? false, 'ready')
  }
  const choice = async (): Promise<{ mode: string; reason: string }> => {
    const said = /"redirect": (\{[^}]*\})/.exec((await node.monitor('/config_dump')) ?? '')?.[1] // the body comes in chunks
    return JSON.parse(said ?? '{}') as { mode: string; reason: string }
  }

  before(async () => {
    node = await AgentNode.make(`wns${process.pid}`)
    await node.namespace('shop', true)
    await node.startAgent()
    node.startZtunnel()
    client = await node.pod('shop', 'client')
    server = await node.pod('shop', 'server')
    clientApp = await node.lab.peer(client.lab.path, 'pods/client')
    serverApp = await node.lab.peer(server.lab.path, 'pods/server')
    await serverApp.do('listen', { name: 'server', ports: [8080] })
    await node.until(async () => (await node.monitor('/readyz'))?.startsWith('HTTP/1.1 200') ?? false, 'ready')
    for (const pod of [client, server]) assert.equal((await node.ask('/cmdadd', pod)).status, 200)
    assert.equal(await call(), captured())
  })
  after(async () => {
    await node?.[Symbol.asyncDispose]()
  })

  it('from eBPF to nftables: no program is left, and pods are captured by rules', async () => {
    assert.ok(pins().length > 0)
    await restart('nftables')
    assert.deepEqual(await choice(), { mode: 'nftables', reason: 'asked for' })
    assert.deepEqual(pins(), [])
    await node.until(async () => (await call()) === captured(), 'captured again')
    assert.match(nft(client.lab.path, 'list table inet weft-pod'), /redirect to :15001/)
    assert.equal(await node.redirection(client), 'enabled')
  })

  it('a pod that fills its table, or empties it all the time, is put right; one that owns it is pending; the other stays as it is', async () => {
    const rubbish = Array.from({ length: 20_000 }, (_, n) => `add rule inet weft-pod inbound ip saddr 10.9.${n >> 8}.${n & 255} accept\n`)
    const filler = spawn('nsenter', [`--net=${client.lab.path}`, 'nft', '-f', '-'], { stdio: ['pipe', 'inherit', 'inherit'] })
    filler.stdin.end(rubbish.join(''))
    assert.equal(await new Promise((resolve) => filler.once('exit', resolve)), 0)
    await node.until(() => nft(client.lab.path, 'list table inet weft-pod').length < 10_000, 'put right')
    await node.until(async () => (await call()) === captured(), 'captured')
    assert.equal(await node.redirection(server), 'enabled')

    // One that empties it all the time: nothing that was emptied is ever taken for whole.
    const flusher = spawn('nsenter', [`--net=${client.lab.path}`, 'sh', '-c', 'while :; do nft flush chain inet weft-pod outbound; done'], {
      stdio: 'ignore',
    })
    await new Promise((resolve) => setTimeout(resolve, 3000))
    const stopped = new Promise((resolve) => flusher.once('exit', resolve))
    flusher.kill('SIGKILL')
    await stopped
    await node.until(() => nft(client.lab.path, 'list table inet weft-pod').includes(':15001'), 'put right again', 20_000)
    await node.until(async () => (await node.redirection(client)) === 'enabled' && (await call()) === captured(), 'captured again', 20_000)
    assert.equal(await node.redirection(server), 'enabled')

    // An owned table can be changed by the process that made it only.
    const owner = spawn('nsenter', [`--net=${client.lab.path}`, 'nft', '-i'], { stdio: ['pipe', 'ignore', 'ignore'] })
    owner.stdin.write('delete table inet weft-pod\nadd table inet weft-pod { flags owner; }\n')
    await node.until(async () => (await node.redirection(client)) === 'pending', 'the locked pod is pending')
    assert.equal(await node.redirection(server), 'enabled')
    const gone = new Promise((resolve) => owner.once('exit', resolve))
    owner.stdin.end()
    await gone // its table goes with it
    await node.until(async () => (await node.redirection(client)) === 'enabled' && (await call()) === captured(), 'enrolled again', 20_000)
  })

  it('what keeps the programs away is a clause that says what', () => {
    assert.equal(ebpfObstacle(node.lab.cgroup), undefined)
    assert.equal(ebpfObstacle('/proc'), '/proc is not a group of cgroup v2')
    assert.equal(ebpfObstacle('/not/there'), '/not/there is not a group of cgroup v2')
  })

  it('back by `auto`: the rules are gone, and the reason is said', async () => {
    await restart('auto')
    assert.deepEqual(await choice(), { mode: 'ebpf', reason: 'the kernel has what it needs' })
    await node.until(async () => (await call()) === captured(), 'captured again')
    assert.ok(pins().length > 0)
    for (const path of [client.lab.path, server.lab.path, node.lab.nodePath])
      assert.ok(!redirectLeftovers(path).some((line) => line.includes('table')))
    await node.label('shop', false)
    await node.until(async () => (await call()).startsWith('server 8080'), 'released')
  })
})
