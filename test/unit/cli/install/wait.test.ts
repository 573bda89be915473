// Waiting for an install: what is told, when it ends.
import assert from 'node:assert/strict'
import { waitReady } from '../../../../cli/install/wait.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { FakeInstallCluster } from '../../../support/install-cluster.ts'

const deployment = (available: number) => ({
  metadata: { name: 'controlplane', namespace: 'weft-system', generation: 1 },
  spec: { replicas: 2 },
  status: { observedGeneration: 1, updatedReplicas: 2, availableReplicas: available },
})
const broken = {
  metadata: { name: 'controlplane-1', namespace: 'weft-system', labels: { app: 'controlplane', 'app.kubernetes.io/part-of': 'weft' } },
  spec: { nodeName: 'n1', containers: [{ image: 'weft:1' }] },
  status: { containerStatuses: [{ name: 'controlplane', state: { waiting: { reason: 'ErrImagePull' } } }] },
}

describe('waiting for an install', () => {
  const start = (cluster: FakeInstallCluster, clock: FakeClock, told: string[]) =>
    waitReady({ cluster, namespace: 'weft-system', names: ['controlplane'], timeoutMs: 20_000, clock, tell: (line) => told.push(line) })

  it('tells each change once, then ends', async () => {
    const cluster = new FakeInstallCluster()
    const clock = new FakeClock()
    const told: string[] = []
    const waited = start(cluster, clock, told)
    await clock.advance(2000)
    cluster.add('deployments', deployment(1))
    await clock.advance(2000)
    cluster.add('deployments', deployment(2))
    await clock.advance(1000)
    assert.deepEqual(await waited, { isReady: true, reasons: [] })
    assert.deepEqual(told, ['waiting for controlplane (0 of 1)', 'waiting for controlplane (1 of 2)'])
  })

  it('says why it takes so long, and in the end gives up with that', async () => {
    const cluster = new FakeInstallCluster().add('deployments', deployment(0)).add('pods', broken)
    const clock = new FakeClock()
    const told: string[] = []
    const waited = start(cluster, clock, told)
    await clock.advance(30_000)
    const { isReady, reasons } = await waited
    assert.equal(isReady, false)
    assert.match(reasons.join(), /^pod controlplane-1 on n1 cannot get the image weft:1/)
    assert.equal(told.length, 2)
    assert.match(told[1] ?? '', /^waiting for controlplane \(0 of 2\): pod controlplane-1/)
  })
})
