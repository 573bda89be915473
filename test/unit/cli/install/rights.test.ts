// Rights that an install asks about.
import assert from 'node:assert/strict'
import { missingRights, pluralOf, readRendered, rightsFor } from '../../../../cli/install/rights.ts'

const YAML = `---
# only a comment
---
apiVersion: apps/v1
kind: DaemonSet
metadata: { name: cni, namespace: weft-system }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: weft-cni }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: cni, namespace: weft-system }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: ztunnel, namespace: weft-system }
`

describe('rights of an install', () => {
  it('follow from what is rendered, each once', () => {
    const rights = rightsFor(readRendered(YAML), 'weft-system', 'install').filter(({ verb }) => verb === 'create')
    assert.deepEqual(
      rights.map(({ group, plural, namespace }) => [group, plural, namespace]),
      [
        ['', 'namespaces', undefined],
        ['', 'secrets', 'weft-system'],
        ['apps', 'daemonsets', 'weft-system'],
        ['rbac.authorization.k8s.io', 'clusterroles', undefined],
        ['', 'serviceaccounts', 'weft-system'],
      ],
    )
  })

  it('are named with verb, resource and namespace when they are missing', async () => {
    const rights = rightsFor(readRendered(YAML), 'weft-system', 'install')
    const may = async (verb: string, { plural }: { plural: string }): Promise<boolean> =>
      verb !== 'create' || !/^(daemonsets|clusterroles)$/.test(plural)
    assert.deepEqual(await missingRights(rights, may), [
      'create daemonsets.apps in namespace weft-system',
      'create clusterroles.rbac.authorization.k8s.io',
    ])
  })

  it('of an uninstall are to delete', () => {
    assert.deepEqual([...new Set(rightsFor(readRendered(YAML), 'n', 'uninstall').map(({ verb }) => verb))], ['get', 'delete'])
  })

  for (const [kind, plural] of [
    ['NetworkPolicy', 'networkpolicies'],
    ['GatewayClass', 'gatewayclasses'],
    ['Deployment', 'deployments'],
    ['ResourceQuota', 'resourcequotas'],
  ] as const)
    it(`plural of ${kind}`, () => assert.equal(pluralOf(kind), plural))
})
