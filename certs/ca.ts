// The certificate authority's rules: what a certificate of the mesh looks like and how long it lives. Who may have one is
// decided by the control plane. Signing is WebCrypto's; follows istio/istio:security/pkg/pki/util/generate_cert.go.
import { randomBytes, webcrypto, X509Certificate } from 'node:crypto'
import type { Clock } from '../kit/clock.ts'
import { failures } from '../kit/error.ts'
import type { SpiffeId } from '../model/identity.ts'
import { derBlocks, MESH_KEY_ALGORITHM, x509Library } from './x509.ts'

/** What is to be certified: a SPIFFE ID, or the DNS names and addresses of a server of the control plane. */
export type CertificateSubject =
  | { readonly kind: 'workload'; readonly id: SpiffeId }
  | { readonly kind: 'server'; readonly id: SpiffeId; readonly dnsNames: readonly string[]; readonly ips: readonly string[] }

/** A signed certificate: leaf first, then intermediates; the roots apart. Times in Unix ms. */
export interface IssuedCertificate {
  readonly chainPem: readonly string[]
  readonly rootsPem: string
  readonly notBefore: number
  readonly notAfter: number
}

/** The CA as PEM: its own certificate first, intermediates above it after; `rootsPem` may hold several roots. */
export interface CaMaterial {
  readonly certChainPem: string
  readonly keyPem: string
  readonly rootsPem: string
}

/** Errors of certs/. */
export const CERT_ERRORS = {
  CA_UNUSABLE: {
    source: 'internal',
    retry: 'no',
    message: 'the CA certificate or key cannot be used',
    hint: 'give ca-cert.pem, ca-key.pem, cert-chain.pem and root-cert.pem of one ECDSA CA',
  },
  CA_EXPIRED: { source: 'internal', retry: 'no', message: 'the CA certificate has expired', hint: 'replace the CA certificate' },
} as const

const DAY_MS = 24 * 3_600_000
const ROOT_LIFE_MS = 3650 * DAY_MS
const BACKDATE_MS = 2 * 60_000 // clocks of nodes differ
const SHORTEST_LIFE_MS = 60_000
/** Life of a certificate when none is asked for. */
export const DEFAULT_CERTIFICATE_LIFE_MS = DAY_MS
/** Nobody gets a longer life, whatever is asked for. */
export const LONGEST_CERTIFICATE_LIFE_MS = 90 * DAY_MS

const certFailure = failures(CERT_ERRORS)

/** Signs certificates with one CA key, which is held in memory only. */
export class CertificateAuthority {
  readonly rootsPem: string
  readonly material: CaMaterial
  readonly #key: CryptoKey
  readonly #certificate: X509Certificate
  readonly #intermediates: readonly string[]
  readonly #clock: Clock

  private constructor(material: CaMaterial, key: CryptoKey, clock: Clock) {
    const chain = derBlocks(material.certChainPem).map((der) => new X509Certificate(der))
    const [own] = chain
    if (own?.ca !== true) throw certFailure('CA_UNUSABLE', { reason: 'the first certificate is not a CA' })
    this.material = material
    this.rootsPem = material.rootsPem
    this.#key = key
    this.#certificate = own
    // A self-signed root is not sent: peers have it, and a chain must end before it.
    this.#intermediates = chain
      .filter((certificate) => certificate.subject !== certificate.issuer)
      .map((certificate) => certificate.toString())
    this.#clock = clock
  }

  /** Makes a new root. @param options.trustDomain its ID has no path, as a signing certificate's must not */
  static async selfSigned(options: {
    readonly trustDomain: string
    readonly clock: Clock
    readonly lifeMs?: number
  }): Promise<CertificateAuthority> {
    const x509 = x509Library()
    const keys = await webcrypto.subtle.generateKey(MESH_KEY_ALGORITHM, true, ['sign', 'verify'])
    const now = options.clock.nowMs()
    const root = await x509.X509CertificateGenerator.createSelfSigned({
      name: `O=${options.trustDomain}`,
      keys,
      signingAlgorithm: MESH_KEY_ALGORITHM,
      serialNumber: newSerial(),
      notBefore: new Date(now - BACKDATE_MS),
      notAfter: new Date(now + (options.lifeMs ?? ROOT_LIFE_MS)),
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        new x509.SubjectAlternativeNameExtension([{ type: 'url', value: `spiffe://${options.trustDomain}` }]),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    })
    const pem = `${root.toString('pem')}\n`
    const keyPem = x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY')
    return CertificateAuthority.fromPem({ certChainPem: pem, keyPem, rootsPem: pem }, options.clock)
  }

  /**
   * Uses a given root or intermediate (as PKCS#8 PEM, ECDSA P-256 or P-384).
   * @throws MeshError CA_UNUSABLE (unreadable, no CA, key of another certificate), CA_EXPIRED
   */
  static async fromPem(material: CaMaterial, clock: Clock): Promise<CertificateAuthority> {
    const authority = new CertificateAuthority(material, await importKey(material), clock)
    const own = authority.#certificate
    if (own.validToDate.getTime() <= clock.nowMs()) throw certFailure('CA_EXPIRED', { notAfter: own.validTo })
    return authority
  }

