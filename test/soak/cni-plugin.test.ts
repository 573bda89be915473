// Nothing is left of pods that came and went through the plugin: pins, files, descriptors.
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { AgentNode, type AgentPod } from '../support/agent-node.ts'
import { type PluginRun, pluginConfig, pluginEnvironment, prevResult, runPlugin } from '../support/cni-plugin.ts'

const PODS_AT_ONCE = 10
const ROUNDS = 50

describe('500 pods through the plugin', function () {
  this.timeout('270s')
  let node: AgentNode

  const call = (command: string, pod: AgentPod): Promise<PluginRun> =>
    runPlugin(pluginEnvironment(command, join(node.directory, 'cni.sock'), pod), pluginConfig(prevResult(pod)))
  /** As a runtime does: what says "try again later" is tried again. */
  const insist = async (pod: AgentPod): Promise<PluginRun> => {
    const first = await call('ADD', pod)
    return first.output?.code === 11 ? call('ADD', pod) : first
  }
  const traces = (): object => ({ pins: readdirSync(node.lab.bpffs).length, files: readdirSync(join(node.directory, 'cni')).length })
  const descriptors = (): number => readdirSync(`/proc/${node.pid('agent')}/fd`).length

  before(async () => {
    node = await AgentNode.make(`wcs${process.pid}`)
    await node.namespace('shop', true)
    await node.startAgent()
    node.startZtunnel()
    await node.until(async () => (await node.monitor('/readyz'))?.startsWith('HTTP/1.1 200') ?? false, 'ready')
  })
  after(async () => {
    await node[Symbol.asyncDispose]()
  })

  it('leave nothing behind', async () => {
    const places = await Promise.all(Array.from({ length: PODS_AT_ONCE }, (_, index) => node.pod('shop', `many-${index}`)))
    const before = traces()
    let early = 0
    for (let round = 0; round < ROUNDS; round++) {
      const ended = await Promise.all(places.map((pod) => insist(pod)))
      assert.deepEqual(
        ended.filter(({ code }) => code !== 0),
        [],
      )
      await Promise.all(places.map((pod) => call('DEL', pod)))
      if (round === 4) early = descriptors()
    }
    assert.deepEqual(traces(), before)
    assert.ok(descriptors() <= early + 5, `${early} descriptors after 50 pods, ${descriptors()} after 500`)
  })
})
