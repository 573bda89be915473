// PeerAdmission over real TLS handshakes, as server and as client: who is let in, who is refused, and with which code.
// The matrix of broken certificates is in svid.test.ts; here are the questions that need a handshake or a bundle.
import assert from 'node:assert/strict'
import { makeBundle, parseBundle, parseRoots } from '../../../certs/bundle.ts'
import type { TrustBundle } from '../../../certs/bundle.ts'
import type { CertificateAuthority } from '../../../certs/ca.ts'
import { PeerAdmission } from '../../../certs/peer.ts'
import type { Admission } from '../../../certs/peer.ts'
import { systemClock } from '../../../kit/clock.ts'
import { credentialsOf, idOf, newCa, newLeaf, newSigner, workloadCredentials } from '../../support/certificates.ts'
import type { Credentials, Signer } from '../../support/certificates.ts'
import { handshake } from '../../support/peer-handshake.ts'

function bundleOf(entries: Record<string, readonly (CertificateAuthority | Signer)[]>): TrustBundle {
  const pemOf = (one: CertificateAuthority | Signer): string => ('rootsPem' in one ? one.rootsPem : `${one.certificate.toString('pem')}\n`)
  const bundle = makeBundle(
    Object.entries(entries).map(([domain, list]) => {
      const roots = parseRoots(list.map(pemOf).join(''))
      assert.ok(roots.ok)
      return [domain, roots.value]
    }),
  )
  assert.ok(bundle.ok)
  return bundle.value
}

const codeOf = (verdict: Admission): string => (verdict.ok ? 'admitted' : verdict.code)

describe('certs/peer', () => {
  let ca: CertificateAuthority
  let bundle: TrustBundle
  let server: Credentials
  let client: Credentials
  before(async () => {
    ca = await newCa()
    bundle = bundleOf({ 'cluster.local': [ca] })
    server = await workloadCredentials(ca, idOf('server'))
    client = await workloadCredentials(ca, idOf('client'))
  })

  for (const decides of ['server', 'client'] as const) {
    it(`as ${decides}: admits a peer of the same CA and names its identity`, async () => {
      const verdict = await handshake({ server, client, bundle, decides, expected: { trustDomain: 'cluster.local' } })
      assert.ok(verdict.ok, JSON.stringify(verdict))
      const name = decides === 'server' ? 'client' : 'server'
      const { id, namespace, serviceAccount, trustDomain } = verdict.value
      assert.deepEqual(
        { id, namespace, serviceAccount, trustDomain },
        { id: idOf(name), namespace: 'shop', serviceAccount: name, trustDomain: 'cluster.local' },
      )
      assert.match(verdict.value.certSha256, /^[0-9a-f]{64}$/)
    })

    it(`as ${decides}: refuses a certificate of another CA that names the same domain`, async () => {
      const other = await newCa()
      const theirs = await workloadCredentials(other, decides === 'server' ? idOf('client') : idOf('server'))
      const parts = decides === 'server' ? { server, client: theirs } : { server: theirs, client }
      assert.equal(codeOf(await handshake({ ...parts, bundle, decides })), 'UNTRUSTED')
    })

    it(`as ${decides}: refuses an identity that was not expected`, async () => {
      assert.equal(codeOf(await handshake({ server, client, bundle, decides, expected: { ids: [idOf('other')] } })), 'UNEXPECTED_IDENTITY')
    })

    it(`as ${decides}: refuses another trust domain than the expected`, async () => {
      assert.equal(
        codeOf(await handshake({ server, client, bundle, decides, expected: { trustDomain: 'other.example' } })),
        'WRONG_TRUST_DOMAIN',
      )
    })

    it(`as ${decides}: refuses everybody when the bundle has no root`, async () => {
      assert.equal(codeOf(await handshake({ server, client, bundle: bundleOf({ 'cluster.local': [] }), decides })), 'UNTRUSTED')
    })
  }

  it('refuses a peer without certificate', async () => {
    assert.equal(codeOf(await handshake({ server, client: undefined, bundle, decides: 'server' })), 'NO_CERTIFICATE')
  })

  it('refuses an ID of a domain that the root does not stand for', async () => {
    const root = await newSigner({ name: 'of a.example' })
    const leaf = await newLeaf(root, { uris: [idOf('client', 'b.example')] })
    const two = bundleOf({ 'a.example': [root], 'b.example': [await newSigner({ name: 'of b.example' })] })
    assert.equal(codeOf(await handshake({ server, client: await credentialsOf(leaf), bundle: two, decides: 'server' })), 'UNTRUSTED')
    const own = await newLeaf(root, { uris: [idOf('client', 'a.example')] })
    assert.equal(codeOf(await handshake({ server, client: await credentialsOf(own), bundle: two, decides: 'server' })), 'admitted')
  })

  it('is not misled by a namesake of the other domain’s root', async () => {
    // Same subject name, other key: a chain that is put together by names would end at the wrong root.
    const [a, b] = [await newSigner({ name: 'mesh root' }), await newSigner({ name: 'mesh root' })]
    const two = bundleOf({ 'a.example': [a], 'b.example': [b] })
    const forged = await credentialsOf(await newLeaf(a, { uris: [idOf('client', 'b.example')] }), [b])
    assert.equal(codeOf(await handshake({ server, client: forged, bundle: two, decides: 'server' })), 'UNTRUSTED')
    const honest = await credentialsOf(await newLeaf(b, { uris: [idOf('client', 'b.example')] }))
    assert.equal(codeOf(await handshake({ server, client: honest, bundle: two, decides: 'server' })), 'admitted')
  })

  it('refuses a leaf whose intermediate is signed by roots of two domains', async () => {
    const [a, b] = [await newSigner({ name: 'a root' }), await newSigner({ name: 'b root' })]
    const ofA = await newSigner({ name: 'shared', issuer: a })
    const ofB = await newSigner({ name: 'shared', issuer: b, keys: ofA.keys })
    const two = bundleOf({ 'a.example': [a], 'b.example': [b] })
    const leaf = await newLeaf(ofA, { uris: [idOf('client', 'b.example')] })
    assert.equal(
      codeOf(await handshake({ server, client: await credentialsOf(leaf, [ofA, ofB]), bundle: two, decides: 'server' })),
      'UNTRUSTED',
    )
    assert.equal(codeOf(await handshake({ server, client: await credentialsOf(leaf, [ofB]), bundle: two, decides: 'server' })), 'admitted')
  })

  it('admits through intermediates, and refuses more than eight', async () => {
    const root = await newSigner()
    const chain: Signer[] = []
    for (let i = 0; i < 9; i++) chain.unshift(await newSigner({ name: `intermediate ${i}`, issuer: chain[0] ?? root }))
    const one = bundleOf({ 'cluster.local': [root] })
    const short = await credentialsOf(await newLeaf(chain[8]!), [chain[8]!])
    assert.equal(codeOf(await handshake({ server, client: short, bundle: one, decides: 'server' })), 'admitted')
    const eight = await credentialsOf(await newLeaf(chain[1]!), chain.slice(1))
    assert.equal(codeOf(await handshake({ server, client: eight, bundle: one, decides: 'server' })), 'admitted')
    const long = await credentialsOf(await newLeaf(chain[0]!), chain)
    assert.equal(codeOf(await handshake({ server, client: long, bundle: one, decides: 'server' })), 'UNTRUSTED')
  })

  it('honours pathLenConstraint', async () => {
    const root = await newSigner({ pathLength: 0 })
    const below = await newSigner({ name: 'too deep', issuer: root })
    const client = await credentialsOf(await newLeaf(below), [below])
    assert.equal(codeOf(await handshake({ server, client, bundle: bundleOf({ 'cluster.local': [root] }), decides: 'server' })), 'UNTRUSTED')
  })

  it('refuses an expired certificate by OpenSSL’s clock and by the injected one', async () => {
    const hour = 3_600_000
    const past = { ...systemClock, nowMs: () => Date.now() - 48 * hour }
    const old = await newCa('cluster.local', past)
    const expired = await workloadCredentials(old, idOf('client'))
    assert.equal(
      codeOf(await handshake({ server, client: expired, bundle: bundleOf({ 'cluster.local': [old] }), decides: 'server' })),
      'EXPIRED',
    )
    const later = { ...systemClock, nowMs: () => Date.now() + 25 * hour }
    assert.equal(codeOf(await handshake({ server, client, bundle, decides: 'server', clock: later })), 'EXPIRED')
  })

  it('forgets a checked leaf when the bundle changes or the leaf expires', async () => {
    let now = Date.now()
    let current = bundle
    const admission = new PeerAdmission({ bundle: () => current, clock: { ...systemClock, nowMs: () => now } })
    const again = async (): Promise<string> => codeOf(await handshake({ server, client, bundle, decides: 'server', admission }))
    assert.equal(await again(), 'admitted')
    assert.equal(await again(), 'admitted')
    now += 25 * 3_600_000
    assert.equal(await again(), 'EXPIRED')
    now = Date.now()
    assert.equal(await again(), 'admitted')
    current = bundleOf({ 'cluster.local': [await newCa()] })
    assert.equal(await again(), 'UNTRUSTED') // OpenSSL still trusts the old root: the context was not replaced
  })

  it('trusts old and new root during a rotation', async () => {
    const next = await newCa()
    const both = bundleOf({ 'cluster.local': [ca, next] })
    const fresh = await workloadCredentials(next, idOf('client'))
    for (const shown of [client, fresh])
      assert.equal(codeOf(await handshake({ server, client: shown, bundle: both, decides: 'server' })), 'admitted')
  })
})

