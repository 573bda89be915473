// Pods are given back before the mesh goes.
import assert from 'node:assert/strict'
import { markedNodes, REDIRECTION_ANNOTATION, RELEASED_ANNOTATION, releaseNodes, unmark } from '../../../../cli/install/nodes.ts'
import { sentenceOf } from '../../../../cli/output.ts'
import { codeOf } from '../../../../kit/error.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { FakeInstallCluster } from '../../../support/install-cluster.ts'

const pod = (name: string, nodeName: string, isEnrolled = true) => ({
  metadata: { name, namespace: 'shop', annotations: isEnrolled ? { [REDIRECTION_ANNOTATION]: 'enabled' } : {} },
  spec: { nodeName },
})
const world = (): FakeInstallCluster =>
  new FakeInstallCluster()
    .add('nodes', { metadata: { name: 'n1' } })
    .add('nodes', { metadata: { name: 'n2' } })
    .add('pods', pod('a', 'n1'))
    .add('pods', pod('b', 'n2'))
    .add('pods', pod('c', 'n2', false))
    .add('pods', { ...pod('job', 'n2'), ...{ status: { phase: 'Succeeded' } } })

describe('giving pods back before the mesh goes', () => {
  it('marks every node and waits until no pod is in the mesh', async () => {
    const cluster = world()
    const clock = new FakeClock()
    const told: string[] = []
    const released = releaseNodes({ cluster, clock, timeoutMs: 10_000, tell: (line) => told.push(line) })
    await clock.advance(0)
    assert.deepEqual(await markedNodes(cluster), ['n1', 'n2'])
    assert.deepEqual(told, ['waiting for 2 pods to leave the mesh'])
    for (const name of ['a', 'b'])
      await cluster.patch({ group: '', version: 'v1', plural: 'pods' }, 'shop', name, {
        metadata: { annotations: { [REDIRECTION_ANNOTATION]: null } },
      })
    await clock.advance(1000)
    await released
    assert.deepEqual(await markedNodes(cluster), ['n1', 'n2'], 'the marks stay until the agents are gone')
  })

  it('names the nodes that do not let go', async () => {
    const cluster = world()
    const clock = new FakeClock()
    const refused = assert.rejects(
      releaseNodes({ cluster, clock, timeoutMs: 3000, tell: () => undefined }),
      (error) => codeOf(error) === 'NODES_NOT_RELEASED' && /^2 pods are still in the mesh, on n1, n2; .*--force/.test(sentenceOf(error)),
    )
    await clock.advance(10_000)
    await refused
  })

  it('takes the marks off, and what dead agents left on pods', async () => {
    const cluster = world().add('nodes', { metadata: { name: 'n1', annotations: { [RELEASED_ANNOTATION]: 'then', theirs: 'x' } } })
    await unmark(cluster)
    assert.deepEqual(cluster.calls.sort(), ['patch nodes /n1', 'patch pods shop/a', 'patch pods shop/b'])
    assert.deepEqual(await markedNodes(cluster), [])
  })
})
