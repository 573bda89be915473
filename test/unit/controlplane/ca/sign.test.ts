// Who gets a certificate: one legal request, and every forged one refused; each refusal is audited and tells the caller nothing.
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { describe, it } from 'mocha'
import { CertificateAuthority } from '../../../../certs/ca.ts'
import { createCsr } from '../../../../certs/csr.ts'
import { PodIndex } from '../../../../controlplane/ca/pod-index.ts'
import { sign, type SignAnswer, type SignBody, type SignOptions, type SignRequest } from '../../../../controlplane/ca/sign.ts'
import { RateLimit } from '../../../../controlplane/rate.ts'
import { systemClock } from '../../../../kit/clock.ts'
import { success } from '../../../../kit/error.ts'
import type { SpiffeId } from '../../../../model/identity.ts'
import type { Gateway } from '../../../../model/gateway-api.ts'
import type { MeshObject, Pod } from '../../../../model/object.ts'
import { FakeSource, pod } from '../../../support/fake-source.ts'
import { keptLog } from '../../../support/xds-pair.ts'

const CART = 'spiffe://cluster.local/ns/shop/sa/cart'
const USER = { namespace: 'weft-system', serviceAccount: 'ztunnel', podName: 'ztunnel-node-1', podUid: 'z-1', nodeName: 'node-1' }
const ZTUNNEL = pod('weft-system', 'ztunnel-node-1', { uid: 'z-1', serviceAccount: 'ztunnel', ip: '172.30.0.11' })
const CART_POD = pod('shop', 'cart-1', { serviceAccount: 'cart' })

interface Case {
  readonly name: string
  readonly request?: Given
  /** Objects that are there, besides nothing; default: the node's proxy and one cart pod on node-1. */
  readonly objects?: readonly MeshObject[]
  readonly user?: Partial<typeof USER>
  readonly reason: RegExp
}

async function world(objects: readonly MeshObject[], user: Partial<typeof USER> | undefined) {
  const source = new FakeSource()
  source.apply(...objects)
  const pods = new PodIndex()
  pods.fill(source.objects('pods') as Iterable<Pod>)
  source.tokens.set('good', { audience: 'istio-ca', status: { authenticated: true, user: { ...USER, ...user } } })
  source.tokens.set('other-audience', { audience: 'https://kubernetes.default.svc', status: { authenticated: true, user: USER } })
  source.tokens.set('expired', { audience: 'istio-ca', status: { authenticated: false, error: 'token has expired' } })
  const { authority } = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local', clock: systemClock })
  const { log, lines } = keptLog()
  const options: SignOptions = {
    pods,
    trustedAccounts: new Set(['weft-system/ztunnel']),
    gateways: () => source.objects('gateways') as Iterable<Gateway>,
    reviewToken: (token, audience) => source.reviewToken(token, audience),
    authority: () => authority,
    trustDomain: 'cluster.local',
    clusterId: 'one',
    limit: new RateLimit({ burst: 100, perSecond: 1, clock: systemClock }),
    log,
  }
  return { options, lines, pods }
}

type Given = Partial<SignBody & Pick<SignRequest, 'token'>>

async function request(more: Given = {}): Promise<SignRequest & { readonly reads: number }> {
  const { csrPem } = await createCsr({ id: CART as SpiffeId })
  const { token, ...body } = { token: 'good', csrPem, impersonated: CART, lifeMs: 3_600_000, ...more }
  return {
    token,
    peer: '172.30.0.11:5',
    clusterId: undefined,
    reads: 0,
    read() {
      ;(this as { reads: number }).reads++
      return Promise.resolve(success(body))
    },
  }
}

function leafOf(chain: SignAnswer): X509Certificate {
  assert.ok(typeof chain !== 'string')
  return new X509Certificate(chain[0] ?? '')
}

