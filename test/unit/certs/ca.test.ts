// The CA's rules: what it issues and for how long, whom it refuses, and which roots and intermediates it can be made from.
// The openssl command is the second opinion on chains.
import '../../../certs/x509.ts'
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import * as x509 from '@peculiar/x509'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CertificateAuthority, fromCacerts } from '../../../certs/ca.ts'
import type { CaMaterial } from '../../../certs/ca.ts'
import { checkCsr, createCsr } from '../../../certs/csr.ts'
import { checkSvid } from '../../../certs/svid.ts'
import { systemClock } from '../../../kit/clock.ts'
import { codeOf } from '../../../kit/error.ts'
import type { SpiffeId } from '../../../model/identity.ts'
import { idOf, materialOf, newCa, newKeys, newLeaf, newSigner } from '../../support/certificates.ts'
import type { Signer } from '../../support/certificates.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const HOUR_MS = 3_600_000
const ID = idOf('client')
const NOW = Date.UTC(2026, 0, 1, 12)

async function newPublicKey(): Promise<Uint8Array> {
  const csr = await checkCsr((await createCsr({ id: ID })).csrPem)
  assert.ok(csr.ok)
  return csr.value.publicKey
}

async function fromSigner(signer: Signer, chain: readonly Signer[], root: Signer): Promise<CertificateAuthority> {
  return CertificateAuthority.fromPem({ ...(await materialOf(signer, chain, root)), trustDomain: 'cluster.local', clock: systemClock })
}

/** `-x509_strict` also judges certificates above the leaf, which operators make. */
function opensslAccepts(rootsPem: string, chainPem: readonly string[], isStrict = true): void {
  const dir = mkdtempSync(join(tmpdir(), 'weft-ca-'))
  try {
    const file = (name: string, text: string): string => {
      writeFileSync(join(dir, name), text)
      return join(dir, name)
    }
    const [leaf = '', ...above] = chainPem
    const args = ['verify', ...(isStrict ? ['-x509_strict'] : []), '-purpose', 'sslclient', '-CAfile', file('roots', rootsPem)]
    execFileSync('openssl', [...args, ...(above.length === 0 ? [] : ['-untrusted', file('above', above.join(''))]), file('leaf', leaf)], {
      stdio: 'pipe',
    })
  } finally {
    rmSync(dir, { recursive: true })
  }
}

