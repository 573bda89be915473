// kill -9 of each part while new connections come at 100 a second: what waits, what is refused, how soon all is well again,
// and that nothing is ever in the clear.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { getInNetns } from '../../runtime/node-http.ts'
import { killAndWait, processesIn, successorIn } from '../support/process-killer.ts'
import { runDelayMs } from '../support/run-delay.ts'
import type { SeqReport } from '../support/seq-client.ts'
import { LoadedMesh } from '../support/under-load.ts'

const RATE = 100
const SERVER_NODE = 2

describe('kill -9 under load', function () {
  this.timeout('240s')
  let loaded: LoadedMesh

  before(async () => {
    loaded = await LoadedMesh.start()
  })
  after(async () => {
    await loaded[Symbol.asyncDispose]()
  })

  /** Kills what matches in the cgroup. @returns ms until the next process was there (without those that we waited for a CPU), and its pid */
  const kill = async (cgroup: string, match: string): Promise<{ ms: number; pid: number }> => {
    const before = processesIn(cgroup)
    const victim = before.find((each) => each.command.includes(match))
    assert.ok(victim !== undefined, `no ${match} in ${cgroup}`)
    await killAndWait(victim)
    const [diedMs, delayMs] = [performance.now(), runDelayMs('self')]
    const { pid } = await successorIn(cgroup, before, 20_000)
    return { ms: performance.now() - diedMs - (runDelayMs('self') - delayMs), pid }
  }
  /** What the slowest of them waited for a CPU: on an idle machine next to nothing. */
  const waitedMs = (processes: readonly { pid: number }[]): number => Math.max(...processes.map(({ pid }) => runDelayMs(pid)))
  const certificates = async (index: number): Promise<ReadonlyMap<string, string>> => {
    const { body } = await getInNetns(loaded.mesh.node(index).netns, '127.0.0.1', 15_000, '/config_dump')
    const { certificates: list } = JSON.parse(body) as { certificates: { identity: string; certChain: { serialNumber: string }[] }[] }
    return new Map(list.map((each) => [each.identity, each.certChain[0]?.serialNumber ?? '']))
  }
  const rootPem = (): string => readFileSync(join(loaded.mesh.mesh.layout.dir, 'root-cert.pem'), 'utf8')
  /** Pins of the nodes with their inodes: one that was made anew has another. */
  const pins = (index: number): string[] => {
    const { bpfDir } = loaded.mesh.node(index)
    return readdirSync(bpfDir)
      .sort()
      .map((name) => `${name} ${statSync(join(bpfDir, name)).ino}`)
  }

  for (const [side, index] of [
    ['client', 1],
    ['server', SERVER_NODE],
  ] as const) {
    it(`ztunnel of the ${side}'s node, twice: works again within 3 s, refused meanwhile, nothing hangs`, async () => {
      const { finished } = loaded.load(RATE, 5)
      const restarts: { ms: number; pid: number }[] = []
      const delays: number[] = []
      for (let round = 0; round < 2; round++) {
        await sleep(400)
        const next = await kill(join(loaded.mesh.node(index).cgroup, 'ztunnel'), 'ztunnel/main.ts')
        restarts.push(next)
        await sleep(1500)
        delays.push(waitedMs([next]))
      }
      const report = await finished
      assert.ok(
        restarts.every(({ ms }) => ms < 500),
        `supervisor took ${JSON.stringify(restarts)}`,
      )
      const delayMs = Math.max(...delays)
      assert.ok(report.longestGapMs <= 3000 + delayMs, `no answer for ${report.longestGapMs} ms, of which ${delayMs} without a CPU`)
      assert.equal(report.errors.TIMEOUT, undefined)
      assert.equal(report.corrupted + report.duplicates, 0)
      await loaded.assertNoPlaintext()
    })
  }

  it('both agents, three times: no request lost, no connection broken, every pin is the same', async () => {
    const before = [1, 2].map(pins)
    const fresh = loaded.load(RATE, 5)
    const open = loaded.load(50, 5, { fresh: false })
    for (let round = 0; round < 3; round++) {
      await sleep(400)
      await Promise.all([1, 2].map((index) => kill(join(loaded.mesh.node(index).cgroup, 'agent'), 'cni/main.ts')))
      await loaded.mesh.until('the agents are ready', async () => (await loaded.mesh.status()).isReady)
    }
    for (const report of [await fresh.finished, await open.finished]) assert.deepEqual(spoiled(report), UNSPOILED)
    assert.deepEqual([1, 2].map(pins), before)
    await loaded.assertNoPlaintext()
  })

  it('the control plane, three times: no request lost; the root is kept, new processes get new certificates', async () => {
    const root = rootPem()
    const old = await certificates(1)
    const fresh = loaded.load(RATE, 5)
    const open = loaded.load(50, 5, { fresh: false })
    for (let round = 0; round < 3; round++) {
      await sleep(400)
      await kill(loaded.mesh.mesh.layout.controlCgroup, 'controlplane/main.ts')
      await loaded.mesh.until('the control plane is ready', async () => (await loaded.mesh.status()).isReady)
    }
    for (const report of [await fresh.finished, await open.finished]) assert.deepEqual(spoiled(report), UNSPOILED)
    assert.equal(rootPem(), root)
    await kill(join(loaded.mesh.node(1).cgroup, 'ztunnel'), 'ztunnel/main.ts')
    await loaded.mesh.until('certificates are issued again', async () => {
      const now = await certificates(1).catch(() => new Map<string, string>())
      return now.size === old.size && [...now].every(([identity, serial]) => serial !== '' && serial !== old.get(identity))
    })
    assert.equal((await loaded.load(RATE, 1).finished).lost, 0)
    await loaded.assertNoPlaintext()
  })

  it('everything at once: works again within 5 s, nothing hangs, nothing in the clear', async () => {
    const { finished } = loaded.load(RATE, 5)
    await sleep(1000)
    const { layout } = loaded.mesh.mesh
    const started = await Promise.all([
      kill(layout.controlCgroup, 'controlplane/main.ts'),
      ...[1, 2].flatMap((index) => [
        kill(join(loaded.mesh.node(index).cgroup, 'ztunnel'), 'ztunnel/main.ts'),
        kill(join(loaded.mesh.node(index).cgroup, 'agent'), 'cni/main.ts'),
      ]),
    ])
    const report = await finished
    assert.equal(report.errors.TIMEOUT, undefined)
    const delayMs = waitedMs(started)
    assert.ok(report.longestGapMs <= 5000 + delayMs, `no answer for ${report.longestGapMs} ms, of which ${delayMs} without a CPU`)
    assert.equal((await loaded.load(RATE, 1).finished).lost, 0)
    await loaded.assertNoPlaintext()
  })

  it('a ztunnel that starts while the control plane is away: refused within 5 s, never in the clear, and well once it is back', async () => {
    await loaded.mesh.mesh.supervisor.hold('controlplane')
    await kill(join(loaded.mesh.node(1).cgroup, 'ztunnel'), 'ztunnel/main.ts')
    const report = await loaded.load(50, 1.5).finished
    assert.equal(report.answered, 0)
    assert.equal(report.errors.TIMEOUT, undefined)
    loaded.mesh.mesh.supervisor.resume('controlplane')
    await loaded.mesh.until('the path works', async () => (await loaded.load(50, 0.3).finished).lost === 0)
    await loaded.assertNoPlaintext()
  })

  it('control: the same taps see plaintext once the namespace is not labelled', async () => {
    await loaded.mesh.label('shop', { 'istio.io/dataplane-mode': null })
    await loaded.mesh.until('released', async () => (await loaded.mesh.status()).pods.every((pod) => pod.enrolment === '-'))
    await loaded.mesh.until('nothing is captured', async () => (await loaded.load(50, 0.3).finished).lost === 0)
    await assert.rejects(loaded.assertNoPlaintext(), /not to port 15008/)
  })
})

const UNSPOILED = { lost: 0, duplicates: 0, corrupted: 0, connectionsBroken: 0, errors: {} }

function spoiled({ lost, duplicates, corrupted, connectionsBroken, errors }: SeqReport): typeof UNSPOILED {
  return { lost, duplicates, corrupted, connectionsBroken, errors }
}
