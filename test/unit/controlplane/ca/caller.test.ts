// Who is admitted as a waypoint, what it gets a certificate for and what it may ask for; every forged one is refused and audited.
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { describe, it } from 'mocha'
import { CertificateAuthority } from '../../../../certs/ca.ts'
import { createCsr } from '../../../../certs/csr.ts'
import { type CallerCheck, checkCaller } from '../../../../controlplane/ca/caller.ts'
import { admitCaller, xdsCallerOf } from '../../../../controlplane/ca/demands.ts'
import { PodIndex } from '../../../../controlplane/ca/pod-index.ts'
import { sign, type SignOptions } from '../../../../controlplane/ca/sign.ts'
import { RateLimit } from '../../../../controlplane/rate.ts'
import { systemClock } from '../../../../kit/clock.ts'
import { success } from '../../../../kit/error.ts'
import type { Gateway } from '../../../../model/gateway-api.ts'
import type { SpiffeId } from '../../../../model/identity.ts'
import type { MeshObject, Pod } from '../../../../model/object.ts'
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, BACKEND_TYPE, LISTENER_TYPE, NETWORKS_TYPE } from '../../../../xds/kinds.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { FakeSource, pod } from '../../../support/fake-source.ts'
import { keptLog } from '../../../support/xds-pair.ts'

const LABEL = 'gateway.networking.k8s.io/gateway-name'
const OWN = 'spiffe://cluster.local/ns/shop/sa/wp'
const USER = { namespace: 'shop', serviceAccount: 'wp', podName: 'wp-1', podUid: 'w-1', nodeName: 'node-1' }
const WAYPOINT = { uid: 'w-1', serviceAccount: 'wp', labels: { [LABEL]: 'wp' } }
const NODE_USER = { namespace: 'weft-system', serviceAccount: 'ztunnel', podName: 'ztunnel-node-1', podUid: 'z-1', nodeName: 'node-1' }
const ZTUNNEL = pod('weft-system', 'ztunnel-node-1', { uid: 'z-1', serviceAccount: 'ztunnel' })

const gateway = (namespace: string, name: string, gatewayClassName = 'istio-waypoint'): MeshObject => ({
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'Gateway',
  metadata: { namespace, name },
  spec: { gatewayClassName, listeners: [] },
})
const GATEWAY = gateway('shop', 'wp')

function world(objects: readonly MeshObject[], user: object = USER) {
  const source = new FakeSource()
  source.apply(...objects)
  source.tokens.set('good', { audience: 'istio-ca', status: { authenticated: true, user: user as typeof USER } })
  source.tokens.set('elsewhere', { audience: 'other', status: { authenticated: true, user: USER } })
  const pods = new PodIndex()
  pods.fill(source.objects('pods') as Iterable<Pod>)
  const check: CallerCheck = {
    pods,
    trustedAccounts: new Set(['weft-system/ztunnel']),
    gateways: () => source.objects('gateways') as Iterable<Gateway>,
    reviewToken: (token, audience) => source.reviewToken(token, audience),
  }
  return { source, pods, check }
}

interface Forged {
  readonly name: string
  readonly objects: readonly MeshObject[]
  readonly user?: object
  readonly token?: string
  readonly reason: RegExp
}

