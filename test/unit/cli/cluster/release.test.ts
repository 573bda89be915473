// weft release through the API: marks, the command in each agent's pod, and what is said of nodes that nobody can reach.
import assert from 'node:assert/strict'
import type { ChannelSocket } from '../../../../cli/cluster/access.ts'
import { releaseCluster } from '../../../../cli/cluster/release.ts'
import { heldApi, namespaceValue, nodeValue, podValue } from '../../../support/cluster-values.ts'

const NOW = '2026-01-01T00:00:00Z'
const SYSTEM = 'weft-system'
const OBJECTS = [
  nodeValue('node1'),
  nodeValue('node2'),
  namespaceValue('shop', 'ambient'),
  podValue(SYSTEM, 'cni-a', 'node1', { account: 'cni' }),
  podValue(SYSTEM, 'cni-b', 'node2', { account: 'cni', isReady: false }),
  podValue('shop', 'named', 'node1', { labels: { 'istio.io/dataplane-mode': 'ambient' } }),
  podValue('shop', 'other', 'node1'),
]

/** Answers each exec with lines and a status. */
function execs(
  status: object,
  stderr = '',
): { asked: string[]; openChannels: (path: string, take: (channel: number, data: Buffer) => boolean) => Promise<ChannelSocket> } {
  const asked: string[] = []
  return {
    asked,
    openChannels: async (path, take) => {
      const url = new URL(path, 'http://api')
      asked.push(`${url.pathname.split('/').slice(4).join('/')} ${url.searchParams.getAll('command').join(' ')}`)
      setImmediate(() => {
        take(1, Buffer.from('1 pods released\n'))
        take(2, Buffer.from(stderr))
        take(3, Buffer.from(JSON.stringify(status)))
      })
      return { send: () => undefined, close: () => undefined, addEventListener: () => undefined }
    },
  }
}

describe('releaseCluster', () => {
  const all = { isHard: false, isResume: false, systemNamespace: SYSTEM }

  it('marks nodes, runs on those with a living agent, and names the command for the others', async () => {
    const { api, patches } = heldApi(OBJECTS)
    const access = execs({ status: 'Success' })
    const { done, left } = await releaseCluster(api, access, all, NOW)
    const mark = { metadata: { annotations: { 'weft.dev/released': NOW } } }
    assert.deepEqual(patches, [
      { path: 'nodes/node1', body: mark },
      { path: 'nodes/node2', body: mark },
    ])
    assert.deepEqual(access.asked, [`${SYSTEM}/pods/cni-a/exec node cli/main.js release --local --all`])
    assert.deepEqual(done, ['node1: 1 pods released'])
    assert.deepEqual(left, ['node2: no agent runs there; on the node, as root: weft release --local --all'])
  })

  it('takes the labels of a namespace and its pods away', async () => {
    const { api, patches } = heldApi(OBJECTS)
    const access = execs({ status: 'Success' })
    await releaseCluster(api, access, { ...all, namespace: 'shop', node: 'node1' }, NOW)
    const labels = { 'istio.io/dataplane-mode': 'none' }
    assert.deepEqual(patches, [
      { path: 'namespaces/shop', body: { metadata: { annotations: { 'weft.dev/released': NOW }, labels } } },
      { path: 'pods/shop/named', body: { metadata: { labels } } },
    ])
    assert.deepEqual(access.asked, [`${SYSTEM}/pods/cni-a/exec node cli/main.js release --local -n shop`])
  })

  it('takes a release back, and leaves the label to the owner', async () => {
    const { api, patches } = heldApi(OBJECTS)
    const access = execs({ status: 'Success' })
    const { done } = await releaseCluster(api, access, { ...all, namespace: 'shop', node: 'node1', isResume: true }, NOW)
    assert.deepEqual(patches, [{ path: 'namespaces/shop', body: { metadata: { annotations: { 'weft.dev/released': null } } } }])
    assert.match(done[0] ?? '', /weft label namespace shop istio\.io\/dataplane-mode=ambient/)
    assert.match(access.asked[0] ?? '', / -n shop --resume$/)
  })

  it('says why a node was not released', async () => {
    const failed = { status: 'Failure', reason: 'NonZeroExitCode', details: { causes: [{ reason: 'ExitCode', message: '1' }] } }
    const { api } = heldApi(OBJECTS)
    const { left } = await releaseCluster(api, execs(failed, 'weft: the node agent runs\n'), { ...all, node: 'node1' }, NOW)
    assert.match(left[0] ?? '', /^node1: weft: the node agent runs; on the node, as root: /)
  })

  it('refuses a node that is not there', async () => {
    const { api } = heldApi(OBJECTS)
    await assert.rejects(releaseCluster(api, execs({}), { ...all, node: 'node9' }, NOW), { code: 'NOT_FOUND' })
  })
})