  /** When the CA's own certificate ends (Unix ms); nothing that it signs lives longer. */
  get notAfter(): number {
    return this.#certificate.validToDate.getTime()
  }

  /**
   * Signs one certificate.
   * @param request.publicKey SubjectPublicKeyInfo DER of a checked request
   * @param request.lifeMs asked life; clamped to one minute … `longestLifeMs` and to the CA's own end
   * @throws MeshError CA_EXPIRED
   */
  async issue(request: {
    readonly publicKey: Uint8Array
    readonly subject: CertificateSubject
    readonly lifeMs?: number
    readonly longestLifeMs?: number
  }): Promise<IssuedCertificate> {
    const x509 = x509Library()
    const now = this.#clock.nowMs()
    if (this.notAfter <= now) throw certFailure('CA_EXPIRED', { notAfter: this.#certificate.validTo })
    const longest = request.longestLifeMs ?? LONGEST_CERTIFICATE_LIFE_MS
    const life = Math.min(Math.max(request.lifeMs ?? DEFAULT_CERTIFICATE_LIFE_MS, SHORTEST_LIFE_MS), longest)
    const notBefore = now - BACKDATE_MS
    const notAfter = Math.min(now + life, this.notAfter)
    const issuer = new x509.X509Certificate(this.#certificate.raw as Uint8Array<ArrayBuffer>)
    const leaf = await x509.X509CertificateGenerator.create({
      serialNumber: newSerial(),
      issuer: issuer.subjectName,
      notBefore: new Date(notBefore),
      notAfter: new Date(notAfter),
      publicKey: new x509.PublicKey(request.publicKey as Uint8Array<ArrayBuffer>),
      signingKey: this.#key,
      signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
      extensions: leafExtensions(request.subject, issuer),
    })
    return { chainPem: [`${leaf.toString('pem')}\n`, ...this.#intermediates], rootsPem: this.rootsPem, notBefore, notAfter }
  }
}

function leafExtensions(subject: CertificateSubject, issuer: InstanceType<ReturnType<typeof x509Library>['X509Certificate']>) {
  const x509 = x509Library()
  const usage = x509.ExtendedKeyUsage
  const names =
    subject.kind === 'workload'
      ? []
      : [
          ...subject.dnsNames.map((value) => ({ type: 'dns' as const, value })),
          ...subject.ips.map((value) => ({ type: 'ip' as const, value })),
        ]
  const keyId = issuer.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId
  return [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment, true),
    new x509.ExtendedKeyUsageExtension([usage.serverAuth, usage.clientAuth]),
    // The subject is empty, so the name must be critical (RFC 5280 §4.2.1.6).
    new x509.SubjectAlternativeNameExtension([{ type: 'url', value: subject.id }, ...names], true),
    ...(keyId === undefined ? [] : [new x509.AuthorityKeyIdentifierExtension(keyId)]),
  ]
}

async function importKey(material: CaMaterial): Promise<CryptoKey> {
  const x509 = x509Library()
  try {
    const [der] = derBlocks(material.certChainPem)
    if (der === undefined) throw certFailure('CA_UNUSABLE', { reason: 'no certificate in the PEM text' })
    const certificate = new x509.X509Certificate(der as Uint8Array<ArrayBuffer>)
    const [pkcs8] = x509.PemConverter.decode(material.keyPem)
    if (pkcs8 === undefined) throw certFailure('CA_UNUSABLE', { reason: 'no key in the PEM text' })
    const { namedCurve } = certificate.publicKey.algorithm as webcrypto.EcKeyAlgorithm
    const key = await webcrypto.subtle.importKey('pkcs8', pkcs8, { name: 'ECDSA', namedCurve }, false, ['sign'])
    await proveKey(key, certificate)
    return key
  } catch (cause) {
    throw certFailure('CA_UNUSABLE', {}, cause)
  }
}

/** A key that does not belong to the certificate would sign certificates that nobody accepts. */
async function proveKey(key: CryptoKey, certificate: { publicKey: { export(): Promise<CryptoKey> } }): Promise<void> {
  const algorithm = { name: 'ECDSA', hash: 'SHA-256' }
  const data = randomBytes(32)
  const publicKey = await certificate.publicKey.export()
  if (!(await webcrypto.subtle.verify(algorithm, publicKey, await webcrypto.subtle.sign(algorithm, key, data), data))) {
    throw certFailure('CA_UNUSABLE', { reason: 'the key is not that of the certificate' })
  }
}

/** 127 random bits, positive (the first byte's top bit is clear, the next one set so that no byte is dropped). */
function newSerial(): string {
  const bytes = randomBytes(16)
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40
  return bytes.toString('hex')
}
