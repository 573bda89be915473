// Forged certificate requests over the wire, to a control plane of three nodes: each differs from a legal one in one respect. Every one
// is refused or overridden and leaves one audit event; the legal one, asked in the same mesh just before, is answered each time.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'mocha'
import { CART_ID, csrOf, type Forgery, ForgeryStage, type Want } from '../../../support/forgery-stage.ts'
import { pod } from '../../../support/fake-source.ts'

interface Row {
  readonly name: string
  /** Makes the forged request; may change the mesh. */
  forge(stage: ForgeryStage): Promise<Forgery> | Forgery
  readonly want: Want
}

const refused = (reason: RegExp): Want => ({ reason })
const asks =
  (id: unknown): Row['forge'] =>
  () => ({ impersonated: id })
const claims =
  (more: Parameters<ForgeryStage['token']>[0]): Row['forge'] =>
  async (stage) => ({ token: await stage.token(more) })
const replaced =
  (more: Parameters<typeof pod>[2]): Row['forge'] =>
  (stage) => {
    stage.put(pod('weft-system', 'ztunnel-1', { uid: 'z-1', serviceAccount: 'ztunnel', node: 'node-1', ...more }))
    return {}
  }
const onlyCart =
  (more: Parameters<typeof pod>[2]): Row['forge'] =>
  (stage) => {
    stage.put(pod('shop', 'cart-1', { uid: 'c-1', serviceAccount: 'cart', ...more }))
    return {}
  }

const TOKENS: readonly Row[] = [
  { name: 'no token', forge: () => ({ token: undefined }), want: refused(/no bearer token/) },
  { name: 'an empty token', forge: () => ({ token: '' }), want: refused(/no bearer token|not good/) },
  { name: 'a token that is no JWT', forge: () => ({ token: 'good' }), want: refused(/not good/) },
  {
    name: 'a tampered signature',
    forge: async (stage) => ({ token: `${(await stage.token()).slice(0, -6)}AAAAAA` }),
    want: refused(/not good/),
  },
  {
    name: 'a later expiry written into the token',
    forge: (stage) => stage.swappedPayload({ exp: 4_000_000_000 }),
    want: refused(/not good/),
  },
  { name: 'another pod written into the token', forge: (stage) => stage.swappedPayload({ pod: 'ztunnel-2' }), want: refused(/not good/) },
  { name: 'a token of another cluster’s key', forge: claims({ key: 'foreign' }), want: refused(/not good/) },
  { name: 'a token without a signature', forge: (stage) => stage.unsigned(), want: refused(/not good/) },
  { name: 'an expired token', forge: claims({ lifeSeconds: -1 }), want: refused(/not good: .*exp/) },
  { name: 'a token that is not valid yet', forge: claims({ notBeforeSeconds: 600 }), want: refused(/not good: .*nbf/) },
  { name: 'the API server’s audience', forge: claims({ audience: 'https://kubernetes.default.svc' }), want: refused(/not good: .*aud/) },
  { name: 'no audience', forge: claims({ audience: '' }), want: refused(/not good/) },
  { name: 'a token of 20 KiB', forge: () => ({ token: 'a'.repeat(20_000) }), want: refused(/no bearer token/) },
]

const CALLERS: readonly Row[] = [
  {
    name: 'the app’s own token',
    forge: claims({ account: 'shop/cart', pod: 'cart-1', uid: 'c-1' }),
    want: refused(/shop\/cart is not a trusted/),
  },
  {
    name: 'ztunnel’s account in another namespace',
    forge: claims({ account: 'shop/ztunnel' }),
    want: refused(/shop\/ztunnel is not a trusted/),
  },
  { name: 'a token bound to nothing', forge: claims({ pod: undefined }), want: refused(/not bound to a pod/) },
  {
    name: 'a token of a pod that is gone',
    forge: (stage) => stage.remove('weft-system', 'ztunnel-1'),
    want: refused(/does not exist/),
  },
  { name: 'a token of a pod whose name has a successor', forge: replaced({ uid: 'z-9' }), want: refused(/another UID/) },
  { name: 'a proxy pod that runs as another account', forge: replaced({ serviceAccount: 'x' }), want: refused(/another account/) },
  { name: 'a failed proxy pod', forge: replaced({ phase: 'Failed' }), want: refused(/has ended/) },
  { name: 'a proxy pod that has finished', forge: replaced({ phase: 'Succeeded' }), want: refused(/has ended/) },
  { name: 'a proxy pod on no node', forge: replaced({ node: '' }), want: refused(/on no node/) },
  { name: 'a token of another node than the pod’s', forge: claims({ node: 'node-2' }), want: refused(/another node/) },
  { name: 'a caller of another cluster', forge: () => ({ clusterId: 'two' }), want: refused(/of cluster "two"/) },
  {
    name: 'the proxy of another node',
    forge: claims({ pod: 'ztunnel-2', uid: 'z-2', node: 'node-2' }),
    want: refused(/runs on node node-2/),
  },
]

