// Certificates for tests: a CA of a trust domain, leaves that it issues by its rules, and leaves (or intermediates) made by
// hand that break one of them. Everything is made in the test; nothing is stored.
import '../../certs/x509.ts'
import { webcrypto } from 'node:crypto'
import * as x509 from '@peculiar/x509'
import { CertificateAuthority } from '../../certs/ca.ts'
import type { CaLimits, CaMaterial } from '../../certs/ca.ts'
import { checkCsr, createCsr } from '../../certs/csr.ts'
import { systemClock } from '../../kit/clock.ts'
import type { Clock } from '../../kit/clock.ts'
import { spiffeIdOf } from '../../model/identity.ts'
import type { SpiffeId } from '../../model/identity.ts'

/** Key and algorithm that sign, with the certificate that names them. */
export interface Signer {
  readonly certificate: x509.X509Certificate
  readonly keys: webcrypto.CryptoKeyPair
}

/** What a TLS endpoint takes. */
export interface Credentials {
  readonly cert: string
  readonly key: string
}

/** A leaf made by hand; what is absent is as a correct SVID has it. `null` = leave the extension out. */
export interface LeafOptions {
  readonly uris?: readonly string[]
  readonly names?: x509.JsonGeneralNames
  readonly san?: x509.Extension | null
  readonly sanCritical?: boolean
  readonly subject?: x509.JsonName
  readonly ca?: boolean
  readonly pathLength?: number
  readonly usage?: number | null
  readonly usageCritical?: boolean
  readonly extendedUsage?: readonly string[] | null
  readonly notBefore?: Date
  readonly notAfter?: Date
  readonly keys?: webcrypto.CryptoKeyPair
  /** Names the signer's key, as the CA does; `null` = without. */
  readonly keyIdentifier?: string | null
  readonly more?: readonly x509.Extension[]
}

const P256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const HOUR_MS = 3_600_000

/** The ID `spiffe://TRUST-DOMAIN/ns/shop/sa/NAME`. */
export function idOf(name: string, trustDomain = 'cluster.local'): SpiffeId {
  return spiffeIdOf({ trustDomain, namespace: 'shop', serviceAccount: name })
}

/** A CA as the control plane makes it. */
export async function newCa(
  trustDomain = 'cluster.local',
  clock: Clock = systemClock,
  limits: CaLimits = {},
): Promise<CertificateAuthority> {
  return (await CertificateAuthority.selfSigned({ trustDomain, clock, limits })).authority
}

/** A workload's certificate and key, by the CA's rules. */
export async function workloadCredentials(ca: CertificateAuthority, id: SpiffeId, ttlMs = 0): Promise<Credentials> {
  const { csrPem, keyPem } = await createCsr({ id })
  const csr = await checkCsr(csrPem)
  if (!csr.ok) throw new TypeError(csr.errors.join('; '))
  const issued = await ca.issue({ publicKey: csr.value.publicKey, id, ttlMs })
  return { cert: issued.chainPem.join(''), key: keyPem }
}

/** A P-256 key pair, or one of another algorithm. */
export async function newKeys(
  algorithm: webcrypto.EcKeyGenParams | webcrypto.RsaHashedKeyGenParams = P256,
): Promise<webcrypto.CryptoKeyPair> {
  return (await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair
}

/** PKCS #8 PEM of a key pair's private half. */
export async function keyPemOf(keys: webcrypto.CryptoKeyPair): Promise<string> {
  return x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY')
}

/** A root or, with `issuer`, an intermediate, made by hand. */
export async function newSigner(
  options: {
    name?: string
    issuer?: Signer
    pathLength?: number
    keys?: webcrypto.CryptoKeyPair
    notAfter?: Date
    more?: x509.Extension[]
  } = {},
): Promise<Signer> {
  const keys = options.keys ?? (await newKeys())
  const name = `CN=${options.name ?? 'test root'}`
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: webcrypto.randomUUID().replaceAll('-', '').replace(/^./, '4'),
    subject: name,
    issuer: options.issuer?.certificate.subjectName ?? name,
    notBefore: new Date(Date.now() - HOUR_MS),
    notAfter: options.notAfter ?? new Date(Date.now() + 24 * HOUR_MS),
    publicKey: keys.publicKey,
    signingKey: (options.issuer?.keys ?? keys).privateKey,
    signingAlgorithm: P256,
    extensions: [
      new x509.BasicConstraintsExtension(true, options.pathLength, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ...(options.issuer === undefined ? [] : [new x509.AuthorityKeyIdentifierExtension(keyIdOf(options.issuer))]),
      ...(options.more ?? []),
    ],
  })
  return { certificate, keys }
}

/** What `CertificateAuthority.fromPem` takes, of a signer below (or equal to) a root. */
export async function materialOf(signer: Signer, chain: readonly Signer[], root: Signer): Promise<CaMaterial> {
  return {
    certChainPem: [signer, ...chain].map((one) => `${one.certificate.toString('pem')}\n`).join(''),
    keyPem: await keyPemOf(signer.keys),
    rootsPem: `${root.certificate.toString('pem')}\n`,
  }
}

/** A leaf made by hand: correct but for what the options change. */
export async function newLeaf(
  signer: Signer,
  options: LeafOptions = {},
): Promise<{ certificate: x509.X509Certificate; keys: webcrypto.CryptoKeyPair }> {
  const keys = options.keys ?? (await newKeys())
  const usage = options.usage === undefined ? x509.KeyUsageFlags.digitalSignature : options.usage
  const purposes =
    options.extendedUsage === undefined ? [x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth] : options.extendedUsage
  const names = options.names ?? (options.uris ?? [idOf('client')]).map((value) => ({ type: 'url' as const, value }))
  const san = options.san === undefined ? new x509.SubjectAlternativeNameExtension(names, options.sanCritical ?? true) : options.san
  const keyIdentifier = options.keyIdentifier === undefined ? keyIdOf(signer) : options.keyIdentifier
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: '4a0b0c0d',
    subject: options.subject ?? [],
    issuer: signer.certificate.subjectName,
    notBefore: options.notBefore ?? new Date(Date.now() - 60_000),
    notAfter: options.notAfter ?? new Date(Date.now() + HOUR_MS),
    publicKey: keys.publicKey,
    signingKey: signer.keys.privateKey,
    signingAlgorithm: P256,
    extensions: [
      new x509.BasicConstraintsExtension(options.ca ?? false, options.pathLength, true),
      ...(usage === null ? [] : [new x509.KeyUsagesExtension(usage, options.usageCritical ?? true)]),
      ...(purposes === null ? [] : [new x509.ExtendedKeyUsageExtension([...purposes])]),
      ...(san === null ? [] : [san]),
      ...(keyIdentifier === null ? [] : [new x509.AuthorityKeyIdentifierExtension(keyIdentifier)]),
      ...(options.more ?? []),
    ],
  })
  return { certificate, keys }
}

/** Hex of the signer's subject key identifier. */
export function keyIdOf(signer: Signer): string {
  return signer.certificate.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId ?? ''
}

/** Certificate (with what is above it) and key of a leaf, as TLS takes them. */
export async function credentialsOf(
  leaf: { certificate: x509.X509Certificate; keys: webcrypto.CryptoKeyPair },
  chain: readonly Signer[] = [],
): Promise<Credentials> {
  const certificates = [leaf.certificate, ...chain.map((signer) => signer.certificate)]
  return { cert: certificates.map((one) => `${one.toString('pem')}\n`).join(''), key: await keyPemOf(leaf.keys) }
}
