// The object API end to end over its socket: client, server, store, informer, tokens.
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../../kit/clock.ts'
import { codeOf } from '../../../kit/error.ts'
import { createLog } from '../../../kit/log.ts'
import type { MeshObject, ObjectEvent } from '../../../model/object.ts'
import { ObjectClient } from '../../../objects/client.ts'
import { informer } from '../../../objects/informer.ts'
import { ApiServer } from '../../../runtime/api/server.ts'
import { ObjectStore } from '../../../runtime/store.ts'
import { TokenIssuer } from '../../../runtime/tokens.ts'

const log = createLog({ process: 'test', levels: 'off' })

describe('object API', () => {
  let directory: string
  let store: ObjectStore
  let tokens: TokenIssuer
  let api: ApiServer
  let client: ObjectClient

  const listen = (): Promise<ApiServer> => ApiServer.listen({ socketPath: join(directory, 'api.sock'), store, tokens, log, extra: {} })

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'weft-api-'))
    store = new ObjectStore({ directory: join(directory, 'objects'), clock: systemClock })
    tokens = new TokenIssuer({ keyFile: join(directory, 'keys', 'token-signing.pem'), objects: store, clock: systemClock })
    api = await listen()
    client = new ObjectClient({ socketPath: join(directory, 'api.sock') })
  })

  afterEach(async () => {
    client[Symbol.dispose]()
    await api[Symbol.asyncDispose]()
    rmSync(directory, { recursive: true })
  })

  it('gives the socket to its owner only', () => {
    assert.equal(statSync(join(directory, 'api.sock')).mode & 0o777, 0o600)
    assert.equal(statSync(join(directory, 'keys', 'token-signing.pem')).mode & 0o777, 0o600)
  })

  it('applies, gets, lists, patches and deletes', async () => {
    const made = await client.apply(config('a', { x: '1' }))
    assert.equal(made.metadata.namespace, 'default')
    assert.equal(made.metadata.generation, 1)
    assert.deepEqual(await client.get('configmaps', 'default', 'a'), made)
    const patched = await client.patch('configmaps', 'default', 'a', { metadata: { labels: { team: 'red' } }, data: { x: null, y: '2' } })
    assert.deepEqual(patched.data, { y: '2' })
    const { items } = await client.list('configmaps', 'default')
    assert.deepEqual(items, [patched])
    await client.delete('configmaps', 'default', 'a')
    await assert.rejects(client.get('configmaps', 'default', 'a'), { code: 'NOT_FOUND' })
    assert.deepEqual(readdirSync(join(directory, 'objects', 'configmaps', 'default')), [])
  })

  it('refuses a patch that is based on an old version', async () => {
    const made = await client.apply(config('a', { x: '1' }))
    await client.apply(config('a', { x: '2' }))
    const patch = { metadata: { resourceVersion: made.metadata.resourceVersion }, data: { x: '3' } }
    await assert.rejects(client.patch('configmaps', 'default', 'a', patch), { code: 'CONFLICT' })
  })

  it('creates only what does not exist', async () => {
    await client.create(config('new', { x: '1' }))
    await assert.rejects(client.create(config('new', { x: '2' })), { code: 'CONFLICT' })
    assert.deepEqual((await client.get('configmaps', 'default', 'new')).data, { x: '1' })
    await client.delete('configmaps', 'default', 'new')
  })

  it('keeps labels that others set, and takes away those it set itself before', async () => {
    await client.apply({ ...namespace('shop'), metadata: { name: 'shop', labels: { mine: 'yes', gone: 'soon' } } })
    await client.patch('namespaces', undefined, 'shop', { metadata: { labels: { 'istio.io/dataplane-mode': 'ambient' } } })
    const again = await client.apply({ ...namespace('shop'), metadata: { name: 'shop', labels: { mine: 'yes' } } })
    assert.deepEqual(again.metadata.labels, { 'istio.io/dataplane-mode': 'ambient', mine: 'yes' })
  })

  it('says every fault of an invalid object', async () => {
    const bad = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'S' }, spec: { ports: [{ port: 70000 }] } }
    await assert.rejects(client.apply(bad), (error: Error) => {
      assert.equal(codeOf(error), 'INVALID_OBJECT')
      assert.match(error.message, /metadata\.name: .*spec\.ports\[0\]\.port: /)
      return true
    })
    await assert.rejects(client.apply({ apiVersion: 'v1', kind: 'Toaster', metadata: { name: 'a' } }), { code: 'UNKNOWN_KIND' })
  })

  it('writes nothing when nothing changed', async () => {
    const first = await client.apply(config('a', { x: '1' }))
    const second = await client.apply(config('a', { x: '1' }))
    assert.equal(second.metadata.resourceVersion, first.metadata.resourceVersion)
  })

  it('reads its files back', async () => {
    const made = await client.apply(config('a', { x: '1' }))
    const reopened = new ObjectStore({ directory: join(directory, 'objects'), clock: systemClock })
    assert.deepEqual(reopened.get('configmaps', 'default', 'a'), made)
    assert.equal(reopened.version, store.version)
  })

  it('sends events to informers, also across a restart of the server', async () => {
    await client.apply(config('a', { x: '1' }))
    const events: string[] = []
    const stop = new AbortController()
    const onEvent = ({ type, object }: ObjectEvent): void => void events.push(`${type} ${object.metadata.name}`)
    let synced: readonly MeshObject[] = []
    const onSync = (all: ReadonlyMap<string, readonly MeshObject[]>): void => {
      synced = all.get('configmaps') ?? []
    }
    const copy = informer({ client, kinds: ['configmaps'], log, clock: systemClock, signal: stop.signal, onSync, onEvent })
    await copy.synced
    assert.deepEqual(
      synced.map((object) => object.metadata.name),
      ['a'],
    )
    await client.apply(config('b', { x: '1' }))
    await until(() => events.includes('ADDED b'))
    await api[Symbol.asyncDispose]()
    store.apply(config('c', { x: '1' }))
    store.delete('configmaps', 'default', 'a')
    assert.equal([...copy.objects('configmaps')].length, 2)
    api = await listen()
    await until(() => events.length === 3)
    assert.deepEqual(events, ['ADDED b', 'ADDED c', 'DELETED a'])
    assert.deepEqual(
      [...copy.objects('configmaps')].map((object) => object.metadata.name),
      ['b', 'c'],
    )
    stop.abort()
  })

  it('answers 410 to a watch from before the history', async () => {
    for (let i = 0; i < 4200; i++) store.apply(config('a', { x: String(i) }))
    await assert.rejects(client.watch(['configmaps'], '1').next(), { code: 'VERSION_TOO_OLD' })
  }).timeout(20_000)

  it('marks a running pod as going away, and removes it at grace 0', async () => {
    await client.apply(pod('p', 'node-1'))
    await client.delete('pods', 'default', 'p')
    const going = await client.get('pods', 'default', 'p')
    assert.notEqual(going.metadata.deletionTimestamp, undefined)
    assert.equal(going.metadata.deletionGracePeriodSeconds, 30)
    await client.delete('pods', 'default', 'p', { gracePeriodSeconds: 0 })
    await assert.rejects(client.get('pods', 'default', 'p'), { code: 'NOT_FOUND' })
  })

  it('issues tokens that die with audience, pod and time', async () => {
    store.put({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default', namespace: 'default' } })
    store.put({ apiVersion: 'v1', kind: 'Node', metadata: { name: 'node-1' } })
    const made = await client.apply(pod('p', 'node-1'))
    const bound = { name: 'p', uid: made.metadata.uid ?? '' }
    const { token } = await client.requestToken({ namespace: 'default', serviceAccount: 'default', audiences: ['istio-ca'], pod: bound })
    const user = { namespace: 'default', serviceAccount: 'default', podName: 'p', podUid: bound.uid, nodeName: 'node-1' }
    assert.deepEqual(await client.reviewToken(token, 'istio-ca'), { authenticated: true, user })
    assert.equal((await client.reviewToken(token, 'other')).authenticated, false)
    assert.equal((await client.reviewToken(`${token}x`, 'istio-ca')).authenticated, false)
    const later = new TokenIssuer({
      keyFile: join(directory, 'keys', 'token-signing.pem'),
      objects: store,
      clock: { ...systemClock, nowMs: () => Date.now() + 7_200_000 },
    })
    assert.equal((await later.review(token, ['istio-ca'])).authenticated, false)
    store.delete('pods', 'default', 'p', 0)
    assert.deepEqual(await client.reviewToken(token, 'istio-ca'), { authenticated: false, error: 'the pod was deleted' })
  })
})

function config(name: string, data: Record<string, string>): MeshObject {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data }
}

function namespace(name: string): MeshObject {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name } }
}

function pod(name: string, nodeName: string): MeshObject {
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec: { nodeName, containers: [{ name: 'main' }] } }
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 10))
  assert.ok(condition())
}
