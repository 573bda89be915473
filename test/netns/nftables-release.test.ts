// `weft release --local` on a node that redirects by nftables, with agent and ztunnel dead: by namespace, whole and --hard it leaves no
// rule of ours in any namespace, and the pods talk plainly.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { AgentNode, type AgentPod } from '../support/agent-node.ts'
import { redirectLeftovers } from '../support/nft.ts'
import type { LabPeer } from '../support/netns-lab.ts'

const WEFT = join(import.meta.dirname, '../../cli/main.ts')

describe('weft release --local where pods are redirected by nftables', () => {
  let node: AgentNode
  let pods: { readonly client: AgentPod; readonly server: AgentPod }
  let app: LabPeer

  const call = (): Promise<string> => app.do('call', { ip: pods.server.lab.ip4, port: 8080 }).then((said) => said.split(' |')[0] ?? '')
  const captured = (): string => `ztunnel 15001 orig=${pods.server.lab.ip4}:8080`
  const left = (path: string): string[] => redirectLeftovers(path).filter((line) => !line.startsWith('table ') || line.includes('weft'))
  const release = (...words: readonly string[]): string => {
    const flags = ['--local', '--node-dir', node.directory, '--bpffs-dir', node.lab.bpffs]
    const command = [`--net=${node.lab.nodePath}`, process.execPath, WEFT, 'release', ...flags, ...words]
    const { status, stdout, stderr } = spawnSync('nsenter', command, { encoding: 'utf8' })
    assert.equal(status, 0, stderr)
    return stdout
  }

  before(async () => {
    node = await AgentNode.make(`wnr${process.pid}`)
    for (const space of ['shop', 'bank']) await node.namespace(space, true)
    pods = { client: await node.pod('shop', 'client'), server: await node.pod('bank', 'server') }
    app = await node.lab.peer(pods.client.lab.path, 'pods/client')
    const server = await node.lab.peer(pods.server.lab.path, 'pods/server')
    await server.do('listen', { name: 'server', ports: [8080] })
  })
  beforeEach(async () => {
    await node.startAgent(['--redirect=nftables'])
    node.startZtunnel()
    await node.until(async () => (await node.monitor('/readyz'))?.startsWith('HTTP/1.1 200') ?? false, 'ready')
    for (const pod of [pods.client, pods.server]) assert.equal((await node.ask('/cmdadd', pod)).status, 200)
    await node.until(async () => (await call()) === captured(), 'captured')
    await node.kill('agent')
    await node.kill('ztunnel')
    assert.notDeepEqual(left(pods.client.lab.path), [])
  })
  afterEach(() => {
    release('--resume', '--all')
    for (const space of ['shop', 'bank']) release('--resume', '-n', space)
  })
  after(async () => {
    await node?.[Symbol.asyncDispose]()
  })

  it('a namespace: its pods have no rules any more, those of others do', async () => {
    assert.match(release('-n', 'shop'), /^1 pods released without the agent; they speak plaintext\nshop\/client\n$/)
    assert.deepEqual(left(pods.client.lab.path), [])
    assert.notDeepEqual(left(pods.server.lab.path), [])
    assert.notDeepEqual(left(node.lab.nodePath), [])
  })

  for (const [words, says] of [
    [['--all'], /^2 pods released without the agent/],
    [['--all', '--hard'], /^the rules of the node and of 2 pods removed; they speak plaintext\n/],
  ] as const)
    it(`${words.join(' ')}: no rule is left, and pods talk plainly`, async () => {
      assert.match(release(...words), says)
      for (const path of [pods.client.lab.path, pods.server.lab.path, node.lab.nodePath]) assert.deepEqual(left(path), [])
      assert.match(await call(), /^server 8080 /)
    })
})
