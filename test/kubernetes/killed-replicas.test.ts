// Replicas of the control plane that are killed, hang or end: another one goes on writing status within the lease, and the node proxies
// have their configuration stream back.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Pod } from '../../model/object.ts'
import { LEASE_MS, LOOK_MS } from '../../controlplane/leader/lease.ts'
import { until } from './cluster/processes.ts'
import { meshCluster, type MeshCluster, SYSTEM } from './mesh-cluster.ts'
import { Component, sumOf } from './node-view.ts'
import { MeshNamespace, processesOf } from './pods.ts'

const BACK_MS = 15_000
const STATS_PORT = 15_020
const LOOK_EVERY_MS = 200
/** Beyond the lease: the last look at it (with its jitter), requests to the API server, the write of the status itself. */
const MARGIN_MS = LOOK_MS * 1.1 + 2000
const OBSERVED = 'jsonpath={.status.conditions[0].observedGeneration}'

describe('killed replicas of the control plane', () => {
  let mesh: MeshCluster
  let space: MeshNamespace
  let generation = 0

  const policyFor = (namespace: string): object => ({
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'p', namespace: space.name },
    spec: { rules: [{ from: [{ source: { namespaces: [namespace] } }] }] },
  })
  const holder = (): Promise<string> =>
    mesh.cluster.kubectl('-n', SYSTEM, 'get', 'lease', 'weft-leader', '-o', 'jsonpath={.spec.holderIdentity}')
  const allReady = async (): Promise<void> => {
    await mesh.cluster.kubectl('-n', SYSTEM, 'rollout', 'status', 'deployment/controlplane', '--timeout=240s')
  }
  /** Changes a policy. @returns ms until its status follows */
  const statusFollows = async (limitMs: number): Promise<number> => {
    const begunMs = performance.now()
    generation++
    await mesh.cluster.apply(policyFor(`n-${generation}`))
    const observed = (): Promise<string> => mesh.cluster.kubectl('-n', space.name, 'get', 'authorizationpolicy', 'p', '-o', OBSERVED)
    await until(`status of generation ${generation}`, limitMs, async () => (await observed()) === String(generation))
    return performance.now() - begunMs
  }
  const processOf = async (podName: string): Promise<number> => {
    const { spec } = await mesh.cluster.get<Pod>('-n', SYSTEM, 'pod', podName)
    const node = Number(spec?.nodeName?.replace('node', ''))
    const [pid] = await processesOf(mesh, 'controlplane', node)
    assert.ok(pid !== undefined)
    return pid
  }

  before(async () => {
    mesh = await meshCluster()
    space = await MeshNamespace.make(mesh, 'killed')
    await allReady()
    await statusFollows(60_000)
  })
  after(async () => {
    await space?.[Symbol.asyncDispose]()
  })

  it(`a leader that hangs is followed within its lease of ${LEASE_MS / 1000} s, and takes nothing back`, async () => {
    const old = await holder()
    const pid = await processOf(old)
    process.kill(pid, 'SIGSTOP')
    let tookMs: number
    try {
      tookMs = await statusFollows(60_000)
      assert.notEqual(await holder(), old)
    } finally {
      process.kill(pid, 'SIGCONT')
    }
    console.log(`      status went on after ${(tookMs / 1000).toFixed(1)} s`)
    assert.ok(tookMs <= LEASE_MS + MARGIN_MS, `${tookMs.toFixed(0)} ms`)
    const next = await holder()
    await sleep(5000)
    assert.equal(await holder(), next)
    await allReady()
  })

  it('a killed leader is followed within its lease', async () => {
    process.kill(await processOf(await holder()), 'SIGKILL')
    const tookMs = await statusFollows(60_000)
    console.log(`      status went on after ${(tookMs / 1000).toFixed(1)} s`)
    assert.ok(tookMs <= LEASE_MS + MARGIN_MS, `${tookMs.toFixed(0)} ms`)
    await allReady()
  })

  it('a leader that ends hands over at once', async () => {
    await mesh.cluster.kubectl('-n', SYSTEM, 'delete', 'pod', await holder(), '--wait=false')
    const tookMs = await statusFollows(60_000)
    console.log(`      status went on after ${(tookMs / 1000).toFixed(1)} s`)
    assert.ok(tookMs <= LOOK_MS * 1.1 + 3000, `${tookMs.toFixed(0)} ms`)
    await allReady()
  })

  it(`node proxies have their stream back within ${BACK_MS / 1000} s when every replica is killed`, async () => {
    const ztunnels = await Component.each(mesh, 'ztunnel')
    const messages = (): Promise<number[]> =>
      Promise.all(ztunnels.map(async (one) => sumOf(await one.metrics(STATS_PORT), 'istio_xds_message_total')))
    const pids = (await Promise.all([1, 2].map((node) => processesOf(mesh, 'controlplane', node)))).flat()
    assert.equal(pids.length, 2)
    const before = await messages()
    const killedMs = performance.now()
    for (const pid of pids) process.kill(pid, 'SIGKILL')
    const back = new Map<number, number>()
    await until('both are back', 60_000, async () => {
      await sleep(LOOK_EVERY_MS)
      for (const [index, count] of (await messages()).entries())
        if (count > (before[index] ?? 0) && !back.has(index)) back.set(index, performance.now() - killedMs)
      return back.size === ztunnels.length
    })
    const times = [...back.values()].map((ms) => (ms / 1000).toFixed(1))
    console.log(`      back after ${times.join(' s and ')} s`)
    for (const ms of back.values()) assert.ok(ms <= BACK_MS, `${ms.toFixed(0)} ms`)
    const tookMs = await statusFollows(60_000)
    console.log(
      `      and status went on ${((performance.now() - killedMs) / 1000).toFixed(1)} s after the kill (${(tookMs / 1000).toFixed(1)} s)`,
    )
    await allReady()
  })
})
