// What uninstall removes besides the chart, and what it keeps.
import assert from 'node:assert/strict'
import { podsGone, removeLeftovers } from '../../../../cli/install/leftovers.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { FakeInstallCluster } from '../../../support/install-cluster.ts'

const PART = { 'app.kubernetes.io/managed-by': 'weft', 'gateway.networking.k8s.io/gateway-name': 'way' }
const definition = (plural: string, group: string, labels: Record<string, string>) => ({
  metadata: { name: `${plural}.${group}`, labels },
  spec: { group, names: { plural }, versions: [{ name: 'v1beta1' }, { name: 'v1', storage: true }] },
})
const root = (namespace: string, managers: string[]) => ({
  metadata: {
    name: 'istio-ca-root-cert',
    namespace,
    labels: { 'istio.io/config': 'true' },
    managedFields: managers.map((manager) => ({ manager })),
  },
})
const namespace = (isOurs: boolean) => ({
  metadata: { name: 'weft-system', labels: isOurs ? { 'app.kubernetes.io/managed-by': 'weft' } : {} },
})

describe('what the mesh leaves in a cluster', () => {
  it("waypoints, roots, definitions that nothing uses and the namespace go; what is others' stays", async () => {
    const cluster = new FakeInstallCluster()
      .add('namespaces', namespace(true))
      .add('deployments', { metadata: { name: 'way', namespace: 'shop', labels: PART } })
      .add('services', { metadata: { name: 'way', namespace: 'shop', labels: PART } })
      .add('services', { metadata: { name: 'front', namespace: 'shop' } })
      .add('serviceaccounts', { metadata: { name: 'way', namespace: 'shop', labels: PART } })
      .add('poddisruptionbudgets', { metadata: { name: 'way', namespace: 'shop', labels: PART } })
      .add('configmaps', root('shop', ['weft']))
      .add('configmaps', root('istio', ['pilot-discovery']))
      .add('configmaps', root('both', ['weft', 'pilot-discovery']))
      .add('customresourcedefinitions', definition('ratelimitpolicies', 'weft.dev', {}))
      .add('customresourcedefinitions', definition('gateways', 'gateway.networking.k8s.io', { 'weft.dev/bundled': 'true' }))
      .add('customresourcedefinitions', definition('httproutes', 'gateway.networking.k8s.io', {}))
      .add('gateways', { metadata: { name: 'way', namespace: 'shop' } })
    const told: string[] = []
    const kept = await removeLeftovers(cluster, new FakeClock(), (line) => told.push(line))
    assert.deepEqual(cluster.keys(), [
      'configmaps both/istio-ca-root-cert',
      'configmaps istio/istio-ca-root-cert',
      'customresourcedefinitions /gateways.gateway.networking.k8s.io',
      'customresourcedefinitions /httproutes.gateway.networking.k8s.io',
      'gateways shop/way',
      'services shop/front',
    ])
    assert.deepEqual(kept, ['the definition gateways.gateway.networking.k8s.io: 1 of your objects need it'])
    assert.deepEqual(told, ['removed 4 objects of waypoints'])
  })

  it("a namespace of the user's stays, without the root of the authority", async () => {
    const cluster = new FakeInstallCluster()
      .add('namespaces', namespace(false))
      .add('secrets', { metadata: { name: 'weft-ca', namespace: 'weft-system' } })
      .add('leases', { metadata: { name: 'weft-leader', namespace: 'weft-system' } })
    const kept = await removeLeftovers(cluster, new FakeClock(), () => undefined)
    assert.deepEqual(cluster.keys(), ['namespaces /weft-system'])
    assert.deepEqual(kept, ['the namespace weft-system: weft did not make it'])
  })

  it('waits for the pods of the mesh, not for ever', async () => {
    const cluster = new FakeInstallCluster().add('pods', {
      metadata: { name: 'cni-1', namespace: 'weft-system', labels: { 'app.kubernetes.io/part-of': 'weft' } },
    })
    const clock = new FakeClock()
    let isDone = false
    const waited = podsGone(cluster, clock).then(() => {
      isDone = true
    })
    await clock.advance(60_000)
    assert.equal(isDone, false)
    await clock.advance(61_000)
    await waited
  })
})
