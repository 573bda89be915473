// The object API against a real API server, without nodes: writes, tokens, rights, kinds that come late, and an API server that
// is away for a while.
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { KubernetesSource } from '../../controlplane/source/kubernetes/kubernetes-source.ts'
import { systemClock } from '../../kit/clock.ts'
import { codeOf } from '../../kit/error.ts'
import type { MeshObject } from '../../model/object.ts'
import { type ObjectApi, openObjects } from '../../objects/api.ts'
import { keptLog } from '../support/xds-pair.ts'
import { Cluster, guard } from './cluster/cluster.ts'
import { startApiServer } from './cluster/control-plane.ts'
import { killDaemon, until } from './cluster/processes.ts'

/** Not of FREE_NUMBERS in mesh-cluster.ts: both may be up at once. */
const NUMBER = 9
const AWAY_MS = 30_000
const GROUP = 'security.istio.io'
const configMap = (data: object, more: object = {}) => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: 'c', namespace: 'default', ...more },
  data,
})
const policy = {
  apiVersion: `${GROUP}/v1`,
  kind: 'AuthorizationPolicy',
  metadata: { name: 'deny', namespace: 'default' },
  spec: { action: 'DENY' },
}

describe('kubernetes: objects', function () {
  this.timeout('240s')
  let cluster: Cluster
  let api: ObjectApi

  before(async () => {
    const id = `o${process.pid}`
    guard(id, process.pid)
    cluster = await Cluster.up({ id, number: NUMBER, nodes: 0 }, (sentence) => console.log(`      ${sentence}`))
    api = openObjects({ source: 'kubernetes', kubeconfig: cluster.layout.kubeconfig })
  })
  after(async () => {
    api?.[Symbol.dispose]()
    await cluster?.[Symbol.asyncDispose]()
  })

  it('creates, applies, patches and deletes, and leaves alone what others set', async () => {
    const made = await api.create(configMap({ a: '1', b: '2' }))
    await fails(api.create(configMap({})), 'CONFLICT')
    assert.deepEqual((await api.apply(configMap({ a: '3' }))).data, { a: '3' }, 'what is not said any more is taken away')
    await api.patch('configmaps', 'default', 'c', { data: { foreign: 'x' } })
    await cluster.kubectl('annotate', 'configmap', 'c', 'by=kubectl')
    const stored = await api.apply(configMap({ a: '4' }))
    assert.deepEqual([stored.data, stored.metadata.annotations], [{ a: '4', foreign: 'x' }, { by: 'kubectl' }])
    assert.equal(JSON.stringify(stored).includes('managedFields'), false)
    await fails(api.apply(configMap({}, { resourceVersion: made.metadata.resourceVersion })), 'CONFLICT')
    await fails(api.patch('configmaps', 'default', 'c', { metadata: { resourceVersion: '1' } }), 'CONFLICT')
    await fails(
      api.apply({ apiVersion: 'v1', kind: 'Service', metadata: { name: 's', namespace: 'default' }, spec: { ports: [{ port: 0 }] } }),
      'INVALID_OBJECT',
    )
    await fails(api.delete('configmaps', 'default', 'c', { uid: 'another' }), 'CONFLICT')
    await api.delete('configmaps', 'default', 'c', { uid: made.metadata.uid ?? '' })
    await fails(api.get('configmaps', 'default', 'c'), 'NOT_FOUND')
  })

  it('lets one of many who create at once win, whole', async () => {
    for (let round = 0; round < 5; round++) {
      const tries = await Promise.allSettled(Array.from({ length: 8 }, (_, i) => api.create(configMap({ by: String(i) }))))
      const won = tries.flatMap((one, i) => (one.status === 'fulfilled' ? [String(i)] : []))
      assert.equal(won.length, 1)
      for (const one of tries) if (one.status === 'rejected') assert.equal(codeOf(one.reason), 'CONFLICT')
      assert.deepEqual((await api.get('configmaps', 'default', 'c')).data, { by: won[0] })
      await api.delete('configmaps', 'default', 'c')
    }
  })

  it('sets its part of a status and takes it back', async () => {
    const head = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'kubernetes', namespace: 'default' } }
    const condition = { type: 'weft.dev/Test', status: 'True', reason: 'R', message: 'm', lastTransitionTime: '2026-01-01T00:00:00Z' }
    const conditionsOf = (object: MeshObject) => (object.status as { conditions?: unknown[] }).conditions ?? []
    assert.deepEqual(conditionsOf(await api.applyStatus({ ...head, status: { conditions: [condition] } }, { fieldManager: 'weft-test' })), [
      condition,
    ])
    assert.deepEqual(conditionsOf(await api.applyStatus({ ...head, status: { conditions: [] } }, { fieldManager: 'weft-test' })), [])
  })

  it('reviews tokens for one audience', async () => {
    const { token } = await api.requestToken({ namespace: 'default', serviceAccount: 'default', audiences: ['istio-ca'] })
    assert.deepEqual(await api.reviewToken(token, 'istio-ca'), {
      authenticated: true,
      user: { namespace: 'default', serviceAccount: 'default' },
    })
    assert.equal((await api.reviewToken(token, 'elsewhere')).authenticated, false)
    assert.equal((await api.reviewToken('junk', 'istio-ca')).authenticated, false)
  })

  it('names the right that is missing', async () => {
    const { token } = await api.requestToken({ namespace: 'default', serviceAccount: 'default', audiences: [] })
    const kubeconfig = join(cluster.layout.dir, 'powerless.conf')
    const config = JSON.parse(readFileSync(cluster.layout.kubeconfig, 'utf8')) as { users: { name: string; user: object }[] }
    const users = config.users.map(({ name }) => ({ name, user: { token } }))
    writeFileSync(kubeconfig, JSON.stringify({ ...config, users }))
    using powerless = openObjects({ source: 'kubernetes', kubeconfig })
    await assert.rejects(
      powerless.list('pods'),
      /a right is missing on the cluster \(verb=list resource=pods namespace=\(all\) account=system:serviceaccount:default:default\); /,
    )
    await assert.rejects(powerless.apply(configMap({})), /\(verb=patch resource=configmaps namespace=default account=/)
  })

  it('follows everything, takes up a kind whose CRD comes late, and loses nothing while the API server is away', async () => {
    const { log, lines } = keptLog()
    const told: string[] = []
    const stop = new AbortController()
    const source = new KubernetesSource({ api, log, clock: systemClock })
    source.onChange(({ type, object: { kind, metadata } }) => told.push(`${type} ${kind} ${metadata.name}`))
    await source.start(stop.signal)
    try {
      assert.deepEqual([...source.objects('authorizationpolicies')], [])
      await api.apply(crd())
      await until('the policy can be stored', 20_000, () =>
        api.apply(policy).then(
          () => true,
          () => false,
        ),
      )
      await until('the policy is known', 20_000, async () => told.includes('ADDED AuthorizationPolicy deny'))
      const before = [...source.objects('serviceaccounts')].length
      told.length = 0
      const signal = new Date()
      await killDaemon(cluster.layout, 'kube-apiserver')
      await until('the loss is noticed', 20_000, async () =>
        lines.some(({ message }) => message.startsWith('the API server does not answer')),
      )
      await sleep(AWAY_MS - (Date.now() - signal.getTime()))
      assert.equal([...source.objects('serviceaccounts')].length, before)
      assert.equal([...source.objects('authorizationpolicies')].length, 1)
      startApiServer(cluster.layout, cluster.binaries)
      await until('the API server is back', 60_000, async () => lines.some(({ message }) => message === 'the API server answers again'))
      await until('it takes writes', 60_000, () =>
        api.apply(configMap({}, { name: 'istio-ca-root-cert' })).then(
          () => true,
          () => false,
        ),
      )
      await until('changes come again', 30_000, async () => told.includes('ADDED ConfigMap istio-ca-root-cert'))
      const flaps = told.filter((line) => !line.startsWith('MODIFIED') && !line.endsWith('ConfigMap istio-ca-root-cert'))
      assert.deepEqual(flaps, [])
    } finally {
      stop.abort()
    }
  })
})

async function fails(work: Promise<unknown>, code: string): Promise<void> {
  await assert.rejects(work, (error) => {
    assert.equal(codeOf(error), code)
    return true
  })
}

/** Without a schema, as an old installation may have it. */
function crd(): object {
  const schema = { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } }
  const names = {
    plural: 'authorizationpolicies',
    singular: 'authorizationpolicy',
    kind: 'AuthorizationPolicy',
    listKind: 'AuthorizationPolicyList',
  }
  const versions = [{ name: 'v1', served: true, storage: true, subresources: { status: {} }, schema }]
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `authorizationpolicies.${GROUP}` },
    spec: { group: GROUP, scope: 'Namespaced', names, versions },
  }
}
