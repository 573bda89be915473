// Redirect mode `nftables` while requests run: the label comes and goes, the agent and ztunnel are killed, rules are changed behind
// the agent's back. Nothing is lost that need not be, nothing is in the clear, and afterwards nothing is left in any namespace.
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { releaseNodes } from '../../runtime/release.ts'
import { nodeNetns } from '../support/mesh-view.ts'
import { nft, redirectLeftovers } from '../support/nft.ts'
import { killAndWait, processesIn, successorIn } from '../support/process-killer.ts'
import type { SeqReport } from '../support/seq-client.ts'
import { describeReport } from '../support/seq-pods.ts'
import { LoadedMesh } from '../support/under-load.ts'
import { accessLines } from '../support/ztunnel-facts.ts'

const RATE = 60
const UNSPOILED = { lost: 0, duplicates: 0, corrupted: 0, connectionsBroken: 0 }

describe('redirecting by nftables under load', function () {
  this.timeout('60s')
  let loaded: LoadedMesh

  before(async () => {
    loaded = await LoadedMesh.start({
      componentArgs: { cni: ['--redirect=nftables', '--reconcile-interval=500ms', '--release-wait=500ms'] },
    })
  })
  after(async () => {
    await loaded?.[Symbol.asyncDispose]()
  })

  const kill = async (index: number, group: 'agent' | 'ztunnel'): Promise<void> => {
    const cgroup = join(loaded.mesh.node(index).cgroup, group)
    const before = processesIn(cgroup)
    const victim = before.find((each) => each.command.includes('main.ts'))
    assert.ok(victim !== undefined, `no process in ${cgroup}`)
    await killAndWait(victim)
    await successorIn(cgroup, before, 5000)
  }
  const enrolled = (wanted: 'enabled' | '-'): Promise<true> =>
    loaded.mesh.until(
      `pods are ${wanted}`,
      async () => (await loaded.mesh.status()).pods.every((pod) => pod.namespace !== 'shop' || pod.enrolment === wanted) || undefined,
    )
  const assertUnspoiled = (report: SeqReport): void => {
    const { lost, duplicates, corrupted, connectionsBroken } = report
    assert.deepEqual({ lost, duplicates, corrupted, connectionsBroken }, UNSPOILED, describeReport(report))
    assert.ok(report.answered > 0)
  }
  const pathWorks = (): Promise<boolean> =>
    loaded.mesh.until('the path works', async () => (await loaded.load(50, 0.3).finished).lost === 0)
  const namespaces = (): string[] => [
    loaded.client.netnsPath,
    loaded.server.netnsPath,
    nodeNetns(loaded.mesh, 1),
    nodeNetns(loaded.mesh, 2),
  ]

  it('both agents are killed, twice: no request is lost, no connection breaks, the rules are the same', async () => {
    const rules = (): string => nft(loaded.server.netnsPath, '-a', 'list', 'ruleset')
    const before = rules()
    const [fresh, open] = [loaded.load(RATE, 3), loaded.load(30, 3, { fresh: false })]
    for (let round = 0; round < 2; round++) {
      await sleep(500)
      await Promise.all([kill(1, 'agent'), kill(2, 'agent')])
      await sleep(400)
    }
    for (const { finished } of [fresh, open]) assertUnspoiled(await finished)
    assert.equal(rules(), before)
    await loaded.assertNoPlaintext()
  })

  for (const [side, index] of [
    ['client', 1],
    ['server', 2],
  ] as const) {
    it(`ztunnel of the ${side}'s node is killed: refused meanwhile, never in the clear, works again within 3 s`, async () => {
      const { finished } = loaded.load(RATE, 3)
      await sleep(500)
      await kill(index, 'ztunnel')
      const report = await finished
      assert.ok(report.lost > 0, 'the control: requests met a node without ztunnel')
      assert.ok(report.longestGapMs <= 3000, `no answer for ${report.longestGapMs} ms`)
      assert.equal(report.corrupted + report.duplicates, 0)
      await pathWorks()
      await loaded.assertNoPlaintext()
    })
  }

  const DAMAGES: readonly { readonly name: string; readonly kind: string; readonly node: 1 | 2; do(): unknown }[] = [
    {
      name: 'the whole table of the server',
      kind: 'inbound',
      node: 2,
      do: () => nft(loaded.server.netnsPath, 'delete table inet weft-pod'),
    },
    {
      name: 'a rule that somebody put before ours',
      kind: 'inbound',
      node: 2,
      do: () => nft(loaded.server.netnsPath, 'insert rule inet weft-pod inbound tcp dport 9000 accept'),
    },
    {
      name: "the client's outbound rules",
      kind: 'outbound',
      node: 1,
      do: () => nft(loaded.client.netnsPath, 'flush chain inet weft-pod outbound'),
    },
    {
      name: "the node's list of probed pods",
      kind: 'inbound',
      node: 2,
      do: () => nft(nodeNetns(loaded.mesh, 2), 'flush set inet weft-node probed4'),
    },
    { name: "the node's table", kind: 'inbound', node: 2, do: () => nft(nodeNetns(loaded.mesh, 2), 'delete table inet weft-node') },
  ]
  for (const damage of DAMAGES) {
    it(`notices and puts back: ${damage.name}`, async () => {
      const line = `weft_capture_drift_total{kind="${damage.kind}"}`
      const before = await loaded.agentMetric(damage.node, line)
      damage.do()
      await loaded.mesh.until('noticed', async () => (await loaded.agentMetric(damage.node, line)) > before)
      await enrolled('enabled')
      const counted = await loaded.agentMetric(damage.node, line)
      await pathWorks()
      await sleep(700)
      assert.equal(await loaded.agentMetric(damage.node, line), counted, 'what was put back is not drift')
    })
  }

  it('the kill switch, with agents and ztunnels dead: refused before, plaintext after, and meshed again', async () => {
    const { layout, nodes, supervisor } = loaded.mesh.mesh
    const held = ['cni-node-1', 'cni-node-2', 'ztunnel-node-1', 'ztunnel-node-2']
    await Promise.all(held.map((name) => supervisor.hold(name)))
    assert.equal((await loaded.load(RATE, 0.5).finished).answered, 0)
    for (const hard of [false, true]) {
      const said = await releaseNodes(layout, nodes, new Date().toISOString(), hard)
      assert.match(said.join(), hard ? /every program, map and rule removed/ : /1 pods released/)
      assert.equal((await loaded.load(RATE, 0.5).finished).lost, 0)
    }
    assert.deepEqual(namespaces().flatMap(redirectLeftovers), [])
    assert.deepEqual(readdirSync(loaded.mesh.node(1).bpfDir), [], 'no program was loaded to release')
    await assert.rejects(loaded.assertNoPlaintext(), /not to port 15008/)
    for (const name of held) supervisor.resume(name)
    await loaded.mesh.ready()
    await loaded.mesh.until('captured again', () => redirectLeftovers(loaded.client.netnsPath).length > 0)
    await enrolled('enabled')
    await pathWorks()
    const seen = accessLines(loaded.mesh, 2).length
    assertUnspoiled(await loaded.load(RATE, 0.5).finished)
    const lines = (): Record<string, string>[] => accessLines(loaded.mesh, 2).slice(seen)
    await loaded.mesh.until('they were carried', () => lines().length >= RATE / 4)
    assert.ok(lines().every((line) => line['src.identity'] !== undefined))
  })

  it('the label goes and comes twice: no request is lost, no connection breaks', async () => {
    await loaded.mesh.client.delete('peerauthentications', 'shop', 'strict')
    const [fresh, open] = [loaded.load(RATE, 9), loaded.load(30, 9, { fresh: false })]
    for (let round = 0; round < 2; round++) {
      await sleep(500)
      await loaded.mesh.label('shop', { 'istio.io/dataplane-mode': null })
      await enrolled('-')
      await sleep(1000)
      await loaded.mesh.label('shop', { 'istio.io/dataplane-mode': 'ambient' })
      await enrolled('enabled')
    }
    for (const { finished } of [fresh, open]) assertUnspoiled(await finished)
  })

  it('leaves no table, rule or route in any namespace when no pod is enrolled', async () => {
    for (const path of namespaces()) assert.notDeepEqual(redirectLeftovers(path), [], 'the control')
    await loaded.mesh.label('shop', { 'istio.io/dataplane-mode': null })
    await loaded.mesh.until('all is gone', () => namespaces().every((path) => redirectLeftovers(path).length === 0))
    await loaded.clearTaps()
    assertUnspoiled(await loaded.load(50, 0.5).finished)
    await assert.rejects(loaded.assertNoPlaintext(), /not to port 15008/)
  })
})