const FORGED: readonly Case[] = [
  { name: 'no token', request: { token: undefined }, reason: /no bearer token/ },
  { name: 'tampered token', request: { token: 'goad' }, reason: /bad signature/ },
  { name: 'expired token', request: { token: 'expired' }, reason: /expired/ },
  { name: 'wrong audience', request: { token: 'other-audience' }, reason: /wrong audience/ },
  {
    name: 'account of an app',
    user: { namespace: 'shop', serviceAccount: 'cart', podName: 'cart-1', podUid: 'uid-2' },
    reason: /shop\/cart is not a trusted/,
  },
  { name: 'trusted name in another namespace', user: { namespace: 'shop' }, reason: /shop\/ztunnel is not a trusted/ },
  { name: 'token without a pod', user: { podName: undefined as unknown as string }, reason: /not bound to a pod/ },
  { name: 'token without the pod UID', user: { podUid: undefined as unknown as string }, reason: /not bound to a pod/ },
  { name: 'pod deleted', objects: [CART_POD], reason: /does not exist/ },
  { name: 'pod made again under its name', user: { podUid: 'z-0' }, reason: /another UID/ },
  {
    name: 'pod with another account',
    objects: [pod('weft-system', 'ztunnel-node-1', { uid: 'z-1', serviceAccount: 'x' }), CART_POD],
    reason: /another account/,
  },
  {
    name: 'failed proxy pod',
    objects: [pod('weft-system', 'ztunnel-node-1', { uid: 'z-1', serviceAccount: 'ztunnel', phase: 'Failed' }), CART_POD],
    reason: /has ended/,
  },
  { name: 'token of another node', user: { nodeName: 'node-2' }, reason: /another node/ },
  {
    name: 'proxy on no node',
    objects: [pod('weft-system', 'ztunnel-node-1', { uid: 'z-1', serviceAccount: 'ztunnel', node: '' }), CART_POD],
    reason: /on no node/,
  },
  {
    name: 'identity not on the node',
    objects: [ZTUNNEL, pod('shop', 'cart-1', { serviceAccount: 'cart', node: 'node-2' })],
    reason: /no pod of the identity/,
  },
  { name: 'identity of nobody', objects: [ZTUNNEL], reason: /no pod of the identity/ },
  {
    name: 'only a failed pod',
    objects: [ZTUNNEL, pod('shop', 'cart-1', { serviceAccount: 'cart', phase: 'Failed' })],
    reason: /no pod of the identity/,
  },
  {
    name: 'only a finished pod',
    objects: [ZTUNNEL, pod('shop', 'cart-1', { serviceAccount: 'cart', phase: 'Succeeded' })],
    reason: /no pod of the identity/,
  },
  {
    name: 'not scheduled yet',
    objects: [ZTUNNEL, pod('shop', 'cart-1', { serviceAccount: 'cart', node: '' })],
    reason: /no pod of the identity/,
  },
  {
    name: 'another account of the namespace',
    request: { impersonated: 'spiffe://cluster.local/ns/shop/sa/admin' },
    reason: /no pod of the identity/,
  },
  { name: 'another namespace', request: { impersonated: 'spiffe://cluster.local/ns/bank/sa/cart' }, reason: /no pod of the identity/ },
  { name: 'another trust domain', request: { impersonated: 'spiffe://evil.example/ns/shop/sa/cart' }, reason: /another trust domain/ },
  { name: 'trust domain itself', request: { impersonated: 'spiffe://cluster.local' }, reason: /path/ },
  { name: 'path with more segments', request: { impersonated: `${CART}/x` }, reason: /path/ },
  { name: 'path with dots', request: { impersonated: 'spiffe://cluster.local/ns/../sa/cart' }, reason: /path/ },
  { name: 'encoded path', request: { impersonated: 'spiffe://cluster.local/ns/shop/sa/%63art' }, reason: /path/ },
  { name: 'no SPIFFE ID', request: { impersonated: '' }, reason: /SPIFFE/ },
  { name: 'request of 64 KiB', request: { csrPem: `-----BEGIN CERTIFICATE REQUEST-----\n${'A'.repeat(65_536)}` }, reason: /.+/ },
  { name: 'no request at all', request: { csrPem: '' }, reason: /.+/ },
  {
    name: 'request that is noise',
    request: { csrPem: '-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n' },
    reason: /.+/,
  },
]

