// A Deployment changes under load: more pods, other pods, fewer pods. New connections go only where somebody serves them, from
// clients in the mesh (ztunnel chooses) and outside of it (the kernel chooses).
import assert from 'node:assert/strict'
import type { Deployment, Pod } from '../../model/object.ts'
import { deployedPod, deployment, type RunningCommand, service, type TestMesh, testMesh } from '../support/mesh.ts'
import {
  describeReport,
  endLoad,
  IDLE,
  namespaceWith,
  SEQ_HTTP_PORT,
  SEQ_PROBE,
  SEQ_SERVER,
  SEQ_TCP_PORT,
  startLoad,
} from '../support/seq-pods.ts'

const IN = 'rolled'
const OUT = 'watching'
const AMBIENT = { 'istio.io/dataplane-mode': 'ambient' }
/** How long an ending server serves on: as long as its end takes to be known everywhere. */
const LAME = ['--lame-ms', '2000']
const [space, ...accounts] = namespaceWith(IN, ['client'])
const OBJECTS = [
  { ...space, metadata: { name: IN, labels: AMBIENT } },
  ...accounts,
  ...namespaceWith(OUT, ['client']),
  deployedPod(IN, 'client', 'node-1', IDLE),
  deployedPod(OUT, 'client', 'node-2', IDLE),
  deployment(IN, 'web', [...SEQ_SERVER, ...LAME], { container: SEQ_PROBE, pod: { terminationGracePeriodSeconds: 10 } }),
  service(IN, 'web', { 80: SEQ_HTTP_PORT, [SEQ_TCP_PORT]: SEQ_TCP_PORT }),
]

describe('a rolling change under load', function () {
  this.timeout('90s')
  let mesh: TestMesh

  before(async () => {
    mesh = await testMesh({ nodes: 2, objects: OBJECTS })
  })
  after(async () => {
    await mesh?.[Symbol.asyncDispose]()
  })

  /** Changes the Deployment and waits until its pods are as it says and no other one is left. */
  const change = async (spec: object, replicas: number): Promise<void> => {
    await mesh.client.patch('deployments', IN, 'web', { spec })
    await mesh.until(`${replicas} pods as wanted`, async () => {
      const { status } = (await mesh.client.get('deployments', IN, 'web')) as Deployment
      const pods = ((await mesh.client.list('pods', IN)).items as Pod[]).filter((pod) => pod.metadata.labels?.app === 'web')
      return pods.length === replicas && status?.updatedReplicas === replicas && status.readyReplicas === replicas
    })
  }

  it('loses no request', async () => {
    const [inside, outside] = [await mesh.pod(`${IN}/client`), await mesh.pod(`${OUT}/client`)]
    const loads: Record<string, RunningCommand> = {
      'in the mesh, HTTP': startLoad(inside, 1, { to: 'web:80', mode: 'http', rate: 60, fresh: true }),
      'in the mesh, TCP': startLoad(inside, 2, { to: `web:${SEQ_TCP_PORT}`, mode: 'tcp', rate: 50, fresh: true }),
      'outside, HTTP': startLoad(outside, 3, { to: `web.${IN}:80`, mode: 'http', rate: 40, fresh: true }),
    }
    for (const load of Object.values(loads)) await mesh.until('a client runs', () => load.stdout.includes('running'))
    await change({ replicas: 3 }, 3)
    await change({ template: { metadata: { labels: { generation: 'two' } } } }, 3)
    await change({ replicas: 1 }, 1)
    const reports = await Promise.all(Object.entries(loads).map(async ([name, load]) => ({ name, report: await endLoad(load) })))
    const text = reports.map(({ name, report }) => `${name}: ${describeReport(report)}`).join('\n')
    if (process.env.WEFT_TEST_TALK) console.log(text)
    for (const { name, report } of reports) {
      assert.deepEqual([name, report.lost, report.corrupted], [name, 0, 0], text)
      assert.ok(report.answered > 100, text)
    }
  })
})
