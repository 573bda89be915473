// Two replicas on one API: one root, both serve certificates, one leads and writes; the other takes over when it ends.
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { after, before, describe, it } from 'mocha'
import { type ControlplaneApp, type ControlplaneOptions, startControlplane } from '../../../controlplane/app.ts'
import { readSettings } from '../../../controlplane/settings.ts'
import { CaClient } from '../../../identity/ca-client.ts'
import { systemClock } from '../../../kit/clock.ts'
import type { MeshObject } from '../../../model/object.ts'
import { FakeApi } from '../../support/fake-api.ts'
import { FakeSource, pod } from '../../support/fake-source.ts'
import { keptLog, until } from '../../support/xds-pair.ts'

const USER = { namespace: 'weft-system', serviceAccount: 'ztunnel', podName: 'ztunnel-node-1', podUid: 'z-1', nodeName: 'node-1' }
const POLICY: MeshObject = {
  apiVersion: 'security.istio.io/v1',
  kind: 'AuthorizationPolicy',
  metadata: { name: 'p', namespace: 'shop' },
  spec: { action: 'ALLOW', rules: [{ from: [{ source: { namespaces: ['shop'] } }] }] },
}

describe('controlplane/app, two replicas', () => {
  const source = new FakeSource()
  const store = new FakeApi()
  const { log, lines } = keptLog()
  const applied: string[] = []
  const apps = new Map<string, ControlplaneApp>()

  const start = async (name: string): Promise<void> => {
    const args = ['--source', 'kubernetes', '--pod-name', name, '--listen', '127.0.0.1:0', '--metrics-listen', '127.0.0.1:0']
    const settings = readSettings([...args, '--serving-ips', '127.0.0.1'], {})
    assert.ok(settings.ok)
    const applyStatus = async (object: { metadata: { name: string } }): Promise<unknown> => {
      applied.push(`${name} ${object.metadata.name}`)
      return object
    }
    const api = {
      get: store.get.bind(store),
      create: store.create.bind(store),
      patch: store.patch.bind(store),
      applyStatus,
    } as unknown as NonNullable<ControlplaneOptions['api']>
    apps.set(name, await startControlplane({ settings: settings.value, source, api, log, clock: systemClock }))
  }
  const leads = async (name: string): Promise<boolean> => {
    const text = await apps.get(name)?.metrics.registry.getSingleMetricAsString('weft_controlplane_leader')
    return /weft_controlplane_leader 1$/m.test(text ?? '')
  }
  const stop = async (name: string): Promise<void> => {
    await apps.get(name)?.[Symbol.asyncDispose]()
    apps.delete(name)
  }
  const rootsPem = (): string =>
    Buffer.from(store.objects.get('secrets weft-system/weft-ca')?.data?.['root-cert.pem'] ?? '', 'base64').toString()

  before(async () => {
    source.tokens.set('good', { audience: 'istio-ca', status: { authenticated: true, user: USER } })
    source.apply(
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } },
      pod('weft-system', 'ztunnel-node-1', { uid: 'z-1', serviceAccount: 'ztunnel' }),
      pod('shop', 'cart-1', { serviceAccount: 'cart' }),
      POLICY,
    )
    await Promise.all([start('a'), start('b')])
    await until('one leads', () => lines.some(({ message }) => message === 'leading'))
  })
  after(async () => {
    for (const name of [...apps.keys()]) await stop(name)
  })

  it('both sign, by the one root, with a certificate of the serving kind that it vouches for', async () => {
    for (const app of apps.values()) {
      const client = new CaClient({
        address: `127.0.0.1:${app.grpcPort}`,
        serverName: 'istiod.istio-system.svc',
        roots: () => Buffer.from(rootsPem()),
        token: () => 'good',
        clusterId: 'Kubernetes',
        ttlMs: 3_600_000,
        clock: systemClock,
      })
      const got = await client.fetch({ trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'cart' })
      client.close()
      assert.equal(got.rootsPem, rootsPem())
      assert.ok(new X509Certificate(got.chainPem).verify(new X509Certificate(rootsPem()).publicKey))
    }
  })

  it('one of them leads, writes the roots and the status; the other only when that one has ended', async () => {
    assert.deepEqual([await leads('a'), await leads('b')].filter(Boolean).length, 1)
    const [first, second] = (await leads('a')) ? ['a', 'b'] : ['b', 'a']
    await until('status', () => applied.length > 0)
    await until('roots', () => [...source.objects('configmaps')].length === 1)
    assert.deepEqual([...new Set(applied)], [`${first} p`])
    await stop(first as string)
    source.apply({ ...POLICY, metadata: { ...POLICY.metadata, name: 'q' } })
    const began = performance.now()
    await until('the other leads', () => applied.includes(`${second} q`))
    assert.ok(performance.now() - began < 4000)
    assert.ok(await leads(second as string))
  }).timeout('15s')
})
