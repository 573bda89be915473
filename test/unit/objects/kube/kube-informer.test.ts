// The informer against an API server that loses connections, forgets its history, lies about time and repeats itself.
import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'mocha'
import type { KubeClient } from '../../../../objects/kube/kube-client.ts'
import { FakeApiServer, statusOf } from '../../../support/fake-apiserver.ts'
import { clientOf, fastClock, follow } from '../../../support/kube-pair.ts'
import { until as untilIn } from '../../../support/xds-pair.ts'

/** Machines that run the tests may be very busy. */
const until = (what: string, test: () => boolean, ms = 20_000): Promise<void> => untilIn(what, test, ms)

const pod = (name: string, labels: Record<string, string> = {}) => ({
  metadata: { name, namespace: 'shop', labels },
  spec: { nodeName: 'node-1', containers: [{ name: 'c', image: 'i' }] },
  status: { phase: 'Running', podIP: '10.1.0.1', podIPs: [{ ip: '10.1.0.1' }] },
})

describe('objects/kube/kube-informer', function () {
  this.timeout('60s')
  let fake: FakeApiServer
  let client: KubeClient

  beforeEach(async () => {
    fake = await FakeApiServer.listen()
    client = clientOf(fake)
  })
  afterEach(async () => {
    client[Symbol.dispose]()
    await fake[Symbol.asyncDispose]()
  })

  it('lists in pages, says everything once, then each change', async () => {
    for (let i = 0; i < 1201; i++) fake.put('pods', pod(`p${i}`))
    await using follower = follow(client, ['pods', 'namespaces'])
    await follower.informer.synced
    assert.equal(follower.replica.size, 1201)
    assert.equal(fake.requests.filter((line) => line.includes('/pods?limit=250')).length, 5)
    assert.deepEqual([follower.syncs(), follower.events.length], [1, 0])
    await until('watching', () => fake.watchCount === 2)
    fake.put('pods', pod('p7', { a: 'b' }))
    fake.remove('pods', 'shop/p8')
    fake.put('pods', pod('new'))
    await until('events', () => follower.events.length === 3)
    assert.deepEqual(
      follower.events.map(({ type, object }) => `${type} ${object.metadata.name}`),
      ['MODIFIED p7', 'DELETED p8', 'ADDED new'],
    )
    assert.equal(follower.informer.get('pods', 'shop', 'p7')?.metadata.labels?.a, 'b')
    assert.deepEqual(follower.states, [true])
  })

  it('lists again without an event when history is gone and nothing changed', async () => {
    for (let i = 0; i < 20; i++) fake.put('pods', pod(`p${i}`))
    await using follower = follow(client, ['pods'])
    await follower.informer.synced
    await until('watching', () => fake.watchCount === 1)
    for (let round = 1; round <= 5; round++) {
      fake.expireWatches()
      await until('watching again', () => fake.watchesOpened === 1 + round && fake.watchCount === 1)
    }
    assert.deepEqual(follower.events, [])
    assert.equal(fake.requests.filter((line) => line.includes('/pods?limit')).length, 6)
    fake.put('pods', pod('p3', { now: 'yes' }))
    await until('the event', () => follower.events.length === 1)
  })

  it('begins a list again when a page comes too late, and keeps what it has meanwhile', async () => {
    for (let i = 0; i < 900; i++) fake.put('pods', pod(`p${i}`))
    await using follower = follow(client, ['pods'])
    await follower.informer.synced
    fake.remove('pods', 'shop/p5')
    await until('watching', () => fake.watchCount === 1 && follower.replica.size === 899)
    fake.trouble({ match: 'continue=', status: 410, body: statusOf(410, 'Expired', 'too old'), times: 2 })
    fake.expireWatches()
    await until('watching again', () => fake.watchesOpened === 2)
    assert.deepEqual([follower.replica.size, follower.events.length, follower.faults], [899, 1, []])
    assert.equal(fake.requests.filter((line) => / \/api\/v1\/pods$/.test(line)).length, 1, 'at last without pages')
  })

  it('is not emptied by errors, by half a list, by answers that are no list, by one empty list', async () => {
    for (let i = 0; i < 600; i++) fake.put('pods', pod(`p${i}`))
    await using follower = follow(client, ['pods'])
    await follower.informer.synced
    await until('watching', () => fake.watchCount === 1)
    const list = { match: '/pods?limit=250', times: 1 }
    fake.trouble({ ...list, status: 500 })
    fake.trouble({ ...list, status: 200, body: {} })
    fake.trouble({ ...list, status: 200, body: { kind: 'PodList', metadata: {}, items: [] } })
    fake.trouble({ ...list, status: 200, body: { kind: 'Status', metadata: { resourceVersion: '9999' }, items: [] } })
    fake.trouble({ ...list, status: 200, body: 'no json' })
    fake.trouble({ ...list, status: 200, body: { kind: 'PodList', metadata: { resourceVersion: '9999' }, items: null } })
    fake.trouble({ match: 'continue=', status: 503 })
    fake.trouble({ match: 'continue=', status: 200, body: { kind: 'PodList', metadata: { resourceVersion: '600' } } })
    fake.expireWatches()
    await until('watching again', () => fake.watchesOpened === 2)
    assert.deepEqual([follower.replica.size, follower.events], [600, []])
  })

  it('believes an empty list that is repeated', async () => {
    fake.put('pods', pod('a'))
    await using follower = follow(client, ['pods'])
    await follower.informer.synced
    await until('watching', () => fake.watchCount === 1)
    fake.isLosing = true
    fake.remove('pods', 'shop/a')
    fake.isLosing = false
    fake.expireWatches()
    await until('gone', () => follower.replica.size === 0)
    assert.deepEqual(
      follower.events.map(({ type }) => type),
      ['DELETED'],
    )
  })

  it('does not go back in time with an old list, until the old history has proved to be the new truth', async () => {
    for (let i = 0; i < 5; i++) fake.put('pods', pod(`p${i}`))
    await using follower = follow(client, ['pods'])
    await follower.informer.synced
    await until('watching', () => fake.watchCount === 1)
    for (let i = 0; i < 5; i++) fake.put('pods', pod(`p${i}`, { now: 'new' }))
    await until('seen', () => follower.events.length === 5)
    const old = { kind: 'PodList', apiVersion: 'v1', metadata: { resourceVersion: '3' }, items: [pod('p0')] }
    fake.trouble({ match: '/pods?limit=250', status: 200, body: old, times: 3 })
    fake.expireWatches()
    await until('watching again', () => fake.watchesOpened === 2)
    assert.deepEqual([follower.events.length, follower.replica.size], [5, 5])
    assert.match(JSON.stringify(follower.lines), /the list is older than what is held/)
    fake.trouble({ match: '/pods?limit=250', status: 200, body: old, times: 1000 })
    fake.expireWatches()
    await until('believed', () => follower.replica.size === 1)
    assert.deepEqual(follower.faults, [])
  })

  it('says DELETED and ADDED for another object of the same name', async () => {
    fake.put('pods', pod('a'))
    await using follower = follow(client, ['pods'])
    await follower.informer.synced
    await until('watching', () => fake.watchCount === 1)
    fake.isLosing = true
    fake.remove('pods', 'shop/a')
    fake.put('pods', pod('a'))
    fake.isLosing = false
    fake.expireWatches()
    await until('events', () => follower.events.length === 2)
    assert.deepEqual(
      follower.events.map(({ type, object }) => `${type} ${object.metadata.uid}`),
      ['DELETED uid-1', 'ADDED uid-2'],
    )
  })

  it('resumes from bookmarks', async () => {
    fake.put('pods', pod('a'))
    await using follower = follow(client, ['pods'])
    await follower.informer.synced
    await until('watching', () => fake.watchCount === 1)
    fake.put('namespaces', { metadata: { name: 'n' } })
    fake.bookmark()
    await until('sent', () => fake.requests.length > 0)
    await new Promise((resolve) => setTimeout(resolve, 20))
    fake.endWatches()
    await until('watching again', () => fake.watchesOpened === 2)
    assert.match(fake.requests.at(-1) ?? '', /watch=1&allowWatchBookmarks=true&resourceVersion=3&timeoutSeconds=\d{3}$/)
    assert.deepEqual(follower.states, [true], 'the regular end of a watch is no loss')
  })

  it('takes up a kind when its CRD appears, and gives it up when it has gone', async () => {
    fake.absent.add('authorizationpolicies')
    const policy = { metadata: { name: 'deny', namespace: 'shop' }, spec: { action: 'DENY' } }
    await using follower = follow(client, ['pods', 'authorizationpolicies'])
    await follower.informer.synced
    await until('the pods are followed', () => follower.states.length === 1)
    fake.absent.delete('authorizationpolicies')
    fake.put('authorizationpolicies', policy)
    await until('the policy', () => follower.replica.size === 1)
    await until('watching', () => fake.watchCount === 2)
    assert.equal(follower.events[0]?.type, 'ADDED')
    fake.absent.add('authorizationpolicies')
    fake.dropWatches()
    await until('given up', () => follower.replica.size === 0)
    fake.absent.delete('authorizationpolicies')
    await until('back', () => follower.replica.size === 1)
    const said = follower.lines.filter(({ level }) => level === 'info').map(({ message }) => message)
    assert.deepEqual(
      said.filter((line) => line.startsWith('kind')),
      [
        'kind is not installed on the cluster; it is taken up when it is',
        'kind is installed now',
        'kind is not installed on the cluster; it is taken up when it is',
        'kind is installed now',
      ],
    )
    assert.deepEqual(follower.faults, [])
  })

  it('keeps the objects of a kind that is missing only for a moment', async () => {
    fake.put('gateways', { metadata: { name: 'w', namespace: 'shop' } })
    await using follower = follow(client, ['gateways'])
    await follower.informer.synced
    await until('watching', () => fake.watchCount === 1)
    fake.trouble({ match: '/apis/gateway.networking.k8s.io/v1', status: 404, times: 4 })
    fake.dropWatches()
    await until('watching again', () => fake.watchesOpened === 2)
    assert.deepEqual([follower.replica.size, follower.events], [1, []])
  })

  it('waits for a kind that it may not list, and says once which right is missing', async () => {
    const message =
      'authorizationpolicies.security.istio.io is forbidden: User "system:serviceaccount:weft-system:controlplane" cannot list resource "authorizationpolicies" in API group "security.istio.io" at the cluster scope'
    fake.trouble({ match: '/authorizationpolicies?limit', status: 403, body: statusOf(403, 'Forbidden', message), times: 5 })
    await using follower = follow(client, ['pods', 'authorizationpolicies'])
    await until('tried', () => fake.requests.filter((line) => line.includes('/authorizationpolicies?limit')).length === 5)
    assert.equal(follower.syncs(), 0, 'without the policies nothing is known')
    await follower.informer.synced
    const warnings = follower.lines.filter(({ level }) => level === 'warn')
    assert.equal(warnings.length, 1)
    assert.equal(
      warnings[0]?.fields.error,
      'a right is missing on the cluster (verb=list resource=authorizationpolicies.security.istio.io namespace=(all) account=system:serviceaccount:weft-system:controlplane); grant the verb on the resource to the account, e.g. with the chart of this version',
    )
  })

  it('keeps everything while the API server is away, and says so once', async () => {
    for (let i = 0; i < 50; i++) fake.put('pods', pod(`p${i}`))
    await using follower = follow(client, ['pods', 'services', 'nodes'])
    await follower.informer.synced
    await until('watching', () => fake.watchCount === 3)
    const { port } = fake
    await fake.close()
    await until('noticed', () => follower.states.at(-1) === false)
    await new Promise((resolve) => setTimeout(resolve, 300)) // half a minute of the client's clock
    assert.equal([...follower.informer.objects('pods')].length, 50)
    fake.compact()
    await fake.open(port)
    await until('back', () => follower.states.at(-1) === true)
    assert.deepEqual([follower.events, follower.replica.size], [[], 50])
    assert.equal(follower.lines.filter(({ level }) => level === 'warn').length, 1)
  })

  it('reads credentials again when they are refused', async () => {
    fake.accepts = 'Bearer second'
    let token = 'first'
    using renewing = clientOf(fake, fastClock(100), (isRefused) => {
      if (isRefused) token = 'second'
      return token
    })
    await renewing.list('pods')
    assert.equal(fake.requests.length, 2)
    fake.accepts = 'Bearer third'
    await assert.rejects(renewing.list('pods'), /the API server does not accept our credentials/)
  })

  it('follows only what the selectors choose', async () => {
    fake.put('pods', pod('a', { app: 'x' }))
    fake.put('pods', pod('b', { app: 'y' }))
    await using follower = follow(client, ['pods'], { labelSelectors: { pods: 'app=x' }, fieldSelectors: { pods: 'spec.nodeName=node-1' } })
    await follower.informer.synced
    assert.deepEqual([...follower.replica.keys()], ['Pod/shop/a'])
    await until('watching', () => fake.watchCount === 1)
    for (const line of fake.requests) assert.match(line, /fieldSelector=spec.nodeName%3Dnode-1&labelSelector=app%3Dx/)
  })

  it('gives up on a watch that sends what is no event', async () => {
    await using follower = follow(client, ['pods'])
    await follower.informer.synced
    await until('watching', () => fake.watchCount === 1)
    fake.trouble({ match: 'watch=1', status: 200, body: '{"type":"WHAT"}\n' })
    fake.trouble({ match: 'watch=1', status: 200, body: '{"type":"ADDED","object":{"metadata":{"name":7}}}\n[\n' })
    fake.trouble({ match: 'watch=1', status: 200, body: 'null\n' })
    fake.dropWatches()
    await until('watching again', () => fake.watchesOpened === 2)
    assert.deepEqual([follower.events, follower.replica.size], [[], 0])
  })
})