describe('certs/ca', () => {
  it('issues an SVID that openssl’s strict check and our own accept', async () => {
    const ca = await newCa()
    const issued = await ca.issue({ publicKey: await newPublicKey(), id: ID })
    opensslAccepts(ca.rootsPem, issued.chainPem)
    const leaf = new X509Certificate(issued.chainPem[0]!)
    const svid = checkSvid(leaf.raw, new Date())
    assert.ok(svid.ok)
    assert.equal(svid.value.id, ID)
    assert.equal(leaf.subject, undefined) // empty
    assert.equal(leaf.serialNumber.toLowerCase(), issued.serial)
    const parsed = new x509.X509Certificate(leaf.raw)
    assert.equal(
      parsed.getExtension(x509.KeyUsagesExtension)?.usages,
      x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment,
    )
    assert.deepEqual([...(parsed.getExtension(x509.ExtendedKeyUsageExtension)?.usages ?? [])], ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'])
    assert.deepEqual(
      Array.from(parsed.extensions, (one) => (one.critical ? one.type : '')).filter((type) => type !== ''),
      ['2.5.29.19', '2.5.29.15', '2.5.29.17'],
    )
  })

  it('draws serial numbers of 126 random bits, positive and each its own', async () => {
    const ca = await newCa()
    const publicKey = await newPublicKey()
    const serials = new Set<string>()
    const ones = new Array<number>(128).fill(0)
    for (let i = 0; i < 200; i++) {
      const { serial } = await ca.issue({ publicKey, id: ID })
      assert.match(serial, /^[4-7][0-9a-f]{31}$/)
      serials.add(serial)
      for (let bit = 0; bit < 128; bit++) if ((BigInt(`0x${serial}`) >> BigInt(bit)) & 1n) ones[bit]!++
    }
    assert.equal(serials.size, 200)
    for (let bit = 0; bit < 126; bit++) assert.ok(ones[bit]! > 50 && ones[bit]! < 150, `bit ${bit} was set ${ones[bit]} times of 200`)
  })

  it('clamps the life: default, wish, maximum, end of the CA; back-dates two minutes at most', async () => {
    const clock = new FakeClock(NOW)
    const publicKey = await newPublicKey()
    const life = async (ca: CertificateAuthority, ttlMs?: number): Promise<[number, number]> => {
      const { notBefore, notAfter } = await ca.issue({ publicKey, id: ID, ...(ttlMs === undefined ? {} : { ttlMs }) })
      return [(clock.nowMs() - notBefore.getTime()) / 1000, (notAfter.getTime() - clock.nowMs()) / 1000]
    }
    const ca = await newCa('cluster.local', clock)
    for (const wish of [undefined, 0, -5, Number.NaN, Number.POSITIVE_INFINITY, 48 * HOUR_MS])
      assert.deepEqual(await life(ca, wish), [120, 86_400], `${wish}`)
    assert.deepEqual(await life(ca, HOUR_MS), [120, 3600])
    assert.deepEqual(await life(ca, 60_000), [15, 60])
    const wide = await newCa('cluster.local', clock, { maxTtlMs: 90 * 24 * HOUR_MS })
    assert.deepEqual(await life(wide, 48 * HOUR_MS), [120, 172_800])
    const narrow = await newCa('cluster.local', clock, { maxTtlMs: HOUR_MS })
    assert.deepEqual(await life(narrow), [120, 3600])
    const short = (await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local', clock, ttlMs: 2 * HOUR_MS })).authority
    assert.deepEqual(await life(short), [120, 7200])
    assert.equal(short.notAfter.getTime(), NOW + 2 * HOUR_MS)
  })

  it('stops when its own certificate has ended', async () => {
    const clock = new FakeClock(NOW)
    const { authority } = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local', clock, ttlMs: HOUR_MS })
    await clock.advance(HOUR_MS)
    await assert.rejects(authority.issue({ publicKey: await newPublicKey(), id: ID }), { code: 'CA_EXPIRED' })
  })

  it('refuses IDs of other domains, IDs that are none, bad names and keys that are not used', async () => {
    const ca = await newCa()
    const publicKey = await newPublicKey()
    for (const id of [idOf('client', 'other.example'), 'spiffe://cluster.local', 'spiffe://cluster.local/ns/../sa/x', 'x']) {
      await assert.rejects(ca.issue({ publicKey, id: id as SpiffeId }), { code: 'ISSUE_REFUSED' }, id)
    }
    for (const dns of ['', '*.x', 'A', 'a b', 'a..b', '-a', `${'a'.repeat(64)}.b`])
      await assert.rejects(ca.issue({ publicKey, dns: [dns] }), { code: 'ISSUE_REFUSED' }, dns)
    await assert.rejects(ca.issue({ publicKey, dns: [] }), { code: 'ISSUE_REFUSED' })
    await assert.rejects(ca.issue({ publicKey, dns: [], ips: ['10.0.0.256'] }), { code: 'ISSUE_REFUSED' })
    await assert.rejects(ca.issue({ publicKey: Buffer.from('x'), id: ID }), { code: 'ISSUE_REFUSED' })
    const ed25519 = new Uint8Array(await crypto.subtle.exportKey('spki', (await newKeys({ name: 'Ed25519' } as never)).publicKey))
    await assert.rejects(ca.issue({ publicKey: ed25519, id: ID }), { code: 'ISSUE_REFUSED' })
  })

  it('issues serving certificates without client role', async () => {
    const ca = await newCa()
    const issued = await ca.issue({ publicKey: await newPublicKey(), dns: ['istiod.istio-system.svc'], ips: ['172.30.0.2', 'fd30::2'] })
    const leaf = new X509Certificate(issued.chainPem[0]!)
    assert.equal(leaf.checkHost('istiod.istio-system.svc'), 'istiod.istio-system.svc')
    assert.equal(leaf.checkIP('172.30.0.2'), '172.30.0.2')
    assert.ok(leaf.checkIP('fd30::2'))
    assert.deepEqual(leaf.keyUsage, ['1.3.6.1.5.5.7.3.1'])
  })

  for (const [name, algorithm] of [
    ['P-256', { name: 'ECDSA', namedCurve: 'P-256' }],
    ['P-384', { name: 'ECDSA', namedCurve: 'P-384' }],
    ['RSA 2048', { name: 'RSASSA-PKCS1-v1_5', modulusLength: 2048, publicExponent: Buffer.from([1, 0, 1]), hash: 'SHA-256' }],
  ] as const) {
    it(`signs with ${name} through two intermediates`, async () => {
      const root = await newSigner({ name: 'org root' })
      const upper = await newSigner({ name: 'upper', issuer: root })
      const lower = await newSigner({ name: 'lower', issuer: upper, keys: await newKeys(algorithm) })
      const ca = await fromSigner(lower, [upper, root], root)
      const issued = await ca.issue({ publicKey: await newPublicKey(), id: ID })
      assert.equal(issued.chainPem.length, 3)
      opensslAccepts(issued.rootsPem, issued.chainPem)
    })
  }

  it('reads keys in the forms that openssl writes, and a root made by it', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'weft-ca-'))
    const run = (...args: string[]): string => execFileSync('openssl', args, { cwd: dir, stdio: 'pipe', encoding: 'utf8' })
    run('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', 'key.pem') // SEC 1
    run('req', '-x509', '-new', '-key', 'key.pem', '-days', '2', '-subj', '/O=Müller & Söhne/CN=root', '-utf8', '-out', 'root.pem')
    const rootPem = run('x509', '-in', 'root.pem', '-text') // with text around the block
    const keyPem = run('ec', '-in', 'key.pem')
    rmSync(dir, { recursive: true })
    const material = fromCacerts({ 'root-cert.pem': rootPem, 'ca-cert.pem': rootPem, 'ca-key.pem': keyPem, 'cert-chain.pem': rootPem })
    const ca = await CertificateAuthority.fromPem({ ...material, trustDomain: 'cluster.local', clock: systemClock })
    const issued = await ca.issue({ publicKey: await newPublicKey(), id: ID })
    assert.equal(issued.chainPem.length, 1)
    opensslAccepts(issued.rootsPem, issued.chainPem, false)
  })

  it('takes the cacerts form with and without ca-cert and root in the chain, and sends no root', async () => {
    const root = await newSigner({ name: 'root' })
    const sub = await newSigner({ name: 'intermediate', issuer: root })
    const pem = (signer: Signer): string => `${signer.certificate.toString('pem')}\n`
    const { keyPem } = await materialOf(sub, [], root)
    for (const chain of [undefined, '', pem(sub), pem(sub) + pem(root), pem(root)]) {
      const files = {
        'root-cert.pem': pem(root),
        'ca-cert.pem': pem(sub),
        'ca-key.pem': keyPem,
        ...(chain === undefined ? {} : { 'cert-chain.pem': chain }),
      }
      const ca = await CertificateAuthority.fromPem({ ...fromCacerts(files), trustDomain: 'cluster.local', clock: systemClock })
      const issued = await ca.issue({ publicKey: await newPublicKey(), id: ID })
      assert.deepEqual(issued.chainPem.slice(1), [new X509Certificate(pem(sub)).toString()])
    }
  })

  it('distributes several roots and lives no longer than its own chain', async () => {
    const [old, next] = [await newSigner({ name: 'old' }), await newSigner({ name: 'next' })]
    const end = new Date(Math.floor(Date.now() / 1000) * 1000 + HOUR_MS)
    const sub = await newSigner({ name: 'intermediate', issuer: old, notAfter: end })
    const material = await materialOf(sub, [], old)
    const rootsPem = `${material.rootsPem}${next.certificate.toString('pem')}\n`
    const ca = await CertificateAuthority.fromPem({ ...material, rootsPem, trustDomain: 'cluster.local', clock: systemClock })
    const issued = await ca.issue({ publicKey: await newPublicKey(), id: ID })
    assert.equal(issued.notAfter.getTime(), end.getTime())
    assert.equal(issued.rootsPem.match(/BEGIN/g)?.length, 2)
  })

  describe('refuses to start with', () => {
    let root: Signer
    let sub: Signer
    let good: CaMaterial
    before(async () => {
      root = await newSigner({ name: 'root' })
      sub = await newSigner({ name: 'intermediate', issuer: root })
      good = await materialOf(sub, [], root)
    })
    const uri = (value: string): x509.Extension => new x509.SubjectAlternativeNameExtension([{ type: 'url', value }])
    const bad: Record<string, () => Promise<CaMaterial> | CaMaterial> = {
      'another key': async () => ({ ...good, keyPem: (await materialOf(root, [], root)).keyPem }),
      'no key': () => ({ ...good, keyPem: '' }),
      'no certificate': () => ({ ...good, certChainPem: '' }),
      'no root': () => ({ ...good, rootsPem: '' }),
      'another root': async () => materialOf(sub, [], await newSigner({ name: 'root' })),
      'a gap in the chain': async () => materialOf(await newSigner({ name: 'lower', issuer: sub }), [], root),
      'a chain in wrong order': async () => {
        const lower = await newSigner({ name: 'lower', issuer: sub })
        const lowest = await newSigner({ name: 'lowest', issuer: lower })
        return materialOf(lowest, [sub, lower], root)
      },
      'a leaf as CA': async () => materialOf(await newLeaf(root), [], root),
      'a leaf as root': async () => ({ ...good, rootsPem: `${(await newLeaf(root)).certificate.toString('pem')}\n` }),
      'a P-521 key': async () =>
        materialOf(await newSigner({ name: 'big', issuer: root, keys: await newKeys({ name: 'ECDSA', namedCurve: 'P-521' }) }), [], root),
      'the ID of a workload': async () => materialOf(await newSigner({ name: 'id', issuer: root, more: [uri(ID)] }), [], root),
      'the ID of another domain': async () =>
        materialOf(await newSigner({ name: 'id', issuer: root, more: [uri('spiffe://other.example')] }), [], root),
      'PEM that is none': () => ({ ...good, certChainPem: good.certChainPem.replace('A', '!') }),
    }
    for (const [name, material] of Object.entries(bad)) {
      it(name, async () => {
        const given = await material()
        await assert.rejects(
          CertificateAuthority.fromPem({ ...given, trustDomain: 'cluster.local', clock: systemClock }),
          (error: Error) => {
            assert.equal(codeOf(error), 'CA_UNUSABLE')
            assert.ok(!error.message.includes(given.keyPem.split('\n')[1] || '-----'), 'the message quotes the key')
            return true
          },
        )
      })
    }
    it('an expired certificate', async () => {
      const old = await newSigner({ name: 'old', notAfter: new Date(Date.now() - 1000) })
      await assert.rejects(fromSigner(old, [], old), { code: 'CA_EXPIRED' })
    })
  })
})

