// Without the API server: what is there goes on and nobody forgets anything, what is new waits. By hand, because it takes its time.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { GOOD_MS } from '../../controlplane/ca/token-cache.ts'
import { Tap } from '../../tap/tap.ts'
import { startApiServer } from './cluster/control-plane.ts'
import { killDaemon, until } from './cluster/processes.ts'
import { meshCluster, type MeshCluster } from './mesh-cluster.ts'
import { Component, type Numbers, type ProxyState, stateOf, sumOf } from './node-view.ts'
import { describeSums, SeqLoad } from './seq-load.ts'

/** Length of the outage; WEFT_LONG_OUTAGE_SECONDS makes it shorter for a look. */
const OUTAGE_MS = Number(process.env.WEFT_LONG_OUTAGE_SECONDS ?? 300) * 1000
/** In which nodes are seen again, watches resume and what was missed is read. */
const SETTLE_MS = 30_000
const LOOK_EVERY_MS = 2000
const METRICS = { controlplane: 15_014, ztunnel: 15_020 } as const
const CHANGES = ['weft_controlplane_xds_removals_total', 'weft_controlplane_xds_refusals_total', 'weft_controlplane_certificates_total']

/** Runs something while nobody answers at the API server's address. */
async function withoutApiServer({ cluster }: MeshCluster, play: () => Promise<void>): Promise<void> {
  await killDaemon(cluster.layout, 'kube-apiserver')
  try {
    await play()
  } finally {
    startApiServer(cluster.layout, cluster.binaries)
    await until('the API server is back', 60_000, async () => (await cluster.try('get', '--raw', '/readyz')).status === 0)
  }
}

describe('Kubernetes without its API server', function () {
  this.timeout(OUTAGE_MS + 600_000)
  let mesh: MeshCluster
  let load: SeqLoad

  before(async () => {
    mesh = await meshCluster()
    load = await SeqLoad.open(mesh, 'outage')
    await Promise.all([load.server('server-1', 1), load.server('server-2', 2)])
    await load.clients(
      { name: 'kept-1', node: 1, server: 'server-2', mode: 'http', rate: 210 },
      { name: 'kept-2', node: 2, server: 'server-1', mode: 'tcp', rate: 240 },
      { name: 'fresh-1', node: 1, server: 'server-2', mode: 'http', rate: 25, fresh: true, viaService: true },
      { name: 'fresh-2', node: 2, server: 'server-1', mode: 'tcp', rate: 25, fresh: true, viaService: true },
    )
    await sleep(5000)
  })
  after(async () => {
    await load?.[Symbol.asyncDispose]()
  })

  it(`${OUTAGE_MS / 1000} s at 500 requests per second: nothing is lost, emptied, closed or issued again`, async () => {
    const ztunnels = await Component.each(mesh, 'ztunnel')
    const replicas = await Component.each(mesh, 'controlplane')
    assert.deepEqual([ztunnels.length, replicas.length], [2, 2])
    const states = (): Promise<ProxyState[]> => Promise.all(ztunnels.map(stateOf))
    const numbers = (): Promise<Numbers[]> => Promise.all(replicas.map((replica) => replica.metrics(METRICS.controlplane)))
    const [before, countsBefore] = [await states(), await numbers()]
    let looks = 0
    const watch = async (ms: number): Promise<void> => {
      for (const endMs = performance.now() + ms; performance.now() < endMs; looks++) {
        assert.deepEqual(await states(), before)
        await sleep(LOOK_EVERY_MS)
      }
    }
    const sums = await load.during(async () => {
      await withoutApiServer(mesh, () => watch(OUTAGE_MS))
      await watch(SETTLE_MS)
    })
    console.log(`      ${describeSums(sums)}; ${looks} looks at ${before.map(({ counts }) => counts).join(' and ')}`)
    assert.ok(sums.sent >= (load.rate * (OUTAGE_MS + SETTLE_MS)) / 1000, 'the load was as high as it is said')
    const counts = (all: readonly Numbers[]): object[] =>
      all.map((one) => Object.fromEntries(CHANGES.map((name) => [name, sumOf(one, name)])))
    const { lost, twice, damaged, broken } = sums
    assert.deepEqual(
      { lost, twice, damaged, broken, states: await states(), counts: counts(await numbers()) },
      { lost: 0, twice: 0, damaged: 0, broken: 0, states: before, counts: counts(countsBefore) },
    )
  })

  it(`a node proxy that starts when tokens are no longer remembered (${GOOD_MS / 1000} s) refuses until the API server is back`, async () => {
    const ips = (await load.space.pods()).map((pod) => pod.status?.podIP ?? '')
    const [proxy] = (await Component.each(mesh, 'ztunnel')).filter(({ node }) => node === 1)
    assert.ok(proxy !== undefined)
    await using tap = await Tap.open({ device: mesh.cluster.layout.bridge })
    await withoutApiServer(mesh, async () => {
      await sleep(GOOD_MS + 10_000)
      process.kill(proxy.pid, 'SIGKILL')
      await sleep(20_000)
      const [own, others] = [load.answered('fresh-1'), load.answered('fresh-2')]
      await sleep(10_000)
      assert.deepEqual([load.answered('fresh-1'), load.answered('fresh-2')], [own, others], 'from its node and to it')
    })
    const begunMs = performance.now()
    const [own, others] = [load.answered('fresh-1'), load.answered('fresh-2')]
    await until(
      'both directions come through again',
      120_000,
      () => load.answered('fresh-1') > own + 50 && load.answered('fresh-2') > others + 50,
    )
    console.log(`      ${((performance.now() - begunMs) / 1000).toFixed(1)} s after the API server is back, so are the requests`)
    const plaintext = (await tap.meshFaults(ips)).filter(({ flow }) => flow.syns > 0)
    assert.deepEqual(plaintext, [])
  })
})
