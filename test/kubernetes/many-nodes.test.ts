// Two hundred nodes and two replicas of the control plane on a real API server: proxies are back soon after replicas were killed, and a
// node that floods the certificate authority hurts nobody but itself. No kubelet runs; replicas and proxies are processes of this machine.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Replicas } from './authority-stage.ts'
import { CaLoad, type CaSums } from './ca-load.ts'
import { Cluster, guard } from './cluster/cluster.ts'
import { until } from './cluster/processes.ts'
import { makeNodes, type NodeProxy } from './many-nodes.ts'
import { Front, XdsCrowd } from './xds-crowd.ts'

const CRDS = join(import.meta.dirname, '../../deploy/chart/crds')
const NODES = 200
const BACK_MS = 15_000
const SERVER_NAME = 'istiod.istio-system.svc'
const LEGAL_PER_SECOND = 50
const HOSTILE_PER_SECOND = 20_000
/** Length of a flood; WEFT_FLOOD_SECONDS=300 is the whole one. */
const FLOOD_S = Number(process.env.WEFT_FLOOD_SECONDS ?? 60)
const QUIET_S = 20
const P99_MS = 100
/** Measured in a fresh process: 49 in the first flood, 26 in the second; 160 within 8 s when every request is answered. */
const GROWTH_MIB = 64

