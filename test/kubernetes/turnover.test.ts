// Hundreds of pods that come and go, a hundred at a time: nothing of them is left on the nodes, and the mesh's own processes hold no more
// than before. By hand, because it takes its time.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { until } from './cluster/processes.ts'
import { meshCluster, type MeshCluster } from './mesh-cluster.ts'
import { Component } from './node-view.ts'
import { holdings, isEnrolled, MeshNamespace } from './pods.ts'

const BATCHES = Number(process.env.WEFT_TURNOVER_BATCHES ?? 5)
/** Half of them on each node. */
const PODS = 100
const START_MS = 400_000
const GONE_MS = 400_000
const MAPS = ['pods', 'pod_ips', 'guards', 'listeners', 'pod_drops', 'permitted', 'in_flight', 'dialled', 'services', 'backends']
/** More than that from the first batch, in which code is compiled and buffers grow, to the last is a leak. */
const GROWTH_MIB = 12
const GROWTH_FILES = 4

describe('pods that come and go', function () {
  this.timeout(BATCHES * (START_MS + GONE_MS))
  let mesh: MeshCluster
  before(async () => {
    mesh = await meshCluster()
  })

  interface Held {
    readonly nodes: readonly Readonly<Record<string, number>>[]
    /** `COMPONENT on NODE` to open files and MiB. */
    readonly processes: Readonly<Record<string, { readonly files: number; readonly mib: number }>>
  }

  const ownHoldings = async (node: number): Promise<Readonly<Record<string, number>>> => {
    const count = async (command: string): Promise<number> => Number((await mesh.cluster.onNode(node, 'sh', '-c', command)).stdout)
    const pins = await count('ls /sys/fs/bpf/weft | wc -l')
    const groups = await count(
      `find /sys/fs/cgroup/unified/${mesh.cluster.node(node).cgroup}/kubepods -name 'pod*' -type d 2>/dev/null | wc -l`,
    )
    return { ...(await holdings(mesh, node, MAPS)), pins, groups }
  }

  const held = async (): Promise<Held> => {
    const found = await Promise.all(
      ['ztunnel', 'cni'].map(async (component) =>
        (await Component.each(mesh, component)).map(
          (one) => [`${component} on node${one.node}`, { files: one.files(), mib: one.pssMib() }] as const,
        ),
      ),
    )
    return { nodes: await Promise.all([1, 2].map(ownHoldings)), processes: Object.fromEntries(found.flat()) }
  }

  const batch = async (number: number): Promise<void> => {
    await using space = await MeshNamespace.make(mesh, `turnover-${number}`)
    const servers = [await space.server('server-1', 1), await space.server('server-2', 2)]
    const pods = Array.from({ length: PODS }, (_, index) => {
      const node = 1 + (index % 2)
      return space.pod(`client-${index}`, node, `curl -s --retry 5 --max-time 60 http://${servers[2 - node]}:8080/ && exec sleep 100000`)
    })
    await mesh.cluster.apply(...pods)
    const sum = async (): Promise<number> => {
      const answers = [1, 2].map((n) => space.exec(`server-${n}`, 'curl', '-s', '127.0.0.1:8080/sum'))
      return (await Promise.all(answers)).reduce((all, { stdout }) => all + Number(stdout), 0)
    }
    await until(`${PODS} pods have been answered`, START_MS, async () => {
      await sleep(1000) // each look costs two processes
      return (await sum()) >= PODS
    })
    assert.deepEqual(
      (await space.pods()).filter((pod) => !isEnrolled(pod)).map((pod) => pod.metadata.name),
      [],
    )
    await mesh.cluster.kubectl('-n', space.name, 'delete', 'pods', '--all', `--timeout=${GONE_MS / 1000}s`)
  }

  it(`${BATCHES * PODS} of them leave nothing behind`, async () => {
    const before = await held()
    let first: Held | undefined
    let last = before
    for (let number = 1; number <= BATCHES; number++) {
      const begunMs = performance.now()
      await batch(number)
      await until('what the nodes hold is what they held before', 120_000, async () => {
        last = await held()
        assert.deepEqual(last.nodes, before.nodes)
        return true
      })
      first ??= last
      const processes = Object.entries(last.processes).map(([name, { files, mib }]) => `${name} ${files} files ${mib.toFixed(0)} MiB`)
      console.log(`      ${number * PODS} pods (${((performance.now() - begunMs) / 1000).toFixed(0)} s): ${processes.join(', ')}`)
    }
    console.log(`      on each node as before: ${JSON.stringify(last.nodes[0])}`)
    for (const [name, { files, mib }] of Object.entries(last.processes)) {
      const then = first?.processes[name]
      assert.ok(then !== undefined, `${name} is another process than before`)
      assert.ok(files - then.files <= GROWTH_FILES, `${name}: ${then.files} → ${files} files`)
      assert.ok(mib - then.mib <= GROWTH_MIB, `${name}: ${then.mib.toFixed(1)} → ${mib.toFixed(1)} MiB`)
    }
  })
})
