// What an install looks at first: rights, another mesh.
import assert from 'node:assert/strict'
import { checkCluster, checkRights } from '../../../../cli/install/checks.ts'
import { sentenceOf } from '../../../../cli/output.ts'
import { codeOf } from '../../../../kit/error.ts'
import { FakeInstallCluster } from '../../../support/install-cluster.ts'

const agents = (nodeSelector: object) => [
  {
    kind: 'DaemonSet',
    apiVersion: 'apps/v1',
    metadata: { name: 'cni', namespace: 'weft-system' },
    spec: { template: { spec: { nodeSelector } } },
  },
]
const EVERYWHERE = agents({ 'kubernetes.io/os': 'linux' })
const CHOSEN = agents({ 'kubernetes.io/os': 'linux', mesh: 'weft' })
const istio = (): FakeInstallCluster =>
  new FakeInstallCluster()
    .add('nodes', { metadata: { name: 'n1' } })
    .add('daemonsets', { metadata: { name: 'ztunnel', namespace: 'istio-system', labels: { app: 'ztunnel' } } })

describe('checks before an install', () => {
  it('a missing right is named, many are cut short', async () => {
    await assert.rejects(
      checkRights({ may: async (verb) => verb !== 'create' }, EVERYWHERE, 'install'),
      (error) =>
        codeOf(error) === 'RIGHTS_MISSING' &&
        sentenceOf(error).startsWith(
          'the account may not create namespaces, create secrets in namespace weft-system, create daemonsets.apps in namespace weft-system; ',
        ),
    )
    await assert.rejects(checkRights({ may: async () => false }, EVERYWHERE, 'install'), (error) => / and 4 more; /.test(sentenceOf(error)))
    await checkRights({ may: async () => true }, EVERYWHERE, 'uninstall')
  })

  it('Istio is refused, with the way to move', async () => {
    await assert.rejects(
      checkCluster(istio(), EVERYWHERE, false),
      (error) => codeOf(error) === 'FOREIGN_MESH' && /DaemonSet istio-system\/ztunnel; .*docs\/migrate\.md/.test(sentenceOf(error)),
    )
  })

  it('beside Istio only on chosen nodes', async () => {
    await assert.rejects(checkCluster(istio(), EVERYWHERE, true), (error) => /cannot share a node.*nodeSelector/.test(sentenceOf(error)))
    assert.deepEqual(await checkCluster(istio(), CHOSEN, true), [])
  })
})
