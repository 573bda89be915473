// The plugin behind the reference implementation of CNI: cnitool executes a conf list, ours last, on the real kernel.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type PluginArch, pluginBinary } from '../../cni/plugin/binary.ts'
import { AgentNode, type AgentPod } from '../support/agent-node.ts'
import { builtByGo } from '../support/built-by-go.ts'
import { prevResult } from '../support/cni-plugin.ts'

const VERSION = 'v1.3.0'
/** The plugin before ours: says what a file says. */
const FIRST = `#!/bin/sh
case "$CNI_COMMAND" in
  VERSION) echo '{"cniVersion":"1.1.0","supportedVersions":["1.0.0","1.1.0"]}' ;;
  ADD) cat "$WEFT_TEST_RESULT" ;;
esac
`

/** Builds cnitool unless it is there. @throws with Go's own output */
function buildCnitool(): string {
  const packages = [`github.com/containernetworking/cni/cnitool@${VERSION}`]
  return join(builtByGo({ name: 'cnitool', packages }), 'cnitool')
}

describe('cnitool', function () {
  this.timeout('240s')
  let node: AgentNode
  let pod: AgentPod
  let tool: string

  const run = (command: string): Promise<{ code: number | null; stdout: string; stderr: string }> => {
    const env = {
      PATH: process.env.PATH ?? '',
      NETCONFPATH: join(node.directory, 'net.d'),
      CNI_PATH: join(node.directory, 'bin'),
      CNI_IFNAME: 'eth0',
      CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=${pod.namespace};K8S_POD_NAME=${pod.name};K8S_POD_UID=${pod.uid}`,
      WEFT_CNI_SOCKET: join(node.directory, 'cni.sock'),
      WEFT_TEST_RESULT: join(node.directory, 'result.json'),
    }
    const child = spawn(tool, [command, 'pods', pod.lab.path], { env })
    const out = { stdout: '', stderr: '' }
    child.stdout.on('data', (chunk) => (out.stdout += chunk))
    child.stderr.on('data', (chunk) => (out.stderr += chunk))
    return new Promise((resolve, reject) => child.on('error', reject).on('close', (code) => resolve({ code, ...out })))
  }

  before(async () => {
    tool = buildCnitool()
    node = await AgentNode.make(`wct${process.pid}`)
    await node.namespace('shop', true)
    pod = await node.pod('shop', 'cart')
    for (const name of ['net.d', 'bin']) mkdirSync(join(node.directory, name))
    copyFileSync(pluginBinary(process.arch as PluginArch), join(node.directory, 'bin/weft-cni'))
    writeFileSync(join(node.directory, 'bin/first'), FIRST, { mode: 0o755 })
    const list = { cniVersion: '1.1.0', name: 'pods', plugins: [{ type: 'first' }, { type: 'weft-cni' }] }
    writeFileSync(join(node.directory, 'net.d/10-pods.conflist'), JSON.stringify(list))
    writeFileSync(join(node.directory, 'result.json'), JSON.stringify({ ...prevResult(pod), cniVersion: '1.1.0' }))
  })
  after(async () => {
    await node?.[Symbol.asyncDispose]()
  })

  it('without the agent: ADD and STATUS fail with a sentence, DEL succeeds', async () => {
    const add = await run('add')
    assert.notEqual(add.code, 0)
    assert.match(add.stdout + add.stderr, /the node agent does not run/)
    assert.notEqual((await run('status')).code, 0)
    assert.equal((await run('del')).code, 0)
    assert.equal(await node.redirection(pod), undefined)
  })

  it('ADD captures the pod and gives the result of the list; CHECK, STATUS and DEL agree', async () => {
    await node.startAgent()
    node.startZtunnel()
    await node.until(async () => (await node.monitor('/readyz'))?.startsWith('HTTP/1.1 200') ?? false, 'ready', 20_000)
    const add = await run('add')
    assert.equal(add.code, 0, add.stdout + add.stderr)
    const result = JSON.parse(add.stdout) as { ips: readonly { address: string }[] }
    assert.deepEqual(
      result.ips.map(({ address }) => address),
      [`${pod.lab.ip4}/24`, `${pod.lab.ip6}/64`],
    )
    assert.equal(await node.redirection(pod), 'enabled')
    for (const command of ['check', 'status', 'del', 'del']) {
      const { code, stdout, stderr } = await run(command)
      assert.equal(code, 0, `${command}: ${stdout}${stderr}`)
    }
    assert.equal(existsSync(join(node.directory, 'cni', `${pod.uid}.json`)), false)
  })
})
