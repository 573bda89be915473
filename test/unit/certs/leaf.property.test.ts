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

interface Sample {
  readonly serial: string
  readonly names: readonly { readonly type: 'url' | 'dns'; readonly value: string }[]
  readonly times: readonly [number, number]
  readonly keys: KeyPair
  readonly keyIdentifier: string | undefined
}

const sample: fc.Arbitrary<Sample> = fc.record({
  serial,
  names,
  times: fc.tuple(seconds, seconds),
  keys: fc.constantFrom(...SUBJECTS),
  keyIdentifier: fc.option(fc.uint8Array({ minLength: 20, maxLength: 20 }).map(hex), { nil: undefined }),
})
const ISSUER_NAME = new x509.Name([{ O: ['cluster.local'] }, { CN: ['Root é'] }])

interface Issuer {
  readonly keys: KeyPair
  readonly algorithm: SigningAlgorithm
}

function datesOf({ times }: Sample): { readonly notBefore: Date; readonly notAfter: Date } {
  return { notBefore: new Date(Math.min(...times) * 1000), notAfter: new Date(Math.max(...times) * 1000) }
}

async function byLibrary(given: Sample, { keys, algorithm }: Issuer): Promise<Uint8Array> {
  const both = [x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]
  const { serial: serialNumber, names: alternative, keyIdentifier } = given
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber,
    issuer: ISSUER_NAME,
    ...datesOf(given),
    publicKey: new Uint8Array(given.keys.publicKey.export({ type: 'spki', format: 'der' })),
    signingKey: keys.privateKey.toCryptoKey(algorithm, false, ['sign']) as webcrypto.CryptoKey,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment, true),
      new x509.ExtendedKeyUsageExtension(alternative[0]?.type === 'dns' ? both.slice(0, 1) : both),
      new x509.SubjectAlternativeNameExtension([...alternative], true),
      ...(keyIdentifier === undefined ? [] : [new x509.AuthorityKeyIdentifierExtension(keyIdentifier)]),
    ],
  })
  return new Uint8Array(certificate.rawData)
}

function byTemplate(given: Sample, { keys, algorithm }: Issuer): Promise<Uint8Array> {
  const { keyIdentifier, names: alternative } = given
  const signer = new LeafSigner({ issuer: new Uint8Array(ISSUER_NAME.toArrayBuffer()), key: keys.privateKey, algorithm, keyIdentifier })
  return signer.sign({
    serial: given.serial,
    ...datesOf(given),
    publicKey: given.keys.publicKey,
    names: Buffer.concat(alternative.map(({ type, value }) => generalName(type === 'url' ? 'uri' : 'dns', value))),
    isServer: alternative[0]?.type === 'dns',
  })
}

describe('certs/leaf', () => {
  for (const [name, { algorithm, keys }] of Object.entries(ISSUERS)) {
    it(`is what @peculiar/x509 makes, signed by ${name}`, async function () {
      this.timeout('120s')
      const issuer = { keys: keys(), algorithm }
      const property = fc.asyncProperty(sample, async (given) => {
        const [der, reference] = [await byTemplate(given, issuer), await byLibrary(given, issuer)]
        assert.equal(signedPart(der), signedPart(reference))
        assert.equal(sequenceOf(der)[1], sequenceOf(reference)[1], 'the algorithm')
        const parsed = new X509Certificate(der)
        assert.ok(parsed.verify(issuer.keys.publicKey))
        assert.ok(!parsed.verify(createPublicKey(SUBJECTS[0]?.privateKey as KeyObject)))
      })
      await fc.assert(property, { numRuns: name === 'P-256' ? 60 : 20 })
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
