// 10,000 connections, 4,000 of them at once, between two pods in the mesh and through a relay that resets, half-closes and slows
// some: every byte that arrives is right, every end is the one that the relay made, and the proxies keep neither sockets nor memory.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { openNetns } from '../../linux/netns.ts'
import { socketInodes } from '../../cni/connections.ts'
import type { IpAddress } from '../../model/address.ts'
import { FaultRelay, type Faults } from '../support/fault-relay.ts'
import { deployedPod, type TestMesh, type TestPod, testMesh } from '../support/mesh.ts'
import { IDLE, namespaceWith } from '../support/seq-pods.ts'
import type { SoakReport } from '../support/soak-client.ts'
import { ztunnelPid } from '../support/ztunnel-facts.ts'

const SPACE = 'soak'
const CONNECTIONS = Number(process.env.WEFT_SOAK_CONNECTIONS ?? 10_000)
const AT_ONCE = Math.ceil(CONNECTIONS * 0.4)
const SERVER_PORT = 9000
const RELAY_PORT = 7000
/** What is freed a while after the last connection: pools, certificates' timers, buffers. */
const REST_MS = 60_000
/** Memory after the second load, against that after the first. */
const MAY_GROW = 1.1
const FAULTS: Faults = {
  pieceBytes: [200, 20_000],
  reset: { probability: 0.04, afterBytes: [0, 3000] },
  end: { probability: 0.04, afterBytes: [20, 3000] },
  slow: { probability: 0.03, bytesPerSecond: [20_000, 60_000] },
}
const file = (name: string): string => join(import.meta.dirname, '..', 'support', name)
const [space, ...accounts] = namespaceWith(SPACE, ['client', 'server'])
const OBJECTS = [
  { ...space, metadata: { name: SPACE, labels: { 'istio.io/dataplane-mode': 'ambient' } } },
  ...accounts,
  deployedPod(SPACE, 'client', 'node-1', IDLE),
  deployedPod(SPACE, 'server', 'node-2', ['node', file('soak-server.ts'), String(SERVER_PORT)]),
]

interface State {
  readonly sockets: number
  readonly pssKib: number
}

describe('many connections', function () {
  this.timeout('400s')
  let mesh: TestMesh
  let client: TestPod
  let server: TestPod

  before(async () => {
    const nodeFlags = { ztunnel: ['--import', file('collect-garbage.ts')] }
    const componentArgs = { ztunnel: ['--pool-unused', '20s'] } // else pooled connections stay for five minutes
    mesh = await testMesh({ nodes: 2, objects: OBJECTS, nodeFlags, componentArgs })
    client = await mesh.pod(`${SPACE}/client`)
    server = await mesh.pod(`${SPACE}/server`)
  })
  after(async () => {
    await mesh?.[Symbol.asyncDispose]()
  })

  /** One run of the whole load. @returns the client's account and the relay's */
  const run = async (seed: number): Promise<{ report: SoakReport; relay: FaultRelay }> => {
    using netns = openNetns(server.netnsPath)
    const at = (ip: string, port: number) => ({ ip: ip as IpAddress, port })
    await using relay = await FaultRelay.listen({
      netnsFd: netns.fd,
      listen: at('0.0.0.0', RELAY_PORT),
      to: at('127.0.0.1', SERVER_PORT),
      seed,
      faults: FAULTS,
    })
    const args = [server.ip, RELAY_PORT, CONNECTIONS, AT_ONCE, seed].map(String)
    const { stdout, stderr } = await client.exec([process.execPath, file('soak-client.ts'), ...args], { timeoutMs: 100_000 })
    assert.ok(stdout.startsWith('{'), `the client said ${stdout}${stderr}`)
    return { report: JSON.parse(stdout) as SoakReport, relay }
  }

  /** Both proxies as they are, with no garbage. */
  const collected = async (): Promise<State[]> => {
    const pids = [1, 2].map((node) => ztunnelPid(mesh, node))
    for (let round = 0; round < 3; round++) {
      for (const pid of pids) process.kill(pid, 'SIGUSR2')
      await new Promise((resolve) => setTimeout(resolve, 500))
    }
    return pids.map((pid) => ({ sockets: socketInodes([pid]).size, pssKib: pssKib(pid) }))
  }
  const rest = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

  const judge = ({ report, relay }: { report: SoakReport; relay: FaultRelay }): void => {
    const text = `${JSON.stringify(report)} ${relay.connections.length} relayed`
    const outcomes = Map.groupBy(relay.connections, ({ cut, outcome, ...bytes }) => {
      if (outcome !== 'clean' || cut?.kind !== 'end') return outcome
      const passed = cut.way === 'to-server' ? bytes.bytesToServer : bytes.bytesToClient
      return passed === cut.afterBytes ? `short ${cut.way}` : outcome
    })
    const count = (outcome: string): number => outcomes.get(outcome)?.length ?? 0
    const relayed = ['clean', 'short to-server', 'short to-client', 'reset', 'broken', 'open'].map(count)
    assert.equal(relay.connections.length, CONNECTIONS, text)
    assert.deepEqual([report.damaged, report.failed], [0, {}], text)
    assert.deepEqual([report.whole, report.shortUp, report.shortDown, report.reset, 0, 0], relayed, text)
    assert.ok(Math.min(...relayed.slice(0, 4)) > CONNECTIONS / 100, text) // every kind has happened
    assert.ok(report.mostAtOnce >= AT_ONCE * 0.9, text)
  }

  it(`are carried exactly, ${CONNECTIONS} of them with ${AT_ONCE} at once, and leave nothing behind`, async () => {
    const begun = await collected()
    const first = await run(1)
    // The proxy gives freed memory back every 10 s after a storm, so the garbage must be gone some time before the end.
    await rest(REST_MS / 2)
    await collected()
    await rest(REST_MS / 2)
    const warm = await collected()
    const second = await run(2)
    const isAsBefore = (state: readonly State[]): boolean =>
      state.every(({ sockets, pssKib }, index) => {
        const [then, base] = [begun[index], warm[index]]
        return then !== undefined && base !== undefined && sockets <= then.sockets && pssKib <= base.pssKib * MAY_GROW
      })
    let after = await collected()
    for (let waitedMs = 0; !isAsBefore(after) && waitedMs < 2 * REST_MS; waitedMs += REST_MS / 12) {
      await rest(REST_MS / 12)
      after = await collected()
    }
    if (process.env.WEFT_TEST_TALK) console.log(JSON.stringify({ begun, warm, after, first: first.report, second: second.report }))
    judge(first)
    judge(second)
    for (const [index, { sockets, pssKib }] of after.entries()) {
      const [then, base] = [begun[index], warm[index]]
      assert.ok(then !== undefined && base !== undefined)
      assert.ok(sockets <= then.sockets, `ztunnel ${index + 1} held ${then.sockets} sockets and holds ${sockets}`)
      assert.ok(pssKib <= base.pssKib * MAY_GROW, `ztunnel ${index + 1} had ${base.pssKib} KiB and has ${pssKib} KiB`)
    }
  })
})

function pssKib(pid: number): number {
  return Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1])
}