const FORGED: readonly Forged[] = [
  { name: 'token for another audience', objects: [pod('shop', 'wp-1', WAYPOINT), GATEWAY], token: 'elsewhere', reason: /wrong audience/ },
  { name: 'token without a pod', objects: [GATEWAY], user: { ...USER, podName: undefined }, reason: /not bound to a pod/ },
  { name: 'no such pod', objects: [GATEWAY], reason: /pod shop\/wp-1 does not exist/ },
  { name: 'wrong UID', objects: [pod('shop', 'wp-1', { ...WAYPOINT, uid: 'w-2' }), GATEWAY], reason: /another UID/ },
  { name: 'ended pod', objects: [pod('shop', 'wp-1', { ...WAYPOINT, phase: 'Succeeded' }), GATEWAY], reason: /has ended/ },
  { name: 'failed pod', objects: [pod('shop', 'wp-1', { ...WAYPOINT, phase: 'Failed' }), GATEWAY], reason: /has ended/ },
  { name: 'pod on no node', objects: [pod('shop', 'wp-1', { ...WAYPOINT, node: '' }), GATEWAY], reason: /is on no node/ },
  { name: 'pod on another node', objects: [pod('shop', 'wp-1', { ...WAYPOINT, node: 'node-2' }), GATEWAY], reason: /another node/ },
  {
    name: 'pod of another account than the token',
    objects: [pod('shop', 'wp-1', { ...WAYPOINT, serviceAccount: 'cart' }), GATEWAY],
    reason: /another account than the token/,
  },
  {
    name: 'labelled pod of an app’s account',
    objects: [pod('shop', 'wp-1', { ...WAYPOINT, serviceAccount: 'cart' }), GATEWAY],
    user: { ...USER, serviceAccount: 'cart' },
    reason: /waypoint shop\/wp runs as another account/,
  },
  { name: 'no label', objects: [pod('shop', 'wp-1', { ...WAYPOINT, labels: {} }), GATEWAY], reason: /is no pod of a waypoint/ },
  { name: 'no Gateway', objects: [pod('shop', 'wp-1', WAYPOINT)], reason: /Gateway shop\/wp does not exist/ },
  {
    name: 'Gateway of that name in another namespace only',
    objects: [pod('shop', 'wp-1', WAYPOINT), gateway('bank', 'wp')],
    reason: /Gateway shop\/wp does not exist/,
  },
  {
    name: 'Gateway of another name only',
    objects: [pod('shop', 'wp-1', WAYPOINT), gateway('shop', 'other')],
    reason: /Gateway shop\/wp does not exist/,
  },
  {
    name: 'Gateway of another class',
    objects: [pod('shop', 'wp-1', WAYPOINT), gateway('shop', 'wp', 'istio')],
    reason: /Gateway shop\/wp is no waypoint/,
  },
  {
    name: 'label that names a Gateway of another namespace',
    objects: [pod('shop', 'wp-1', { ...WAYPOINT, labels: { [LABEL]: 'bank/wp' } }), gateway('bank', 'wp')],
    reason: /does not exist/,
  },
]

async function signed(
  objects: readonly MeshObject[],
  impersonated: string | undefined,
  more: { user?: object; token?: string; read?: (context: ReturnType<typeof world>) => void } = {},
) {
  const context = world(objects, more.user)
  const { authority } = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local', clock: systemClock })
  const { log, lines } = keptLog()
  const limit = new RateLimit({ burst: 9, perSecond: 1, clock: systemClock })
  const options: SignOptions = { ...context.check, authority: () => authority, trustDomain: 'cluster.local', clusterId: 'one', limit, log }
  const { csrPem } = await createCsr({ id: 'spiffe://cluster.local/ns/bank/sa/vault' as SpiffeId })
  const read = () => {
    more.read?.(context)
    return Promise.resolve(success({ csrPem, impersonated, lifeMs: 0 }))
  }
  const chain = await sign({ token: more.token ?? 'good', peer: '10.244.1.9:1', clusterId: undefined, read }, options)
  const leaf = typeof chain === 'string' ? undefined : new X509Certificate(chain[0] ?? '').subjectAltName
  return { leaf, audit: lines.find(({ message }) => message.startsWith('certificate ')) }
}

