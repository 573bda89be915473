// Every component restarted under load: what the mesh promises to lose nothing loses nothing, what is killed is back by itself, and a node
// whose kernel state was wiped takes its pods up again without being asked.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { Tap } from '../../tap/tap.ts'
import { startApiServer } from './cluster/control-plane.ts'
import { killDaemon, until } from './cluster/processes.ts'
import { meshCluster, type MeshCluster, SYSTEM } from './mesh-cluster.ts'
import { MeshNamespace, processesOf } from './pods.ts'
import { type LoadSums, SteadyLoad } from './steady-load.ts'

/** Short, for CI; WEFT_OUTAGE_SECONDS makes it longer. */
const OUTAGE_MS = Number(process.env.WEFT_OUTAGE_SECONDS ?? 20) * 1000
const ROLLOUT = '240s'

describe('restarts on Kubernetes', () => {
  let mesh: MeshCluster
  let space: MeshNamespace
  let load: SteadyLoad
  before(async () => {
    mesh = await meshCluster()
    space = await MeshNamespace.make(mesh, 'restarts')
    const server = await space.server('server', 2)
    load = await SteadyLoad.start(space, (pod) => mesh.cluster.apply(pod), 1, `http://${server}:8080/`)
    await until('requests come through', 30_000, async () => (await load.sums()).done > 40)
  })
  after(async () => {
    await space?.[Symbol.asyncDispose]()
  })

  const restart = async (what: string): Promise<void> => {
    await mesh.cluster.kubectl('-n', SYSTEM, 'rollout', 'restart', what)
    await mesh.cluster.kubectl('-n', SYSTEM, 'rollout', 'status', what, `--timeout=${ROLLOUT}`)
    await sleep(3000) // what comes late counts too
  }
  const tell = ({ done, failed, last }: LoadSums): string => `${done} requests, ${failed} failed${failed > 0 ? ` (${last})` : ''}`
  const nothingLost = (sums: LoadSums): void => {
    console.log(`      ${tell(sums)}`)
    assert.ok(sums.done > 0)
    assert.equal(sums.failed, 0, tell(sums))
  }
  const worksAgain = async (): Promise<void> => {
    await until('requests come through and none fails', 60_000, async () => {
      const { done, failed } = await load.during(() => sleep(2000))
      return done > 20 && failed === 0
    })
  }

  for (const what of ['deployment/controlplane', 'daemonset/cni', 'daemonset/ztunnel']) {
    it(`a rollout of ${what} loses no request`, async () => {
      nothingLost(await load.during(() => restart(what)))
    })
  }

  it('a killed leader is followed by another replica within the lease, and no request fails', async () => {
    const holder = async (): Promise<string> =>
      mesh.cluster.kubectl('-n', SYSTEM, 'get', 'lease', 'weft-leader', '-o', 'jsonpath={.spec.holderIdentity}')
    const old = await holder()
    nothingLost(
      await load.during(async () => {
        await mesh.cluster.kubectl('-n', SYSTEM, 'delete', 'pod', old, '--grace-period=0', '--force')
        await until('another one leads', 30_000, async () => ![old, ''].includes(await holder()))
      }),
    )
    await mesh.cluster.kubectl('-n', SYSTEM, 'rollout', 'status', 'deployment/controlplane', `--timeout=${ROLLOUT}`)
  })

  it(`without the API server for ${OUTAGE_MS / 1000} s no request fails, and nobody forgets anything`, async () => {
    const known = async (): Promise<number> => {
      const { stdout } = await mesh.weft('ztunnel-config', 'workloads', '--node', 'node1', '-o', 'json')
      return (JSON.parse(stdout) as { node1: unknown[] }).node1.length
    }
    const before = await known()
    nothingLost(
      await load.during(async () => {
        await killDaemon(mesh.cluster.layout, 'kube-apiserver')
        await sleep(OUTAGE_MS)
        startApiServer(mesh.cluster.layout, mesh.cluster.binaries)
        await until('the API server is back', 60_000, async () => (await mesh.cluster.try('get', '--raw', '/readyz')).status === 0)
        await until('the client can be asked', 60_000, async () => (await space.exec('server', 'true')).status === 0)
      }),
    )
    await sleep(5000)
    assert.equal(await known(), before)
  })

  it('a killed agent and a killed ztunnel are back by themselves', async () => {
    for (const component of ['cni', 'ztunnel']) {
      const [pid] = await processesOf(mesh, component, 1)
      assert.ok(pid)
      const lost = await load.during(async () => {
        process.kill(pid, 'SIGKILL')
        await until(`${component} is back`, 90_000, async () => {
          const now = await processesOf(mesh, component, 1)
          return now.length > 0 && !now.includes(pid)
        })
      })
      console.log(`      ${component}: ${tell(lost)}`)
      if (component === 'cni') assert.equal(lost.failed, 0)
      await mesh.cluster.kubectl('-n', SYSTEM, 'rollout', 'status', `daemonset/${component}`, `--timeout=${ROLLOUT}`)
    }
    await worksAgain()
  })

  it('a node whose kernel state was wiped takes its pods up again, and says that it found a drift', async () => {
    const pids = [...(await processesOf(mesh, 'cni', 1)), ...(await processesOf(mesh, 'ztunnel', 1))]
    await mesh.cluster.onNode(1, 'sh', '-c', 'rm -rf /sys/fs/bpf/weft/* /run/weft/node/*.sock')
    for (const pid of pids) process.kill(pid, 'SIGKILL')
    const links = async (): Promise<number> => {
      const { stdout } = await mesh.cluster.onNode(1, 'sh', '-c', 'ls /sys/fs/bpf/weft | grep -c link_')
      return Number(stdout)
    }
    await until('the programs are attached again', 120_000, async () => (await links()) > 0)
    for (const component of ['cni', 'ztunnel'])
      await mesh.cluster.kubectl('-n', SYSTEM, 'rollout', 'status', `daemonset/${component}`, `--timeout=${ROLLOUT}`)
    await worksAgain()
    const { stdout } = await mesh.cluster.onNode(1, 'curl', '-s', 'http://127.0.0.1:15014/metrics')
    assert.match(stdout, /^weft_capture_drift_total\{kind="outbound"\} [1-9]/m)
    await using tap = await Tap.open({ device: mesh.cluster.layout.bridge })
    await load.during(() => sleep(2000))
    const ips = (await space.pods()).map((pod) => pod.status?.podIP ?? '')
    const begun = (await tap.meshFaults(ips)).filter(({ flow }) => flow.syns > 0) // what was open in the meantime stays plaintext
    assert.deepEqual(begun, [])
  })
})