describe('certs/bundle', () => {
  it('reads several roots, each once, and writes them back', async () => {
    const [a, b] = [await newCa(), await newCa()]
    const bundle = parseBundle(a.rootsPem + b.rootsPem + a.rootsPem, 'cluster.local')
    assert.ok(bundle.ok)
    assert.equal(bundle.value.roots.get('cluster.local')?.length, 2)
    assert.equal(bundle.value.pem(), a.rootsPem + b.rootsPem)
    assert.equal(bundle.value.pem('other.example'), '')
  })

  it('takes empty text as: nobody is trusted', () => {
    const bundle = parseBundle('', 'cluster.local')
    assert.ok(bundle.ok)
    assert.equal(bundle.value.pem(), '')
  })

  it('refuses leaves, keys, broken PEM, bad trust domains and a domain named twice', async () => {
    const ca = await newCa()
    const { cert, key } = await workloadCredentials(ca, idOf('client'))
    for (const pem of [
      cert,
      key,
      ca.rootsPem.replace('END', 'ENDE'),
      ca.rootsPem.replace(/[A-Z]{4}\n/, '!!!!\n'),
      ca.rootsPem.slice(0, -10),
    ]) {
      assert.equal(parseBundle(pem, 'cluster.local').ok, false, pem)
    }
    assert.equal(parseBundle(ca.rootsPem, 'Cluster.Local').ok, false)
    const roots = parseRoots(ca.rootsPem)
    assert.ok(roots.ok)
    assert.equal(
      makeBundle([
        ['a', roots.value],
        ['a', []],
      ]).ok,
      false,
    )
  })
})
