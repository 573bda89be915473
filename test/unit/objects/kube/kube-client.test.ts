// What the client sends for each method of ObjectApi; that a real API server takes it is shown in test/kubernetes.
import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'mocha'
import { codeOf } from '../../../../kit/error.ts'
import type { KubeClient } from '../../../../objects/kube/kube-client.ts'
import { FakeApiServer, statusOf } from '../../../support/fake-apiserver.ts'
import { clientOf } from '../../../support/kube-pair.ts'

const CONFIG_MAP = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'c', namespace: 'shop' }, data: { a: 'b' } }
const PATH = '/api/v1/namespaces/shop/configmaps/c'

describe('objects/kube/kube-client', () => {
  let fake: FakeApiServer
  let client: KubeClient
  const answer = (match: string, status: number, body: object): void => fake.trouble({ match, status, body })

  beforeEach(async () => {
    fake = await FakeApiServer.listen()
    client = clientOf(fake)
  })
  afterEach(async () => {
    client[Symbol.dispose]()
    await fake[Symbol.asyncDispose]()
  })

  it('applies by force as field manager weft, without what the API server keeps', async () => {
    answer('PATCH', 200, { ...CONFIG_MAP, metadata: { ...CONFIG_MAP.metadata, uid: 'u', managedFields: [] } })
    const given = {
      ...CONFIG_MAP,
      metadata: { ...CONFIG_MAP.metadata, uid: 'u', managedFields: [{}], generation: 3, resourceVersion: '5' },
      status: {},
    }
    const stored = await client.apply(given)
    assert.deepEqual(fake.requests, [`PATCH ${PATH}?fieldManager=weft&force=true`])
    const metadata = { name: 'c', namespace: 'shop', resourceVersion: '5' }
    assert.deepEqual(fake.bodies, [{ type: 'application/apply-patch+yaml', body: { ...CONFIG_MAP, metadata } }])
    assert.deepEqual(stored.metadata, { name: 'c', namespace: 'shop', uid: 'u' })
  })

  it('creates by posting, and makes the fields its own as if it had applied them', async () => {
    const managed = (operation: string) => [
      { manager: 'weft', operation, fieldsType: 'FieldsV1' },
      { manager: 'webhook', operation: 'Update' },
    ]
    answer('POST', 201, { ...CONFIG_MAP, metadata: { ...CONFIG_MAP.metadata, resourceVersion: '7', managedFields: managed('Update') } })
    answer('PATCH', 200, CONFIG_MAP)
    await client.create(CONFIG_MAP)
    const collection = PATH.slice(0, PATH.lastIndexOf('/'))
    assert.deepEqual(fake.requests, [`POST ${collection}?fieldManager=weft`, `PATCH ${PATH}?fieldManager=weft`])
    const body = { metadata: { resourceVersion: '7', managedFields: managed('Apply') } }
    assert.deepEqual(fake.bodies.at(-1), { type: 'application/merge-patch+json', body })
  })

  it('does not touch what is there', async () => {
    answer('POST', 409, statusOf(409, 'AlreadyExists', 'configmaps "c" already exists'))
    await assert.rejects(client.create(CONFIG_MAP), (error) => codeOf(error) === 'CONFLICT')
    assert.equal(fake.requests.length, 1)
  })

  it('has created an object that others change or delete at once', async () => {
    for (const status of [409, 404]) {
      answer('POST', 201, CONFIG_MAP)
      answer('PATCH', status, statusOf(status, '', 'too late'))
      assert.equal((await client.create(CONFIG_MAP)).metadata.name, 'c')
    }
  })

  it('deletes only the object that is meant', async () => {
    answer('DELETE', 200, statusOf(200, '', ''))
    await client.delete('configmaps', 'shop', 'c', { uid: 'u', gracePeriodSeconds: 0 })
    const body = {
      apiVersion: 'v1',
      kind: 'DeleteOptions',
      propagationPolicy: 'Background',
      preconditions: { uid: 'u' },
      gracePeriodSeconds: 0,
    }
    assert.deepEqual(fake.bodies, [{ type: 'application/json', body }])
  })

  it('patches, and applies a status', async () => {
    const status = { conditions: [{ type: 'A', status: 'True' }] } as const
    answer('/status', 200, CONFIG_MAP)
    await client.patch('services', 'shop', 's', { status }, { subresource: 'status' })
    answer('/status', 200, CONFIG_MAP)
    const head = {
      apiVersion: 'gateway.networking.k8s.io/v1beta1',
      kind: 'Gateway',
      metadata: { name: 'g', namespace: 'shop', resourceVersion: '5' },
    }
    await client.applyStatus({ ...head, status }, { fieldManager: 'weft-status' })
    assert.deepEqual(fake.requests, [
      'PATCH /api/v1/namespaces/shop/services/s/status?fieldManager=weft',
      'GET /apis/gateway.networking.k8s.io/v1',
      'PATCH /apis/gateway.networking.k8s.io/v1/namespaces/shop/gateways/g/status?fieldManager=weft-status&force=true',
    ])
    assert.deepEqual(fake.bodies[0], { type: 'application/merge-patch+json', body: { status } })
    assert.deepEqual(fake.bodies[1]?.body, { ...head, apiVersion: 'gateway.networking.k8s.io/v1', status })
  })

  it('uses the version that the cluster serves, and shows it', async () => {
    fake.put('referencegrants', { metadata: { name: 'g', namespace: 'shop' } })
    const [found] = (await client.list('referencegrants')).items
    assert.deepEqual([found?.kind, found?.metadata.name], ['ReferenceGrant', 'g'])
  })

  it('says that a CRD is missing', async () => {
    fake.absent.add('gateways')
    await assert.rejects(
      client.list('gateways'),
      /this kind is not known \(what=gateways are not installed on this cluster: their CRD is missing\)/,
    )
    await assert.rejects(
      client.apply({ apiVersion: 'a.b/v1', kind: 'C', metadata: { name: 'd' } }),
      /a\.b\/v1 C is not served by this cluster/,
    )
    await assert.rejects(client.list('nonsense'), (error) => codeOf(error) === 'UNKNOWN_KIND')
    await assert.rejects(client.apply({ kind: 'C' }), (error) => codeOf(error) === 'BAD_REQUEST')
  })

  it('names verb, resource and namespace of a missing right', async () => {
    fake.trouble({ match: '/namespaces/shop', status: 403, body: statusOf(403, 'Forbidden', 'User "u" cannot x resource "y"'), times: 9 })
    const says = async (work: Promise<unknown>, text: string): Promise<void> =>
      assert.rejects(work, (error: Error) => error.message.includes(text))
    await says(client.list('pods', 'shop'), '(verb=list resource=pods namespace=shop account=u)')
    await says(client.get('secrets', 'shop', 's'), '(verb=get resource=secrets namespace=shop account=u)')
    await says(
      client.patch('gateways', 'shop', 'g', {}, { subresource: 'status' }),
      '(verb=patch resource=gateways.gateway.networking.k8s.io/status namespace=shop account=u)',
    )
    await says(client.delete('pods', 'shop', 'p'), '(verb=delete resource=pods namespace=shop account=u)')
    await says(
      client.requestToken({ namespace: 'shop', serviceAccount: 's', audiences: [] }),
      '(verb=create resource=serviceaccounts/token namespace=shop account=u)',
    )
  })

  it('reads logs as they come', async () => {
    fake.trouble({ match: '/log?container=c&tailLines=5', status: 200, body: 'one\ntwo\n' })
    const chunks: Buffer[] = []
    for await (const chunk of client.logs('shop', 'p', { container: 'c', tail: 5 })) chunks.push(chunk)
    assert.equal(Buffer.concat(chunks).toString(), 'one\ntwo\n')
  })

  it('says where nobody answers', async () => {
    await fake.close()
    await assert.rejects(
      client.list('pods'),
      (error: Error) => codeOf(error) === 'API_UNREACHABLE' && /ECONNREFUSED 127\.0\.0\.1/.test(error.message),
    )
  })
})