describe('the control plane of two hundred nodes', function () {
  this.timeout(600_000 + 2 * FLOOD_S * 1000)
  let cluster: Cluster
  let replicas: Replicas
  let proxies: readonly NodeProxy[]

  before(async () => {
    const id = `mn${process.pid % 10_000}`
    guard(id, process.pid)
    cluster = await Cluster.up({ id, number: 1 + (process.pid % 9), nodes: 0 }, (sentence) => console.log(`      ${sentence}`))
    await cluster.kubectl('apply', '--server-side', ...readdirSync(CRDS).flatMap((file) => ['-f', join(CRDS, file)]))
    await cluster.apply(...['weft-system', 'shop'].map((name) => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } })))
    await cluster.apply({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { namespace: 'weft-system', name: 'ztunnel' } })
    proxies = await makeNodes(cluster, NODES)
    replicas = new Replicas(cluster)
    await Promise.all([replicas.start('a'), replicas.start('b')])
  })
  after(async () => {
    replicas?.[Symbol.dispose]()
    await cluster?.[Symbol.asyncDispose]()
  })

  describe('proxies', () => {
    let front: Front
    let crowd: XdsCrowd

    before(async () => {
      front = await Front.open()
      front.ports = [replicas.port('a'), replicas.port('b')]
      crowd = new XdsCrowd(front.address, replicas.roots, proxies)
      await until('all are connected', 60_000, () => crowd.connected === NODES)
    })
    after(() => {
      crowd?.[Symbol.dispose]()
      front?.[Symbol.dispose]()
    })

    /** @param kill resolves when a replica can be reached again, or still can. */
    const back = async (what: string, kill: () => Promise<void>): Promise<void> => {
      const killedMs = performance.now()
      await kill()
      const goneMs = performance.now() - killedMs
      await until('the loss is seen', 10_000, () => (crowd.returnsMs(killedMs)?.length ?? NODES) > 0)
      await until('all are back', 60_000, () => crowd.returnsMs(killedMs) !== undefined)
      const times = crowd.returnsMs(killedMs) ?? []
      const at = (share: number): string => ((times[Math.floor((times.length - 1) * share)] ?? 0) / 1000).toFixed(2)
      console.log(`      ${what}: ${times.length} of ${NODES} lost their stream, back after p50 ${at(0.5)} s, at most ${at(1)} s`)
      assert.ok(times.length > NODES / 4)
      assert.ok(
        (times.at(-1) ?? 0) <= goneMs + BACK_MS,
        `the last one after ${at(1)} s; none was there for ${(goneMs / 1000).toFixed(2)} s`,
      )
      assert.equal(crowd.removals, 0)
    }

    it(`are back within ${BACK_MS / 1000} s when the leader is killed`, async () => {
      const leader = await replicas.leader()
      await back('the leader', async () => {
        replicas.kill(leader)
        await sleep(1000) // a Service leads to the dead one for about so long
        front.ports = [replicas.port(leader === 'a' ? 'b' : 'a')]
      })
      await replicas.start(leader)
      front.ports = [replicas.port('a'), replicas.port('b')]
    })

    it(`are back within ${BACK_MS / 1000} s of a replica's return when every one is killed`, async () => {
      await back('every replica', async () => {
        for (const name of ['a', 'b']) replicas.kill(name)
        front.ports = []
        const begunMs = performance.now()
        const starts = ['a', 'b'].map(async (name) => {
          await replicas.start(name)
          front.ports = [...front.ports, replicas.port(name)]
        })
        await Promise.race(starts)
        console.log(`      one was ready again after ${((performance.now() - begunMs) / 1000).toFixed(2)} s`)
        void Promise.all(starts)
      })
      await until('both are ready', 60_000, () => front.ports.length === 2)
    })
  })

  describe('one that floods the certificate authority', () => {
    let folder: string
    let load: CaLoad
    let quiet: CaSums

    const pssMib = (): number => Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${replicas.pid('a')}/smaps_rollup`, 'utf8'))?.[1]) / 1024
    const tell = (what: string, { asked, issued, p50Ms, p99Ms, mostMs }: CaSums): void =>
      console.log(`      ${what}: ${issued} of ${asked} issued, p50 ${p50Ms} p99 ${p99Ms} most ${mostMs} ms`)

    before(async () => {
      folder = mkdtempSync(join(tmpdir(), 'weft-flood-'))
      load = await CaLoad.open(replicas.port('a'), SERVER_NAME, replicas.roots, proxies.slice(1))
      await load.ask(LEGAL_PER_SECOND, 10) // tokens are reviewed, code is compiled
      quiet = await load.ask(LEGAL_PER_SECOND, QUIET_S)
      tell('without a flood', quiet)
    })
    after(() => {
      load?.[Symbol.dispose]()
      rmSync(folder, { recursive: true, force: true })
    })

    const flood = (token: string): ChildProcess => {
      const file = join(folder, 'token')
      writeFileSync(file, token)
      const args = ['--port', `${replicas.port('a')}`, '--from', '127.0.0.9', '--rate', `${HOSTILE_PER_SECOND}`, '--token-file', file]
      const command = [join(import.meta.dirname, 'ca-flood.ts'), ...args, '--name', SERVER_NAME]
      return spawn(process.execPath, command, { stdio: ['ignore', 'pipe', 'inherit'] })
    }

    const FLOODS = [
      { name: 'with a token that is good', token: () => proxies[0]?.token ?? '' },
      { name: 'with a token that is made up', token: () => `${proxies[0]?.token.slice(0, -8)}AAAAAAAA` },
    ]
    for (const { name, token } of FLOODS) {
      it(`${name}: the others get theirs as before`, async () => {
        const beforeMib = pssMib()
        const attacker = flood(token())
        let said = ''
        attacker.stdout?.setEncoding('utf8').on('data', (text: string) => {
          said += text
        })
        const sums = await load.ask(LEGAL_PER_SECOND, FLOOD_S)
        const duringMib = pssMib()
        attacker.kill('SIGTERM')
        await once(attacker, 'close')
        const { offered, sent, answered, closed, seconds } = JSON.parse(said) as Record<string, number>
        tell(name, sums)
        const rate = (count = 0): string => (count / (seconds ?? 1)).toFixed(0)
        console.log(
          `      the flood: ${rate(offered)}/s offered, ${rate(sent)}/s sent, ${rate(answered)}/s answered, ${closed} connections closed`,
        )
        console.log(`      memory ${beforeMib.toFixed(0)} → ${duringMib.toFixed(0)} MiB`)
        assert.equal(sums.issued, sums.asked, JSON.stringify(sums.reasons))
        assert.ok(sums.p99Ms < Math.max(P99_MS, 2 * quiet.p99Ms), `p99 ${sums.p99Ms} ms; without a flood ${quiet.p99Ms} ms`)
        assert.ok(duringMib - beforeMib < GROWTH_MIB, `${beforeMib.toFixed(0)} → ${duringMib.toFixed(0)} MiB`)
      })
    }
  })
})
