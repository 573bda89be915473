// Who may talk to whom, on real traffic: PeerAuthentication on every level, AuthorizationPolicy by every kind of field, what a
// change does to live connections, and what cannot be decided at L4. Beside each refusal stands who is let through.
import assert from 'node:assert/strict'
import { deployment, type TestMesh, type TestPod, testMesh } from '../support/mesh.ts'
import { logLine, logLines } from '../support/mesh-view.ts'
import { heldBy, holdFrom, PROBER, PROBER_READY, tryFrom } from '../support/prober.ts'

const namespace = (name: string, labels: object = {}): object => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } })
const account = (ns: string, name: string): object => ({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace: ns } })
const prober = (ns: string, name: string, node: number, serviceAccountName: string): object =>
  deployment(ns, name, PROBER, { pod: { nodeName: `node-${node}`, serviceAccountName }, container: PROBER_READY })
const AMBIENT = { 'istio.io/dataplane-mode': 'ambient' }
const OBJECTS = [
  ...[namespace('shop', AMBIENT), namespace('ops', AMBIENT), namespace('outside')],
  ...[account('shop', 'server'), account('shop', 'client'), account('shop', 'other'), account('ops', 'admin')],
  prober('shop', 'server', 1, 'server'),
  prober('shop', 'client', 2, 'client'),
  prober('shop', 'other', 2, 'other'),
  prober('ops', 'admin', 2, 'admin'),
  prober('outside', 'visitor', 2, 'default'),
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'server', namespace: 'shop' },
    spec: { selector: { app: 'server' }, ports: [{ port: 80, targetPort: 8080 }] },
  },
]
const CALLERS = ['client', 'other', 'admin', 'visitor'] as const
type Caller = (typeof CALLERS)[number]
const CLIENT = 'cluster.local/ns/shop/sa/client'

