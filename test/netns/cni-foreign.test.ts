// The agent beside others on a node: it looks before it changes anything, and says who is there and what to do.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { NodeDatapath } from '../../bpf/datapath.ts'
import { foreignConnectPrograms } from '../../bpf/foreign.ts'
import { type Lab, lab } from '../support/netns-lab.ts'

describe('the agent beside others', () => {
  let node: Lab
  let confDir: string
  let other: NodeDatapath

  before(() => {
    node = lab(`wcf${process.pid}`)
    other = node.datapath() // plays a load balancer: programs that are not the agent's, on a group above
    confDir = `/tmp/${node.name}-net.d`
    mkdirSync(confDir)
  })
  after(async () => {
    other[Symbol.dispose]()
    await node[Symbol.asyncDispose]()
    rmSync(confDir, { recursive: true })
  })

  const start = (...args: string[]): { status: number | null; text: string } => {
    const paths = ['--zds', `${confDir}/zds`, '--cni-socket', `${confDir}/cni`, '--state-dir', `${confDir}/state`]
    const all = ['--source', 'kubernetes', '--kubeconfig', '/nonexistent', '--node', 'n', '--cni-conf-dir', confDir, ...paths, ...args]
    const main = new URL('../../cni/main.ts', import.meta.url).pathname
    const ended = spawnSync('nsenter', [`--net=${node.nodePath}`, process.execPath, main, ...all], { encoding: 'utf8', timeout: 20_000 })
    return { status: ended.status, text: ended.stdout + ended.stderr }
  }

  it('knows its own programs from those of others', () => {
    const below = join(node.cgroup, 'pods')
    assert.deepEqual(foreignConnectPrograms(node.cgroup, node.bpffs), [])
    assert.deepEqual(foreignConnectPrograms(below, node.bpffs), [])
    const seen = foreignConnectPrograms(below, '/nonexistent').map(({ hook, name }) => `${hook} ${name}`)
    assert.deepEqual(seen, ['connect4 connect4', 'connect6 connect6'])
  })

  it('refuses beside a socket load balancer, and leaves the node as it was', () => {
    const bpffs = `${node.bpffs}-other`
    const { status, text } = start('--cgroup', join(node.cgroup, 'pods'), '--bpffs-dir', bpffs)
    assert.equal(status, 1, text)
    assert.match(text, /BESIDE_SOCKET_LB/)
    assert.match(text, /connect4 at connect4.*docs\/migrate\.md/)
    assert.deepEqual([existsSync(bpffs), readdirSync(confDir)], [false, []])
  })

  it('refuses beside an Istio in the conf list', () => {
    const list = '{"cniVersion":"1.0.0","name":"x","plugins":[{"type":"bridge"},{"type":"istio-cni"}]}'
    writeFileSync(join(confDir, '10-x.conflist'), list)
    const { status, text } = start('--cgroup', node.cgroup, '--bpffs-dir', node.bpffs)
    assert.equal(status, 1, text)
    assert.match(text, /BESIDE_ISTIO/)
    assert.match(text, /plugin istio-cni in 10-x\.conflist.*docs\/migrate\.md/)
    assert.deepEqual(readdirSync(confDir), ['10-x.conflist'])
  })
})
