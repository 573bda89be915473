// Broken SVIDs, each made here and signed by a trusted root: refused by the rules alone, and by PeerAdmission in a real TLS
// handshake as server and as client. Clauses: X509-SVID.md, SPIFFE-ID.md (spiffe/spiffe:standards).
import '../../../certs/x509.ts'
import assert from 'node:assert/strict'
import * as x509 from '@peculiar/x509'
import { parseBundle } from '../../../certs/bundle.ts'
import type { TrustBundle } from '../../../certs/bundle.ts'
import { checkSvid } from '../../../certs/svid.ts'
import { BAD_SVIDS, GOOD, ofLength } from '../../support/bad-svids.ts'
import { credentialsOf, idOf, newKeys, newLeaf, newSigner, workloadCredentials, newCa } from '../../support/certificates.ts'
import type { Credentials, LeafOptions, Signer } from '../../support/certificates.ts'
import { handshake } from '../../support/peer-handshake.ts'

const { digitalSignature, keyEncipherment } = x509.KeyUsageFlags

describe('certs/svid', () => {
  let root: Signer
  let bundle: TrustBundle
  let good: Credentials
  before(async () => {
    root = await newSigner()
    const parsed = parseBundle(`${root.certificate.toString('pem')}\n`, 'cluster.local')
    assert.ok(parsed.ok)
    bundle = parsed.value
    good = await credentialsOf(await newLeaf(root, { uris: [idOf('other')] }))
  })

  async function verdictOf(shown: Credentials, decides: 'server' | 'client'): Promise<string> {
    const parts = decides === 'server' ? { server: good, client: shown } : { server: shown, client: good }
    try {
      const verdict = await handshake({ ...parts, bundle, decides })
      return verdict.ok ? 'admitted' : verdict.code
    } catch (error) {
      return `handshake: ${error}`
    }
  }

  for (const { name, leaf, says, code = 'SVID_INVALID' } of BAD_SVIDS) {
    it(`refuses: ${name}`, async () => {
      const made = await newLeaf(root, leaf)
      const checked = checkSvid(new Uint8Array(made.certificate.rawData), new Date())
      if (says !== undefined) assert.match(checked.ok ? 'accepted' : checked.errors.join('; '), says)
      const shown = await credentialsOf(made)
      for (const decides of ['server', 'client'] as const) {
        assert.match(await verdictOf(shown, decides), new RegExp(`^(${code})$`), `as ${decides}`)
      }
    })
  }

  const keyCases = [
    { name: 'P-521', algorithm: { name: 'ECDSA', namedCurve: 'P-521' } },
    {
      name: 'RSA of 1024 bits',
      algorithm: { name: 'RSASSA-PKCS1-v1_5', modulusLength: 1024, publicExponent: Buffer.from([1, 0, 1]), hash: 'SHA-256' },
    },
    {
      name: 'RSA with exponent 3',
      algorithm: { name: 'RSASSA-PKCS1-v1_5', modulusLength: 2048, publicExponent: Buffer.from([3]), hash: 'SHA-256' },
    },
    { name: 'Ed25519', algorithm: { name: 'Ed25519' } },
  ]
  for (const { name, algorithm } of keyCases) {
    it(`refuses: key ${name}`, async () => {
      const made = await newLeaf(root, { keys: await newKeys(algorithm as never) })
      const checked = checkSvid(new Uint8Array(made.certificate.rawData), new Date())
      assert.match(checked.ok ? 'accepted' : checked.errors.join('; '), /P-256|RSA/)
      const shown = await credentialsOf(made)
      for (const decides of ['server', 'client'] as const) assert.match(await verdictOf(shown, decides), /SVID_INVALID|UNTRUSTED|handshake/)
    })
  }

  it('refuses: signed by an untrusted root with the same name', async () => {
    const made = await credentialsOf(await newLeaf(await newSigner()))
    for (const decides of ['server', 'client'] as const) assert.equal(await verdictOf(made, decides), 'UNTRUSTED')
  })

  it('refuses: the root itself, and an intermediate', async () => {
    const sub = await newSigner({
      name: 'intermediate',
      issuer: root,
      more: [new x509.SubjectAlternativeNameExtension([{ type: 'url', value: GOOD }])],
    })
    for (const signer of [root, sub]) {
      const shown = await credentialsOf(signer)
      for (const decides of ['server', 'client'] as const) assert.match(await verdictOf(shown, decides), /SVID_INVALID|UNTRUSTED/)
    }
  })

  it('refuses: signed by a leaf', async () => {
    const leaf = await newLeaf(root)
    const forged = await newLeaf({ ...leaf, certificate: leaf.certificate }, { keyIdentifier: null })
    const shown = await credentialsOf(forged, [leaf])
    for (const decides of ['server', 'client'] as const) assert.match(await verdictOf(shown, decides), /UNTRUSTED/)
  })

  it('honours URI name constraints of an intermediate', async () => {
    // permittedSubtrees [0] { GeneralSubtree { [6] "other.example" } }
    const host = Buffer.from('other.example')
    const subtree = tlv(0x30, tlv(0x86, host))
    const constraints = new x509.Extension('2.5.29.30', true, tlv(0x30, tlv(0xa0, subtree)))
    const sub = await newSigner({ name: 'constrained', issuer: root, more: [constraints] })
    const shown = await credentialsOf(await newLeaf(sub), [sub])
    for (const decides of ['server', 'client'] as const) assert.equal(await verdictOf(shown, decides), 'UNTRUSTED')
  })

  describe('accepts', () => {
    const fine: Readonly<Record<string, LeafOptions>> = {
      'a correct SVID': {},
      'DNS names beside the ID': {
        names: [
          { type: 'dns', value: 'client.shop' },
          { type: 'url', value: GOOD },
          { type: 'ip', value: '10.0.0.1' },
        ],
      },
      'no extended usage': { extendedUsage: null },
      'a subject, name not critical': { subject: [{ CN: ['client'] }], sanCritical: false },
      'keyEncipherment beside digitalSignature': { usage: digitalSignature | keyEncipherment },
      'an ID of 2048 bytes': { uris: [ofLength(2048)] },
      'all allowed characters': { uris: ['spiffe://a-b_c.0/ns/A.b-c_9/sa/...'] },
      'an unknown extension that is not critical': { more: [new x509.Extension('1.2.3.4.5', false, Buffer.from([5, 0]))] },
    }
    for (const [name, leaf] of Object.entries(fine)) {
      it(name, async () => {
        const made = await newLeaf(root, leaf)
        const checked = checkSvid(new Uint8Array(made.certificate.rawData), new Date())
        assert.ok(checked.ok, JSON.stringify(checked))
        assert.equal(checked.value.serial, '4a0b0c0d')
        if (checked.value.trustDomain !== 'cluster.local') return
        for (const decides of ['server', 'client'] as const) assert.equal(await verdictOf(await credentialsOf(made), decides), 'admitted')
      })
    }

    for (const [name, algorithm] of [
      ['P-384', { name: 'ECDSA', namedCurve: 'P-384' }],
      ['RSA of 2048 bits', { name: 'RSASSA-PKCS1-v1_5', modulusLength: 2048, publicExponent: Buffer.from([1, 0, 1]), hash: 'SHA-256' }],
    ] as const) {
      it(`key ${name}`, async () => {
        const made = await newLeaf(root, { keys: await newKeys(algorithm) })
        for (const decides of ['server', 'client'] as const) assert.equal(await verdictOf(await credentialsOf(made), decides), 'admitted')
      })
    }
  })

  it('takes what our own CA issues, and nothing that is cut short or long', async () => {
    const { cert } = await workloadCredentials(await newCa(), GOOD)
    const der = Buffer.from(new x509.X509Certificate(cert).rawData)
    const checked = checkSvid(der, new Date())
    assert.ok(checked.ok)
    assert.deepEqual(checked.value.identity, { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'client' })
    for (let length = 0; length < der.length; length += 7) assert.equal(checkSvid(der.subarray(0, length), new Date()).ok, false)
    assert.equal(checkSvid(Buffer.alloc(17_000), new Date()).ok, false)
  })
})

function tlv(tag: number, value: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([tag, value.length]), value])
}
