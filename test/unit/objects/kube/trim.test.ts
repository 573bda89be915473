// What is held of an object: the fields that the mesh reads, nothing that Kubernetes keeps for itself.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { findKind, type KindRow } from '../../../../objects/kinds.ts'
import { SharedValues } from '../../../../objects/kube/shared.ts'
import { shown, trimmer } from '../../../../objects/kube/trim.ts'

const row = (plural: string): KindRow => {
  const found = findKind((one) => one.plural === plural)
  assert.ok(found)
  return found
}
const meta = (more: object = {}) => ({
  name: 'a',
  namespace: 'shop',
  uid: 'u',
  resourceVersion: '7',
  generation: 2,
  managedFields: [{ manager: 'kubelet' }],
  annotations: {
    'kubectl.kubernetes.io/last-applied-configuration': '{}',
    'checksum/config': 'x',
    'kubernetes.io/config.hash': 'h',
    'ambient.istio.io/redirection': 'enabled',
  },
  ...more,
})

describe('objects/kube/trim', () => {
  it('holds of a pod what the mesh reads', () => {
    const owner = { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'a-1', uid: 'r', controller: true, blockOwnerDeletion: true }
    const kept = trimmer(row('pods'))({
      metadata: meta({ labels: { app: 'a' }, ownerReferences: [owner] }),
      spec: { nodeName: 'n', serviceAccountName: 'sa', hostNetwork: true, containers: [{ name: 'c', image: 'i' }], volumes: [{}] },
      status: {
        phase: 'Running',
        podIP: '10.0.0.1',
        podIPs: [{ ip: '10.0.0.1' }],
        hostIP: 'x',
        conditions: [
          { type: 'Initialized', status: 'True' },
          { type: 'Ready', status: 'True', lastProbeTime: null },
        ],
        containerStatuses: [{}],
      },
    })
    const { blockOwnerDeletion: _, ...keptOwner } = owner
    assert.deepEqual(kept, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name: 'a',
        namespace: 'shop',
        uid: 'u',
        resourceVersion: '7',
        labels: { app: 'a' },
        annotations: { 'kubernetes.io/config.hash': 'h', 'ambient.istio.io/redirection': 'enabled' },
        ownerReferences: [keptOwner],
      },
      spec: { nodeName: 'n', hostNetwork: true, serviceAccountName: 'sa', containers: [] },
      status: { phase: 'Running', podIP: '10.0.0.1', podIPs: [{ ip: '10.0.0.1' }], conditions: [{ type: 'Ready', status: 'True' }] },
    })
  })

  it('holds equal parts once', () => {
    const trim = trimmer(row('pods'), new SharedValues())
    const one = trim({ metadata: meta({ labels: { app: 'a', x: 'y' } }) })
    const other = trim({ metadata: meta({ name: 'b', labels: { app: 'a', x: 'y' } }) })
    assert.equal(one?.metadata.labels, other?.metadata.labels)
    assert.equal(one?.metadata.annotations, other?.metadata.annotations)
  })

  it('holds whole what is compared or written back, without managed fields', () => {
    const spec = { action: 'DENY', rules: [{}] }
    const kept = trimmer(row('authorizationpolicies'))({ metadata: meta(), spec })
    const { managedFields: _, ...rest } = meta()
    const annotations = { 'checksum/config': 'x', 'kubernetes.io/config.hash': 'h', 'ambient.istio.io/redirection': 'enabled' }
    assert.deepEqual(kept, { apiVersion: 'security.istio.io/v1', kind: 'AuthorizationPolicy', metadata: { ...rest, annotations }, spec })
    const own = { 'weft.dev/manifest': 'hash' }
    const deployment = { spec: { replicas: 2, template: {} }, status: { readyReplicas: 1 } }
    assert.deepEqual(trimmer(row('deployments'))({ metadata: meta(), ...deployment })?.spec, { replicas: 2 })
    assert.deepEqual(trimmer(row('deployments'))({ metadata: meta({ annotations: own }), ...deployment })?.spec, deployment.spec)
  })

  it('makes lists in a status lists of records', () => {
    const status = { conditions: [null, 7, { type: 'A' }], listeners: [null, { name: 'l', conditions: 'x' }], parents: 5 }
    assert.deepEqual(trimmer(row('gateways'))({ metadata: meta(), status })?.status, {
      conditions: [{ type: 'A' }],
      listeners: [{ name: 'l', conditions: [] }],
      parents: [],
    })
  })

  const NO_OBJECTS: readonly { readonly name: string; readonly item: unknown; readonly plural: string }[] = [
    { name: 'nothing', item: null, plural: 'pods' },
    { name: 'text', item: 'pod', plural: 'pods' },
    { name: 'no metadata', item: { spec: {} }, plural: 'pods' },
    { name: 'no name', item: { metadata: { namespace: 'a' } }, plural: 'pods' },
    { name: 'a number as name', item: { metadata: { name: 7, namespace: 'a' } }, plural: 'pods' },
    { name: 'no namespace', item: { metadata: { name: 'a' } }, plural: 'services' },
  ]
  for (const { name, item, plural } of NO_OBJECTS)
    it(`passes over ${name} (${plural})`, () => assert.equal(trimmer(row(plural))(item), undefined))

  it('shows people everything but managed fields', () => {
    const { managedFields: _, ...metadata } = meta()
    assert.deepEqual(shown({ metadata: meta(), spec: { a: 1 } }, 'v1', 'Pod'), { apiVersion: 'v1', kind: 'Pod', metadata, spec: { a: 1 } })
  })
})