const IDENTITIES: readonly Row[] = [
  {
    name: 'an identity whose pod is elsewhere',
    forge: onlyCart({ node: 'node-3' }),
    want: refused(/no pod of the identity runs on node node-1/),
  },
  {
    name: 'an identity whose pod is gone',
    forge: (stage) => stage.remove('shop', 'cart-1'),
    want: refused(/no pod of the identity/),
  },
  { name: 'an identity whose only pod has failed', forge: onlyCart({ phase: 'Failed' }), want: refused(/no pod of the identity/) },
  { name: 'an identity whose only pod has finished', forge: onlyCart({ phase: 'Succeeded' }), want: refused(/no pod of the identity/) },
  { name: 'an identity whose pod is not scheduled', forge: onlyCart({ node: '' }), want: refused(/no pod of the identity/) },
  {
    name: 'another account of the namespace',
    forge: asks('spiffe://cluster.local/ns/shop/sa/admin'),
    want: refused(/no pod of the identity/),
  },
  {
    name: 'the account in another namespace',
    forge: asks('spiffe://cluster.local/ns/bank/sa/cart'),
    want: refused(/no pod of the identity/),
  },
  { name: 'another trust domain', forge: asks('spiffe://evil.example/ns/shop/sa/cart'), want: refused(/another trust domain/) },
  { name: 'the trust domain in capitals', forge: asks('spiffe://CLUSTER.LOCAL/ns/shop/sa/cart'), want: refused(/trust domain/) },
  { name: 'the trust domain itself', forge: asks('spiffe://cluster.local'), want: refused(/path/) },
  { name: 'more path than an account', forge: asks(`${CART_ID}/x`), want: refused(/path/) },
  { name: 'dots in the path', forge: asks('spiffe://cluster.local/ns/shop/sa/../cart'), want: refused(/path/) },
  { name: 'an encoded path', forge: asks('spiffe://cluster.local/ns/shop/sa/%63art'), want: refused(/path/) },
  { name: 'NUL behind the account', forge: asks(`${CART_ID}\0`), want: refused(/path/) },
  { name: 'a query behind the account', forge: asks(`${CART_ID}?x`), want: refused(/path/) },
  { name: 'an ID of 2,049 bytes', forge: asks(CART_ID.padEnd(2049, 'x')), want: refused(/2048/) },
  { name: 'no ID at all', forge: asks(''), want: refused(/SPIFFE/) },
  { name: 'a number for an ID', forge: asks(7), want: refused(/not text/) },
]

const REQUESTS: readonly Row[] = [
  {
    name: 'a request of 64 KiB',
    forge: () => ({ csrPem: `-----BEGIN CERTIFICATE REQUEST-----\n${'A'.repeat(65_536)}` }),
    want: refused(/PEM/),
  },
  { name: 'a message of 1 MiB', forge: () => ({ csrPem: 'A'.repeat(1024 * 1024) }), want: refused(/.+/) },
  { name: 'no request', forge: () => ({ csrPem: '' }), want: refused(/CERTIFICATE REQUEST/) },
  { name: 'two requests in one', forge: async () => ({ csrPem: (await csrOf()) + (await csrOf()) }), want: refused(/CERTIFICATE REQUEST/) },
  {
    name: 'a certificate for a request',
    forge: async () => ({ csrPem: (await csrOf()).replaceAll(' REQUEST', '') }),
    want: refused(/CERTIFICATE REQUEST/),
  },
  { name: 'a request signed by another key', forge: async () => ({ csrPem: await csrOf({ isTampered: true }) }), want: refused(/request/) },
  { name: 'an RSA key of 1024 bits', forge: async () => ({ csrPem: await csrOf({ key: 'rsa-1024' }) }), want: refused(/2048/) },
  { name: 'an Ed25519 key', forge: async () => ({ csrPem: await csrOf({ key: 'ed25519' }) }), want: refused(/.+/) },
  {
    name: 'names of its own in the request',
    forge: async () => ({ csrPem: await csrOf({ san: 'spiffe://cluster.local/ns/bank/sa/vault' }) }),
    want: 'overridden',
  },
  { name: 'a request to be a CA', forge: async () => ({ csrPem: await csrOf({ isCa: true }) }), want: 'overridden' },
  {
    name: 'a subject in the request',
    forge: async () => ({ csrPem: await csrOf({ subject: 'CN=admin, O=system:masters' }) }),
    want: 'overridden',
  },
  { name: 'ten years', forge: () => ({ lifeSeconds: 10n * 365n * 86_400n }), want: 'overridden' },
  { name: 'less than no time', forge: () => ({ lifeSeconds: -5n }), want: 'overridden' },
]

describe('controlplane/ca/sign, forged requests', () => {
  let stage: ForgeryStage
  before(async () => {
    stage = await ForgeryStage.open()
  })
  after(() => stage[Symbol.dispose]())

  const ALL = [...TOKENS, ...CALLERS, ...IDENTITIES, ...REQUESTS]
  it('are more than forty', () => assert.ok(ALL.length >= 40, String(ALL.length)))

  for (const { name, forge, want } of ALL) {
    it(`${want === 'overridden' ? 'overrides' : 'refuses'} ${name}`, async () => {
      stage.reset()
      await stage.ask({}, 'as asked')
      await stage.ask(await forge(stage), want)
    })
  }
})