describe('certs/csr', () => {
  it('makes requests with an empty subject and the ID, and takes them', async () => {
    const { csrPem, keyPem } = await createCsr({ id: ID })
    assert.match(keyPem, /BEGIN PRIVATE KEY/)
    const parsed = new x509.Pkcs10CertificateRequest(csrPem)
    assert.equal(parsed.subject, '')
    assert.ok((await checkCsr(csrPem)).ok)
  })

  it('refuses a request that its key did not sign', async () => {
    const { csrPem } = await createCsr({ id: ID })
    const der = Buffer.from(new x509.Pkcs10CertificateRequest(csrPem).rawData)
    for (const at of [der.length - 1, der.length - 20, 40, 60]) {
      const forged = Buffer.from(der)
      forged[at] = (forged[at] ?? 0) ^ 1
      const result = await checkCsr(x509.PemConverter.encode(forged, 'CERTIFICATE REQUEST'))
      assert.equal(result.ok, false, `byte ${at}`)
    }
  })

  it('refuses other blocks, several blocks, text around nothing, and too much', async () => {
    const { csrPem, keyPem } = await createCsr({ id: ID })
    for (const pem of [
      '',
      'x',
      keyPem,
      csrPem + csrPem,
      csrPem + keyPem,
      csrPem + '\n'.repeat(70_000),
      csrPem.replaceAll('REQUEST', 'REQUESTS'),
    ]) {
      assert.equal((await checkCsr(pem)).ok, false)
    }
  })

  it('takes requests of openssl with RSA and P-384, not with small or other keys', () => {
    const request = (...args: string[]): string =>
      execFileSync(
        'openssl',
        ['req', '-new', '-nodes', '-keyout', '/dev/null', '-subj', '/CN=evil', '-addext', 'subjectAltName=URI:spiffe://evil/x', ...args],
        { stdio: 'pipe', encoding: 'utf8' },
      )
    return Promise.all(
      (
        [
          [true, '-newkey', 'rsa:2048'],
          [true, '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384'],
          [false, '-newkey', 'rsa:1024'],
          [false, '-newkey', 'ed25519'],
          [false, '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:secp256k1'],
        ] as [boolean, ...string[]][]
      ).map(async ([isFine, ...args]) => assert.equal((await checkCsr(request(...args))).ok, isFine, args.join(' '))),
    )
  })
})
