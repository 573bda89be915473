// A leaf from the template is byte for byte what @peculiar/x509 would have made of the same parts, for every kind of issuer and of key,
// and OpenSSL takes its signature.
import assert from 'node:assert/strict'
import { createPublicKey, generateKeyPairSync, type KeyObject, type webcrypto, X509Certificate } from 'node:crypto'
import fc from 'fast-check'
import { describe, it } from 'mocha'
import '../../../certs/x509.ts'
import * as x509 from '@peculiar/x509'
import { readSequence } from '../../../certs/der.ts'
import type { SigningAlgorithm } from '../../../certs/key.ts'
import { generalName, LeafSigner } from '../../../certs/leaf.ts'

const P256: SigningAlgorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
const ISSUERS: Readonly<Record<string, { readonly algorithm: SigningAlgorithm; readonly keys: () => KeyPair }>> = {
  'P-256': { algorithm: P256, keys: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }) },
  'P-384': {
    algorithm: { name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' },
    keys: () => generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  },
  RSA: { algorithm: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }, keys: () => generateKeyPairSync('rsa', { modulusLength: 2048 }) },
}
const SUBJECTS = [
  generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  generateKeyPairSync('rsa', { modulusLength: 2048 }),
]

interface KeyPair {
  readonly publicKey: KeyObject
  readonly privateKey: KeyObject
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

/** The part of a certificate that is signed: re-encoded from its contents, which DER makes unique. */
function signedPart(der: Uint8Array): string {
  const parts = readSequence(der)
  assert.ok(parts.ok && parts.value.length === 3)
  return hex(parts.value[0]?.value ?? new Uint8Array())
}

const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?$/)
const workload = fc.tuple(label, label).map(([namespace, account]) => `spiffe://cluster.local/ns/${namespace}/sa/${account}`)
const names = fc.oneof(
  workload.map((value) => [{ type: 'url' as const, value }]),
  fc.array(
    fc.tuple(label, label).map(([a, b]) => ({ type: 'dns' as const, value: `${a}.${b}` })),
    { minLength: 1, maxLength: 40 },
  ),
)
const serial = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => {
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40
  return hex(bytes)
})
const seconds = fc.integer({ min: Date.UTC(2000, 0, 1) / 1000, max: Date.UTC(2099, 0, 1) / 1000 })

describe('certs/leaf', () => {
  for (const [name, { algorithm, keys }] of Object.entries(ISSUERS)) {
    it(`is what @peculiar/x509 makes, signed by ${name}`, async function () {
      this.timeout('60s')
      const issuer = keys()
      const key = issuer.privateKey.toCryptoKey(algorithm, false, ['sign']) as webcrypto.CryptoKey
      const subject = new x509.Name([{ O: ['cluster.local'] }, { CN: ['Root é'] }])
      const property = fc.asyncProperty(
        serial,
        names,
        fc.tuple(seconds, seconds),
        fc.constantFrom(...SUBJECTS),
        fc.option(fc.uint8Array({ minLength: 20, maxLength: 20 }).map(hex), { nil: undefined }),
        async (serialNumber, alternative, times, { publicKey }, keyIdentifier) => {
          const [from, to] = times.toSorted((a, b) => a - b).map((time) => new Date(time * 1000)) as [Date, Date]
          const isServer = alternative[0]?.type === 'dns'
          const both = [x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]
          const reference = await x509.X509CertificateGenerator.create({
            serialNumber,
            issuer: subject,
            notBefore: from,
            notAfter: to,
            publicKey: new Uint8Array(publicKey.export({ type: 'spki', format: 'der' })),
            signingKey: key,
            signingAlgorithm: algorithm,
            extensions: [
              new x509.BasicConstraintsExtension(false, undefined, true),
              new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment, true),
              new x509.ExtendedKeyUsageExtension(isServer ? both.slice(0, 1) : both),
              new x509.SubjectAlternativeNameExtension(alternative, true),
              ...(keyIdentifier === undefined ? [] : [new x509.AuthorityKeyIdentifierExtension(keyIdentifier)]),
            ],
          })
          const signer = new LeafSigner({
            issuer: new Uint8Array(subject.toArrayBuffer()),
            key: issuer.privateKey,
            algorithm,
            keyIdentifier,
          })
          const der = await signer.sign({
            serial: serialNumber,
            notBefore: from,
            notAfter: to,
            publicKey,
            names: Buffer.concat(alternative.map(({ type, value }) => generalName(type === 'url' ? 'uri' : 'dns', value))),
            isServer,
          })
          assert.equal(signedPart(der), signedPart(new Uint8Array(reference.rawData)))
          const parsed = new X509Certificate(der)
          assert.ok(parsed.verify(issuer.publicKey))
          assert.ok(!parsed.verify(createPublicKey(SUBJECTS[0]?.privateKey as KeyObject)))
          const [, algorithmOfCertificate] = sequenceOf(der)
          const [, algorithmOfReference] = sequenceOf(new Uint8Array(reference.rawData))
          assert.equal(algorithmOfCertificate, algorithmOfReference)
        },
      )
      await fc.assert(property, { numRuns: name === 'RSA' ? 40 : 150 })
    })
  }

  it('refuses to make what no certificate is', async () => {
    const { privateKey, publicKey } = SUBJECTS[0] as KeyPair
    const signer = new LeafSigner({ issuer: Buffer.from('3000', 'hex'), key: privateKey, algorithm: P256, keyIdentifier: undefined })
    const date = new Date(0)
    const parts = { serial: '40', notBefore: date, notAfter: date, publicKey, isServer: false }
    await assert.rejects(signer.sign({ ...parts, names: Buffer.alloc(70_000) }), RangeError)
  })
})

function sequenceOf(der: Uint8Array): string[] {
  const parts = readSequence(der)
  assert.ok(parts.ok)
  return parts.value.map(({ tag, value }) => `${tag} ${hex(value)}`)
}
