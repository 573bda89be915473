// Somebody takes away a pin, a map entry or a listener behind the mesh's back: it is noticed within one round of
// comparison, counted and put back, and an unenrolled peer never reaches the STRICT pod in plaintext meanwhile.
import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { NodeMaps } from '../../bpf/node-maps.ts'
import { type CGROUP_PROGRAMS, type MapName, pins } from '../../bpf/spec.ts'
import { AF_INET } from '../../linux/sockaddr.ts'
import { netnsCookie, openNetns } from '../../linux/netns.ts'
import { deployment, type TestPod } from '../support/mesh.ts'
import type { SeqReport } from '../support/seq-client.ts'
import { LoadedMesh } from '../support/under-load.ts'

const ROUND_MS = 400

describe('drift', function () {
  this.timeout('60s')
  let loaded: LoadedMesh
  let stranger: TestPod

  before(async () => {
    loaded = await LoadedMesh.start({
      timeoutMs: 12_000,
      componentArgs: { cni: ['--reconcile-interval', `${ROUND_MS}ms`] },
      objects: [deployment('plain', 'stranger', ['sleep', 'infinity'], { pod: { nodeName: 'node-1' } })],
    })
    stranger = await loaded.mesh.pod('plain/stranger')
  })
  after(async () => {
    await loaded[Symbol.asyncDispose]()
  })

  const cookieOf = (pod: TestPod): bigint => {
    using netns = openNetns(pod.netnsPath)
    return netnsCookie(netns.fd)
  }
  /** Removes the entries of a map that `which` names. @returns how many */
  const forget = (index: number, name: MapName, which: (key: unknown, value: unknown) => boolean): number => {
    using maps = new NodeMaps(loaded.mesh.node(index).bpfDir)
    const map = maps.get(name) as unknown as { entries(): [unknown, unknown][]; delete(key: unknown): void }
    const gone = map.entries().filter(([key, value]) => which(key, value))
    for (const [key] of gone) map.delete(key)
    return gone.length
  }
  const unregister = (index: number, pod: TestPod, port: number): number => {
    using maps = new NodeMaps(loaded.mesh.node(index).bpfDir)
    const key = { netns: cookieOf(pod), family: AF_INET, port, protocol: 6, slot: 0 }
    if (maps.get('listeners').get(key) === undefined) return 0
    maps.get('listeners').delete(key)
    return 1
  }
  const unpin = (pin: string): number => {
    rmSync(pin)
    return 1
  }

  const DAMAGES: readonly { readonly name: string; readonly kind: string; readonly node: 1 | 2; do(): number }[] = [
    {
      name: "steering of the server's namespace",
      kind: 'inbound',
      node: 2,
      do: () => unpin(pins.steer(loaded.mesh.node(2).bpfDir, cookieOf(loaded.server))),
    },
    {
      name: "the server's addresses",
      kind: 'inbound',
      node: 2,
      do: () => forget(2, 'pod_ips', (_, cookie) => cookie === cookieOf(loaded.server)),
    },
    { name: "the server's record", kind: 'inbound', node: 2, do: () => forget(2, 'pods', (cookie) => cookie === cookieOf(loaded.server)) },
    { name: "the client's record", kind: 'outbound', node: 1, do: () => forget(1, 'pods', (cookie) => cookie === cookieOf(loaded.client)) },
    { name: "the server's guard", kind: 'guard', node: 2, do: () => forget(2, 'guards', () => true) },
    { name: "the server's HBONE listener", kind: 'listeners', node: 2, do: () => unregister(2, loaded.server, 15_008) },
    { name: "the server's plaintext listener", kind: 'listeners', node: 2, do: () => unregister(2, loaded.server, 15_006) },
    { name: "the client's outbound listener", kind: 'listeners', node: 1, do: () => unregister(1, loaded.client, 15_001) },
    ...(['connect4', 'tcp_events'] as const).map((program) => ({
      name: `${program} of the node's cgroup`,
      kind: 'cgroup',
      node: 1 as const,
      do: () => unpin(pins.cgroupLink(loaded.mesh.node(1).bpfDir, program satisfies keyof typeof CGROUP_PROGRAMS)),
    })),
  ]
  for (const damage of DAMAGES) {
    it(`puts back ${damage.name}, and counts it as ${damage.kind}`, async () => {
      const line = `weft_capture_drift_total{kind="${damage.kind}"}`
      const before = await loaded.agentMetric(damage.node, line)
      const plaintext = loaded.load(50, (ROUND_MS + 800) / 1000, { from: stranger })
      await loaded.mesh.until('the stranger calls', () => plaintext.hasBegun())
      const beganMs = performance.now()
      assert.ok(damage.do() > 0, 'nothing was there to be taken away')
      await loaded.mesh.until('noticed', async () => (await loaded.agentMetric(damage.node, line)) > before)
      await loaded.mesh.until('works', async () => (await loaded.load(50, 0.2).finished).lost === 0)
      const tookMs = performance.now() - beganMs
      assert.ok(tookMs < ROUND_MS + 4000, `took ${tookMs} ms`)
      const report: SeqReport = await plaintext.finished
      assert.ok(report.sent > 30)
      assert.equal(report.answered, 0, 'the STRICT server took plaintext')
      await loaded.mesh.until('both are enrolled', async () =>
        (await loaded.mesh.status()).pods.filter((pod) => pod.namespace === 'shop').every((pod) => pod.enrolment === 'enabled'),
      )
    })
  }
})