describe('controlplane/ca/sign', () => {
  it('signs for a pod on the caller’s node, with that identity only', async () => {
    const { options, lines } = await world([ZTUNNEL, CART_POD], {})
    const chain = await sign(await request(), options)
    const leaf = leafOf(chain)
    assert.equal(leaf.subjectAltName, `URI:${CART}`)
    assert.equal(leaf.subject ?? '', '')
    assert.equal(chain?.at(-1), options.authority().rootsPem)
    assert.ok(leaf.verify(new X509Certificate(options.authority().rootsPem).publicKey))
    const audit = lines.find(({ message }) => message === 'certificate issued')
    assert.equal(audit?.fields.id, CART)
    assert.equal(audit?.fields.caller, 'weft-system/ztunnel-node-1')
    assert.equal(audit?.fields.node, 'node-1')
  })

  it('gives the proxy its own identity when it asks for no other', async () => {
    const { options } = await world([ZTUNNEL, CART_POD], {})
    const leaf = leafOf(await sign(await request({ impersonated: undefined }), options))
    assert.equal(leaf.subjectAltName, 'URI:spiffe://cluster.local/ns/weft-system/sa/ztunnel')
  })

  it('ignores the names that the request asks for', async () => {
    const { options } = await world([ZTUNNEL, CART_POD], {})
    const { csrPem } = await createCsr({ id: 'spiffe://cluster.local/ns/bank/sa/vault' as SpiffeId })
    assert.equal(leafOf(await sign(await request({ csrPem }), options)).subjectAltName, `URI:${CART}`)
  })

  it('clamps the life to the longest, and takes the default for none or nonsense', async () => {
    const { options } = await world([ZTUNNEL, CART_POD], {})
    for (const lifeMs of [10 * 365 * 86_400_000, 0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      const leaf = leafOf(await sign(await request({ lifeMs }), options))
      const life = Date.parse(leaf.validTo) - Date.now()
      assert.ok(life > 86_300_000 && life < 86_500_000, `${lifeMs} gave ${life}`)
    }
  })

  for (const { name, objects, user, request: more, reason } of FORGED) {
    it(`refuses: ${name}`, async () => {
      const { options, lines } = await world(objects ?? [ZTUNNEL, CART_POD], user)
      assert.equal(await sign(await request(more), options), 'refused')
      const audit = lines.find(({ message }) => message === 'certificate refused')
      assert.ok(audit, 'an audit line')
      assert.match(String(audit.fields.reason), reason)
      assert.ok(!lines.some(({ message }) => message === 'certificate issued'))
    })
  }

  it('refuses a request whose signature is not by its key', async () => {
    const { options, lines } = await world([ZTUNNEL, CART_POD], {})
    const { csrPem } = await createCsr({ id: CART as SpiffeId })
    const der = Buffer.from(csrPem.replace(/-----[^-]+-----/g, ''), 'base64')
    der[der.length - 2] = (der[der.length - 2] ?? 0) ^ 1
    const forged = `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`
    assert.equal(await sign(await request({ csrPem: forged }), options), 'refused')
    assert.ok(lines.some(({ message }) => message === 'certificate refused'))
  })

  it('stops with the last pod and begins with the first, at once', async () => {
    const { options, pods } = await world([ZTUNNEL], {})
    const cart = CART_POD as Pod
    const moved = { ...cart, spec: { ...cart.spec, nodeName: 'node-2', containers: [] } } as Pod
    for (let i = 0; i < 20; i++) {
      pods.apply({ type: 'ADDED', object: cart })
      assert.notEqual(await sign(await request(), options), 'refused')
      pods.apply(i % 2 === 0 ? { type: 'DELETED', object: cart } : { type: 'MODIFIED', object: moved })
      assert.equal(await sign(await request(), options), 'refused')
    }
  })

  it('reads nothing of a request before its caller is known', async () => {
    const { options } = await world([ZTUNNEL, CART_POD], {})
    const strange = await request({ token: 'goad' })
    assert.equal(await sign(strange, options), 'refused')
    assert.equal(strange.reads, 0)
  })

  it('a caller that floods is put off, told of once, and its neighbours are not', async () => {
    const { options, lines } = await world(
      [ZTUNNEL, CART_POD, pod('weft-system', 'ztunnel-b', { uid: 'z-2', serviceAccount: 'ztunnel' })],
      {},
    )
    const limit = new RateLimit({ burst: 3, perSecond: 0.001, clock: systemClock })
    const limited: SignOptions = { ...options, limit }
    const answers = []
    for (let i = 0; i < 8; i++) answers.push(await sign(await request(), limited))
    assert.deepEqual(
      answers.map((answer) => (typeof answer === 'string' ? answer : 'issued')),
      ['issued', 'issued', 'issued', 'busy', 'busy', 'busy', 'busy', 'busy'],
    )
    const told = lines.filter(({ fields }) => fields.reason === 'too many requests of this caller')
    assert.deepEqual(
      told.map(({ fields }) => [fields.callerUid, fields.count]),
      [['z-1', 1]],
    )
    const neighbour = { authenticated: true, user: { ...USER, podName: 'ztunnel-b', podUid: 'z-2' } }
    leafOf(await sign(await request(), { ...limited, reviewToken: () => Promise.resolve(neighbour) }))
  })

  it('refuses when nobody can be asked about the token', async () => {
    const { options, lines } = await world([ZTUNNEL, CART_POD], {})
    const broken: SignOptions = { ...options, reviewToken: () => Promise.reject(new Error('connection refused')) }
    assert.equal(await sign(await request(), broken), 'refused')
    assert.match(String(lines[0]?.fields.reason), /cannot be reviewed/)
  })
})