describe('policy on real traffic', () => {
  let mesh: TestMesh
  let server: TestPod
  const pods = {} as Record<Caller, TestPod>

  before(async () => {
    mesh = await testMesh({ nodes: 2, objects: OBJECTS })
    server = await mesh.pod('shop/server')
    for (const name of CALLERS) pods[name] = await mesh.pod(`${name === 'admin' ? 'ops' : name === 'visitor' ? 'outside' : 'shop'}/${name}`)
  })
  after(async () => {
    await mesh?.[Symbol.asyncDispose]()
  })

  /** Who gets through now: `client:8080 client:9090 …`. */
  const through = async (ip = server.ip): Promise<string> => {
    const asked = CALLERS.flatMap((name) => [8080, 9090].map((port) => ({ name, port })))
    const said = await Promise.all(asked.map(({ name, port }) => tryFrom(pods[name], ip, port)))
    assert.ok(!said.includes('silent'), `somebody hangs: ${said}`)
    return asked.flatMap(({ name, port }, i) => (said[i] === 'ok' ? [`${name}:${port}`] : [])).join(' ')
  }
  const names = (...callers: Caller[]): string => callers.flatMap((name) => [`${name}:8080`, `${name}:9090`]).join(' ')
  const ALL = names(...CALLERS)
  const MESHED = names('client', 'other', 'admin')
  /** Waits for exactly these; they must then hold. */
  const becomes = async (want: string, ip?: string): Promise<void> => {
    let seen = ''
    try {
      await mesh.until(`through are ${want}`, async () => {
        seen = await through(ip)
        return seen === want
      })
    } catch (cause) {
      throw new Error(`wanted ${want}, seen ${seen}`, { cause })
    }
    assert.equal(await through(ip), want)
  }
  /** Applies objects for as long as `work` runs, then waits until all are let through again. */
  const under = async (objects: readonly PolicyObject[], work: () => Promise<void>): Promise<void> => {
    assert.equal(await through(), ALL, 'before')
    await mesh.apply(...objects)
    try {
      await work()
    } finally {
      const plural = { PeerAuthentication: 'peerauthentications', AuthorizationPolicy: 'authorizationpolicies' }
      for (const { kind, metadata } of objects) await mesh.client.delete(plural[kind], metadata.namespace, metadata.name)
      await becomes(ALL)
    }
  }

  describe('PeerAuthentication', () => {
    const root = (mode: string): PolicyObject => peer('weft-system', 'mesh', { mtls: { mode } })
    const ofNamespace = (mode: string): PolicyObject => peer('shop', 'all', { mtls: { mode } })
    const ofServer = (spec: object): PolicyObject => peer('shop', 'server', { selector: { matchLabels: { app: 'server' } }, ...spec })
    for (const [name, objects, want] of [
      ['STRICT for the mesh', [root('STRICT')], MESHED],
      ['STRICT for the namespace', [ofNamespace('STRICT')], MESHED],
      ['STRICT for the workload', [ofServer({ mtls: { mode: 'STRICT' } })], MESHED],
      ['STRICT for one port', [ofServer({ portLevelMtls: { '9090': { mode: 'STRICT' } } })], `${MESHED} visitor:8080`],
      [
        'STRICT but for one port',
        [ofNamespace('STRICT'), ofServer({ portLevelMtls: { '9090': { mode: 'PERMISSIVE' } } })],
        `${MESHED} visitor:9090`,
      ],
    ] as const) {
      it(name, () => under(objects, () => becomes(want)))
    }

    it('an inner one decides: mesh, namespace, workload', () =>
      under([root('STRICT')], async () => {
        await becomes(MESHED)
        await mesh.apply(ofNamespace('PERMISSIVE'))
        await becomes(ALL)
        await mesh.apply(ofServer({ mtls: { mode: 'STRICT' } }))
        await becomes(MESHED)
        assert.equal(await tryFrom(pods.visitor, pods.client.ip, 8080), 'ok', 'its neighbours are as the namespace says')
        await mesh.apply(ofServer({ mtls: { mode: 'UNSET' } }))
        await becomes(ALL)
        await mesh.apply(ofServer({ mtls: { mode: 'STRICT' } }), ofNamespace('STRICT'))
        await mesh.apply(ofServer({ mtls: { mode: 'DISABLE' } }))
        await becomes(ALL)
        for (const name of ['all', 'server']) await mesh.client.delete('peerauthentications', 'shop', name)
        await becomes(MESHED)
      }))

    it('for both address families', () => under([ofNamespace('STRICT')], () => becomes(MESHED, server.ip6)))
  })

  describe('AuthorizationPolicy', () => {
    const rule = (source: object, operation?: object): object => ({
      ...(Object.keys(source).length === 0 ? {} : { from: [{ source }] }),
      ...(operation === undefined ? {} : { to: [{ operation }] }),
    })
    const allow = (...rules: object[]): PolicyObject => policy('allow', { action: 'ALLOW', rules })
    const deny = (...rules: object[]): PolicyObject => policy('deny', { action: 'DENY', rules })
    const rows: readonly (readonly [name: string, objects: () => PolicyObject[], want: string])[] = [
      ['ALLOW principals', () => [allow(rule({ principals: [CLIENT] }))], names('client')],
      ['ALLOW principals by prefix', () => [allow(rule({ principals: ['cluster.local/ns/shop/*'] }))], names('client', 'other')],
      ['DENY principals by suffix', () => [deny(rule({ principals: ['*/sa/other'] }))], names('client', 'admin', 'visitor')],
      ['ALLOW any principal', () => [allow(rule({ principals: ['*'] }))], MESHED],
      ['DENY who has no principal', () => [deny(rule({ notPrincipals: ['*'] }))], MESHED],
      ['ALLOW notPrincipals', () => [allow(rule({ notPrincipals: [CLIENT] }))], names('other', 'admin', 'visitor')],
      ['ALLOW namespaces', () => [allow(rule({ namespaces: ['ops'] }))], names('admin')],
      ['ALLOW notNamespaces', () => [allow(rule({ notNamespaces: ['shop'] }))], names('admin', 'visitor')],
      ['ALLOW serviceAccounts', () => [allow(rule({ serviceAccounts: ['other', 'ops/admin'] }))], names('other', 'admin')],
      ['DENY notServiceAccounts', () => [deny(rule({ notServiceAccounts: ['client'] }))], names('client')],
      ['ALLOW ports', () => [allow(rule({}, { ports: ['9090'] }))], 'client:9090 other:9090 admin:9090 visitor:9090'],
      [
        'DENY notPorts',
        () => [deny(rule({ namespaces: ['shop'] }, { notPorts: ['8080'] }))],
        `client:8080 other:8080 ${names('admin', 'visitor')}`,
      ],
      ['ALLOW ipBlocks', () => [allow(rule({ ipBlocks: [pods.client.ip, pods.visitor.ip] }))], names('client', 'visitor')],
      [
        'ALLOW ipBlocks but notIpBlocks',
        () => [allow(rule({ ipBlocks: ['10.244.2.0/24'], notIpBlocks: [pods.other.ip] }))],
        names('client', 'admin', 'visitor'),
      ],
      ['two fields: both', () => [allow(rule({ namespaces: ['shop'], notPrincipals: [CLIENT] }))], names('other')],
      [
        'two rules: either',
        () => [allow(rule({ namespaces: ['ops'] }), rule({ principals: [CLIENT] }, { ports: ['8080'] }))],
        `client:8080 ${names('admin')}`,
      ],
      [
        'DENY before ALLOW',
        () => [allow(rule({ namespaces: ['shop'] })), deny(rule({ principals: [CLIENT] }, { ports: ['9090'] }))],
        `client:8080 ${names('other')}`,
      ],
      ['ALLOW without rules: nobody', () => [policy('allow', {})], ''],
      [
        'DENY with a method: all of its source',
        () => [deny(rule({ namespaces: ['ops'] }, { methods: ['POST'] }))],
        names('client', 'other', 'visitor'),
      ],
      ['DENY of a path alone: everything', () => [deny(rule({}, { paths: ['/admin'] }))], ''],
      [
        'ALLOW with a method: the rule does not count',
        () => [allow(rule({ principals: [CLIENT] }, { methods: ['GET'] }), rule({ namespaces: ['ops'] }))],
        names('admin'),
      ],
    ]
    for (const [name, objects, want] of rows) {
      it(name, () => under(objects(), () => becomes(want)))
    }
  })

  describe('live connections', () => {
    /** Applies, and says which of the held connections ended, and how long after. */
    const endedBy = async (object: PolicyObject, count: number): Promise<string[]> => {
      const appliedMs = Date.now()
      await mesh.apply(object)
      const all = async (): Promise<{ name: Caller; port: number; endedMs?: number }[]> =>
        (await Promise.all(CALLERS.map(async (name) => (await heldBy(pods[name])).map((one) => ({ ...one, name }))))).flat()
      const ended = await mesh.until('some ended', async () => {
        const found = (await all()).filter(({ endedMs }) => endedMs !== undefined && endedMs >= appliedMs)
        return found.length >= count && found
      })
      for (const { name, port, endedMs } of ended) {
        const tookMs = (endedMs ?? 0) - appliedMs
        assert.ok(tookMs <= 1000, `${name}:${port} lived on for ${tookMs} ms`)
      }
      return ended.map(({ name, port }) => `${name}:${port}`)
    }
    const open = async (...callers: Caller[]): Promise<void> => {
      for (const name of callers) for (const port of [8080, 9090]) assert.equal(await holdFrom(pods[name], server.ip, port), 'ok')
    }
    const countOpen = async (): Promise<number> =>
      (await Promise.all(CALLERS.map((name) => heldBy(pods[name])))).flat().filter(({ endedMs }) => endedMs === undefined).length

    it('end within a second when a policy forbids them, and no other does', async () => {
      await open(...CALLERS)
      const before = await countOpen()
      const rules = [{ from: [{ source: { principals: [CLIENT] } }], to: [{ operation: { ports: ['8080'] } }] }]
      assert.deepEqual(await endedBy(policy('cut', { action: 'DENY', rules }), 1), ['client:8080'])
      const line = await logLine(mesh, 'ztunnel-node-1', 0, (each) => each.code === 'POLICY_CHANGED')
      assert.match(String(line.error), /policy/)
      assert.deepEqual(await endedBy(peer('shop', 'cut', { mtls: { mode: 'STRICT' } }), 2), ['visitor:8080', 'visitor:9090'])
      assert.deepEqual((await endedBy(policy('cut', { action: 'ALLOW', rules }), 5)).sort(), [
        'admin:8080',
        'admin:9090',
        'client:9090',
        'other:8080',
        'other:9090',
      ])
      assert.equal(await countOpen(), before - 8)
      await mesh.client.delete('authorizationpolicies', 'shop', 'cut')
      await mesh.client.delete('peerauthentications', 'shop', 'cut')
      await becomes(ALL)
    })
  })

  it('a service that names an absent waypoint is refused, its pods are not bypassed to', async () => {
    const service = await mesh.client.get('services', 'shop', 'server')
    const vip = (service.spec as { clusterIP: string }).clusterIP
    assert.equal(await tryFrom(pods.client, vip, 80), 'ok')
    const from = logLines(mesh, 'ztunnel-node-2').length
    const label = (value: string | null): Promise<unknown> =>
      mesh.client.patch('services', 'shop', 'server', { metadata: { labels: { 'istio.io/use-waypoint': value } } })
    await label('nowhere')
    await mesh.until('it is refused', async () => (await tryFrom(pods.client, vip, 80)) === 'refused')
    for (let n = 0; n < 5; n++) assert.equal(await tryFrom(pods.other, vip, 80), 'refused')
    await logLine(mesh, 'ztunnel-node-2', from, (line) => line.code === 'UNKNOWN_WAYPOINT')
    await label(null)
    await mesh.until('it is served again', async () => (await tryFrom(pods.client, vip, 80)) === 'ok')
  })
})

interface PolicyObject {
  readonly apiVersion: string
  readonly kind: 'PeerAuthentication' | 'AuthorizationPolicy'
  readonly metadata: { readonly name: string; readonly namespace: string }
  readonly spec: object
}

function peer(ns: string, name: string, spec: object): PolicyObject {
  return { apiVersion: 'security.istio.io/v1', kind: 'PeerAuthentication', metadata: { name, namespace: ns }, spec }
}

/** Of the server. */
function policy(name: string, spec: object): PolicyObject {
  const selector = { matchLabels: { app: 'server' } }
  return {
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name, namespace: 'shop' },
    spec: { selector, ...spec },
  }
}
