// An app that itself listens on a port of the proxy: its pod is `pending`, with an Event and nothing half-captured, others are
// not affected; when the app gives the port back, the pod is enrolled by itself. And: no agent, no start of an enrolled pod.
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { netnsCookie, openNetns } from '../../linux/netns.ts'
import type { MeshStatus } from '../../runtime/status.ts'
import { killAndWait, processesIn } from '../support/process-killer.ts'
import { deployment, type RunningCommand, type TestPod } from '../support/mesh.ts'
import { LoadedMesh } from '../support/under-load.ts'

const LISTEN = `
  import net from 'node:net'
  const port = Number(process.argv[1])
  const server = net.createServer((socket) => socket.end('mine'))
  server.listen(port, process.argv[2], () => console.log('listening'))
  process.stdin.on('end', () => process.exit(0)).resume()
`
const SHORT_DEADLINE_MS = 10_000

describe('ports of the proxy in use, and an agent away', function () {
  this.timeout('60s')
  let loaded: LoadedMesh
  let odd: TestPod

  before(async () => {
    loaded = await LoadedMesh.start({
      componentArgs: { cni: ['--release-wait', '200ms'] },
      objects: [
        { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'odd' } },
        deployment('odd', 'odd', ['sleep', 'infinity'], { pod: { nodeName: 'node-1' } }),
      ],
    })
    odd = await loaded.mesh.pod('odd/odd')
  })
  after(async () => {
    await loaded[Symbol.asyncDispose]()
  })

  const lines = async (namespace: string): Promise<MeshStatus['pods']> =>
    (await loaded.mesh.status()).pods.filter((pod) => pod.namespace === namespace)
  const enrolment = async (): Promise<string | undefined> => (await lines('odd'))[0]?.enrolment
  const steerPins = (): string[] => readdirSync(loaded.mesh.node(1).bpfDir).filter((pin) => pin.startsWith('steer_'))
  const cookie = (): bigint => {
    using netns = openNetns(odd.netnsPath)
    return netnsCookie(netns.fd)
  }
  const ambient = (isOn: boolean): Promise<void> => loaded.mesh.label('odd', { 'istio.io/dataplane-mode': isOn ? 'ambient' : null })
  const answerOf = async (port: number): Promise<string> =>
    (await odd.exec(['curl', '-s', '-m', '2', '--http0.9', `http://127.0.0.1:${port}/`])).stdout

  for (const [port, ip] of [
    [15_001, '0.0.0.0'],
    [15_006, '0.0.0.0'],
    [15_008, '0.0.0.0'],
    [15_008, '::'],
    [15_053, '0.0.0.0'],
  ] as const) {
    it(`an app on ${ip} port ${port}`, async () => {
      const app: RunningCommand = odd.start([process.execPath, '--input-type=module', '-e', LISTEN, '--', String(port), ip])
      await loaded.mesh.until('the app listens', () => app.stdout.includes('listening'))
      const meanwhile = loaded.load(50, 2)
      await ambient(true)
      await loaded.mesh.until('pending', async () => (await enrolment()) === 'pending')
      const { events } = await loaded.mesh.status()
      assert.ok(
        events.some((event) => event.reason === 'EnrolmentFailed' && event.object.includes('odd')),
        JSON.stringify(events),
      )
      assert.ok(!steerPins().includes(`steer_${cookie()}`))
      assert.equal(await answerOf(port), 'mine')
      await app.stop()
      await loaded.mesh.until('enrolled by itself', async () => (await enrolment()) === 'enabled')
      assert.equal((await meanwhile.finished).lost, 0, 'other pods were disturbed')
      await ambient(false)
      await loaded.mesh.until('released', async () => (await enrolment()) === '-' && !steerPins().includes(`steer_${cookie()}`))
    })
  }

  it('ten pods made while the agent is away start only enrolled, within 10 s of its return; those deleted meanwhile leave nothing', async () => {
    const names = Array.from({ length: 10 }, (_, i) => `late-${i}`)
    const { supervisor } = loaded.mesh.mesh
    const before = steerPins().length
    await ambient(true)
    await loaded.mesh.until('enrolled', async () => (await enrolment()) === 'enabled')
    const agents = processesIn(join(loaded.mesh.node(1).cgroup, 'agent'))
    await Promise.all([supervisor.hold('cni-node-1'), ...agents.map((agent) => killAndWait(agent))])
    for (const name of names)
      await loaded.mesh.apply({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name, namespace: 'odd' },
        spec: { nodeName: 'node-1', terminationGracePeriodSeconds: 1, containers: [{ name: 'main', command: ['sleep', 'infinity'] }] },
      })
    await loaded.mesh.client.delete('deployments', 'odd', 'odd')
    await loaded.mesh.client.delete('pods', 'odd', names[9]!)
    await loaded.mesh.until('the kubelet has tried', async () =>
      (await loaded.mesh.status()).events.some((event) => /late-0/.test(event.object) && event.type === 'Warning'),
    )
    await loaded.mesh.until('the deleted pods are gone', async () => (await lines('odd')).every((pod) => /^late-[0-8]$/.test(pod.name)))
    assert.ok(
      (await lines('odd')).every((pod) => !pod.ready && pod.enrolment === '-'),
      'a pod started unmeshed',
    )
    const returnedMs = performance.now()
    supervisor.resume('cni-node-1')
    await loaded.mesh.until('all have started', async () => {
      const pods = await lines('odd')
      assert.ok(
        pods.every((pod) => !pod.ready || pod.enrolment === 'enabled'),
        'a pod is ready and not enrolled',
      )
      return pods.length === 9 && pods.every((pod) => pod.ready)
    })
    const tookMs = performance.now() - returnedMs
    assert.ok(tookMs < SHORT_DEADLINE_MS, `all started after ${tookMs} ms`)
    await loaded.mesh.until('nothing of the dead pods is left', () => steerPins().length === before + 9)
    await loaded.assertNoPlaintext()
  })
})