describe('controlplane/ca/caller', () => {
  const GOOD = [pod('shop', 'wp-1', WAYPOINT), GATEWAY, ZTUNNEL, pod('shop', 'cart-1', { serviceAccount: 'cart' })]

  for (const name of ['istio-waypoint', 'weft-waypoint']) {
    it(`admits a pod of a ${name}`, async () => {
      const found = await checkCaller('good', world([pod('shop', 'wp-1', WAYPOINT), gateway('shop', 'wp', name)]).check)
      assert.ok(found.ok)
      assert.deepEqual(found.value, {
        kind: 'waypoint',
        gateway: 'shop/wp',
        namespace: 'shop',
        serviceAccount: 'wp',
        podName: 'wp-1',
        podUid: 'w-1',
        node: 'node-1',
      })
    })
  }

  for (const { name, objects, user, token, reason } of FORGED) {
    it(`refuses and audits: ${name}`, async () => {
      const found = await checkCaller(token ?? 'good', world(objects, user).check)
      assert.ok(!found.ok)
      assert.match(found.errors.join('; '), reason)
      const { leaf, audit } = await signed(objects, undefined, { ...(user && { user }), ...(token && { token }) })
      assert.equal(leaf, undefined)
      assert.equal(audit?.message, 'certificate refused')
      assert.match(String(audit.fields.reason), reason)
    })
  }

  it('keeps a node’s proxy a node’s proxy, whatever its pod is labelled', async () => {
    const labelled = pod('weft-system', 'ztunnel-node-1', { uid: 'z-1', serviceAccount: 'ztunnel', labels: { [LABEL]: 'ztunnel' } })
    const found = await checkCaller('good', world([labelled, gateway('weft-system', 'ztunnel')], NODE_USER).check)
    assert.ok(found.ok)
    assert.equal(found.value.kind, 'node')
  })

  it('signs for a waypoint its own identity, whatever the request names', async () => {
    for (const impersonated of [undefined, OWN]) {
      const { leaf, audit } = await signed(GOOD, impersonated)
      assert.equal(leaf, `URI:${OWN}`)
      assert.deepEqual([audit?.fields.id, audit?.fields.caller, audit?.fields.kind], [OWN, 'shop/wp-1', 'waypoint'])
    }
  })

  const OTHERS = [
    { name: 'a pod of its node', id: 'spiffe://cluster.local/ns/shop/sa/cart' },
    { name: 'the node’s proxy', id: 'spiffe://cluster.local/ns/weft-system/sa/ztunnel' },
    { name: 'its account in another namespace', id: 'spiffe://cluster.local/ns/bank/sa/wp' },
    { name: 'its account in another trust domain', id: 'spiffe://evil.example/ns/shop/sa/wp' },
  ]
  for (const { name, id } of OTHERS) {
    it(`refuses a waypoint the identity of ${name}`, async () => {
      const { leaf, audit } = await signed(GOOD, id)
      assert.equal(leaf, undefined)
      assert.match(String(audit?.fields.reason), /its own identity only/)
    })
  }

  it('refuses a waypoint whose pod goes while its request is read, though its account still runs on the node', async () => {
    const second = pod('shop', 'wp-2', { ...WAYPOINT, uid: 'w-2' })
    const { leaf, audit } = await signed([...GOOD, second], undefined, {
      read: ({ pods }) => pods.apply({ type: 'DELETED', object: pod('shop', 'wp-1', WAYPOINT) }),
    })
    assert.equal(leaf, undefined)
    assert.match(String(audit?.fields.reason), /has just gone/)
  })

  const DEMANDS: readonly { name: string; user: object; typeUrl: string; asks: string | undefined; may: boolean }[] = [
    { name: 'waypoint, all addresses', user: USER, typeUrl: ADDRESS_TYPE, asks: '*', may: true },
    { name: 'waypoint, all policies', user: USER, typeUrl: AUTHORIZATION_TYPE, asks: '*', may: true },
    { name: 'waypoint, networks', user: USER, typeUrl: NETWORKS_TYPE, asks: '*', may: true },
    { name: 'waypoint, its listeners', user: USER, typeUrl: LISTENER_TYPE, asks: 'gateway/shop/wp', may: true },
    { name: 'waypoint, its backends', user: USER, typeUrl: BACKEND_TYPE, asks: 'gateway/shop/wp', may: true },
    { name: 'waypoint, listeners without a name yet', user: USER, typeUrl: LISTENER_TYPE, asks: undefined, may: true },
    { name: 'waypoint, all listeners', user: USER, typeUrl: LISTENER_TYPE, asks: '*', may: false },
    { name: 'waypoint, listeners of another gateway', user: USER, typeUrl: LISTENER_TYPE, asks: 'gateway/shop/wp2', may: false },
    { name: 'waypoint, backends of another namespace', user: USER, typeUrl: BACKEND_TYPE, asks: 'gateway/bank/wp', may: false },
    { name: 'waypoint, one backend by name', user: USER, typeUrl: BACKEND_TYPE, asks: 'bank/vault.bank.svc.cluster.local', may: false },
    { name: 'waypoint, one listener by name', user: USER, typeUrl: LISTENER_TYPE, asks: 'bank/wp/bank/vault/80', may: false },
    { name: 'waypoint, a kind made later', user: USER, typeUrl: 'type.googleapis.com/weft.x.v1.Secret', asks: '*', may: false },
    { name: 'node, all addresses', user: NODE_USER, typeUrl: ADDRESS_TYPE, asks: '*', may: true },
    { name: 'node, an address', user: NODE_USER, typeUrl: ADDRESS_TYPE, asks: '/10.0.0.1', may: true },
    { name: 'node, all listeners', user: NODE_USER, typeUrl: LISTENER_TYPE, asks: '*', may: false },
    { name: 'node, listeners of a gateway', user: NODE_USER, typeUrl: LISTENER_TYPE, asks: 'gateway/shop/wp', may: false },
    { name: 'node, listeners without a name', user: NODE_USER, typeUrl: LISTENER_TYPE, asks: undefined, may: false },
    { name: 'node, backends of a gateway', user: NODE_USER, typeUrl: BACKEND_TYPE, asks: 'gateway/shop/wp', may: false },
  ]
  for (const { name, user, typeUrl, asks, may } of DEMANDS) {
    it(`${may ? 'permits' : 'does not permit'}: ${name}`, async () => {
      const found = await checkCaller('good', world(GOOD, user).check)
      assert.ok(found.ok)
      assert.equal(xdsCallerOf(found.value).mayDemand(typeUrl, asks), may)
    })
  }

  const NODE_POD = { uid: 'z-1', serviceAccount: 'ztunnel' }
  const RELABELLED = { ...WAYPOINT, labels: { [LABEL]: 'wp2' } }
  const LAPSES: readonly {
    name: string
    user: object
    changed: readonly MeshObject[]
    gone?: readonly MeshObject[]
    reason: RegExp | undefined
  }[] = [
    { name: 'nothing changes', user: NODE_USER, changed: [], reason: undefined },
    { name: 'nothing changes for a waypoint', user: USER, changed: [], reason: undefined },
    {
      name: "a node's pod is written again",
      user: NODE_USER,
      changed: [pod('weft-system', 'ztunnel-node-1', NODE_POD)],
      reason: undefined,
    },
    { name: "a node's pod is gone", user: NODE_USER, changed: [], gone: [ZTUNNEL], reason: /pod is gone/ },
    {
      name: 'another pod has its name',
      user: NODE_USER,
      changed: [pod('weft-system', 'ztunnel-node-1', { ...NODE_POD, uid: 'z-2' })],
      reason: /pod is gone/,
    },
    {
      name: 'its pod has ended',
      user: NODE_USER,
      changed: [pod('weft-system', 'ztunnel-node-1', { ...NODE_POD, phase: 'Failed' })],
      reason: /pod is gone/,
    },
    { name: "a waypoint's pod is gone", user: USER, changed: [], gone: [pod('shop', 'wp-1', WAYPOINT)], reason: /pod is gone/ },
    { name: 'its Gateway is gone', user: USER, changed: [], gone: [GATEWAY], reason: /does not exist/ },
    { name: 'its Gateway is no waypoint any more', user: USER, changed: [gateway('shop', 'wp', 'other')], reason: /no waypoint/ },
    {
      name: 'its label names a Gateway that is not there',
      user: USER,
      changed: [pod('shop', 'wp-1', RELABELLED)],
      reason: /does not exist/,
    },
  ]
  for (const { name, user, changed, gone = [], reason } of LAPSES) {
    it(`${reason === undefined ? 'goes on to serve' : 'serves no longer'}: ${name}`, async () => {
      const { source, pods, check } = world(GOOD, user)
      const admitted = await admitCaller('good', check, systemClock)
      assert.ok(admitted.ok)
      source.apply(...changed)
      for (const object of gone) source.delete(object)
      for (const object of changed) pods.apply({ type: 'MODIFIED', object })
      for (const object of gone) pods.apply({ type: 'DELETED', object })
      const found = admitted.value.lapse?.()
      if (reason === undefined) assert.equal(found, undefined)
      else assert.match(found ?? 'served', reason)
    })
  }

  for (const { name, lifeMs, servedMs } of [
    { name: 'until its token expires', lifeMs: 600_000, servedMs: 600_000 },
    { name: 'for a minute when the clock says that the token had expired already', lifeMs: -5_000, servedMs: 60_000 },
    { name: 'for as long as its pod is there when the token says nothing', lifeMs: undefined, servedMs: undefined },
  ]) {
    it(`serves a caller ${name}`, async () => {
      const clock = new FakeClock(1_790_000_000_000)
      const { source, check } = world(GOOD, NODE_USER)
      const claims = lifeMs === undefined ? {} : { exp: (clock.nowMs() + lifeMs) / 1000 }
      const token = `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.x`
      source.tokens.set(token, { audience: 'istio-ca', status: { authenticated: true, user: NODE_USER } })
      const admitted = await admitCaller(token, check, clock)
      assert.ok(admitted.ok)
      await clock.advance((servedMs ?? 86_400_000) - 1)
      assert.equal(admitted.value.lapse?.(), undefined)
      await clock.advance(1)
      assert.equal(admitted.value.lapse?.(), servedMs === undefined ? undefined : 'its token has expired')
    })
  }
})
