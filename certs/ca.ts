// The certificate authority: a root or an intermediate that signs what its caller has authorised. It takes a public key and
// the names that the caller decided on; nothing of a request but the key ever reaches a certificate.
// Rules: X509-SVID.md §4-§5, istio/istio:security/pkg/pki/util. Used by controlplane/ca and by tests.
import './x509.ts' // first: the library wants Reflect metadata when it loads
import { randomBytes, webcrypto } from 'node:crypto'
import * as x509 from '@peculiar/x509'
import type { Clock } from '../kit/clock.ts'
import { parseIp } from '../model/address.ts'
import type { SpiffeId } from '../model/identity.ts'
import { readAuthority } from './authority.ts'
import type { Authority } from './authority.ts'
import { formatCertificates } from './bundle.ts'
import { certsFailure } from './errors.ts'
import { parsePublicKey } from './key.ts'
import { generalName } from './leaf.ts'
import type { SigningAlgorithm } from './key.ts'
import { formatPem } from './pem.ts'
import { isTrustDomain, parseSpiffeId } from './spiffe.ts'

const HOUR_MS = 3_600_000
/** How long a leaf lives when nothing is asked for, and at most unless configured otherwise. */
export const DEFAULT_TTL_MS = 24 * HOUR_MS
const ROOT_LIFE_MS = 10 * 365 * 24 * HOUR_MS
/** Leaves are valid a little before now, for clocks that are behind; short-lived ones less, so that half their life is ahead. */
const LONGEST_BACKDATE_MS = 120_000
const BACKDATE_SHARE = 1 / 4
/** 126 random bits in a positive INTEGER of 16 bytes (RFC 5280 §4.1.2.2 asks for ≤ 20, CAs for ≥ 64 random bits). */
const SERIAL_BYTES = 16
const DNS_NAME = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/

/** Whom a certificate is for: a workload (both TLS roles), or a server known by names and addresses (server role only). */
export type CertificateNames =
  | { readonly id: SpiffeId; readonly dns?: never; readonly ips?: never }
  | { readonly id?: never; readonly dns: readonly string[]; readonly ips?: readonly string[] }

/** A request that the caller has authorised. */
export type IssueRequest = CertificateNames & {
  /** SubjectPublicKeyInfo (DER), as checkCsr returns it. */
  readonly publicKey: Uint8Array
  /** Wished-for life; 0 or absent = the default; clamped to the maximum and to the end of the CA's own certificates. */
  readonly ttlMs?: number
}

/** An issued certificate. `chainPem`: leaf first, then the intermediates, without the root. */
export interface IssuedCertificate {
  readonly chainPem: readonly string[]
  readonly rootsPem: string
  readonly notBefore: Date
  readonly notAfter: Date
  /** Lower-case hex. */
  readonly serial: string
}

/** Life of leaves. Defaults: 24 h both. */
export interface CaLimits {
  readonly defaultTtlMs?: number
  readonly maxTtlMs?: number
}

/** PEM that a CA is made from; `certChainPem` begins with the signing certificate. */
export interface CaMaterial {
  readonly certChainPem: string
  readonly keyPem: string
  /** All roots to distribute: the own one, and others during a rotation. */
  readonly rootsPem: string
}

/** Signs leaf certificates. Immutable: a changed root or intermediate is a new object. */
export class CertificateAuthority {
  readonly trustDomain: string
  readonly rootsPem: string
  readonly #authority: Authority
  readonly #clock: Clock
  readonly #limits: Required<CaLimits>
  readonly #intermediatesPem: readonly string[]

  private constructor(authority: Authority, options: { trustDomain: string; clock: Clock; limits?: CaLimits }) {
    this.trustDomain = options.trustDomain
    this.rootsPem = formatCertificates(authority.roots)
    this.#authority = authority
    this.#clock = options.clock
    const { maxTtlMs = DEFAULT_TTL_MS, defaultTtlMs = DEFAULT_TTL_MS } = options.limits ?? {}
    this.#limits = { maxTtlMs, defaultTtlMs: Math.min(defaultTtlMs, maxTtlMs) }
    this.#intermediatesPem = authority.intermediates.map((one) => formatCertificates([one]))
  }

  /**
   * Takes a root or an intermediate (ECDSA P-256 or P-384, RSA).
   * @throws MeshError CA_UNUSABLE (key and certificate do not belong together, a broken chain, no CA, another trust domain), CA_EXPIRED
   */
  static async fromPem(options: CaMaterial & { trustDomain: string; clock: Clock; limits?: CaLimits }): Promise<CertificateAuthority> {
    const ca = new CertificateAuthority(readAuthority(options, options.trustDomain), options)
    ca.#checkTime(options.clock.nowMs())
    return ca
  }

  /**
   * Makes a new root (P-256) and an authority from it. `material` holds the key: for a file of mode 0600 and nothing else.
   * @throws MeshError CA_UNUSABLE when `trustDomain` cannot be one
   */
  static async selfSigned(options: {
    trustDomain: string
    clock: Clock
    /** Life of the root; default 10 years. */
    ttlMs?: number
    limits?: CaLimits
  }): Promise<{ authority: CertificateAuthority; material: CaMaterial }> {
    const material = await createRoot(options.trustDomain, options.clock, options.ttlMs ?? ROOT_LIFE_MS)
    return { authority: await CertificateAuthority.fromPem({ ...options, ...material }), material }
  }

  /** When the first certificate from the signer up to its root ends; nothing lives longer. */
  get notAfter(): Date {
    return new Date(this.#authority.notAfter)
  }

  /**
   * Signs one certificate.
   * @throws MeshError ISSUE_REFUSED (an ID of another trust domain or without path, a bad name, a key that is not used), CA_EXPIRED
   */
  async issue(request: IssueRequest): Promise<IssuedCertificate> {
    const publicKey = parsePublicKey(request.publicKey)
    if (!publicKey.ok) throw certsFailure('ISSUE_REFUSED', { reason: publicKey.errors.join('; ') })
    const names = this.#names(request)
    const { notBefore, notAfter } = this.#validity(request)
    const serial = newSerial()
    const isServer = request.id === undefined
    const der = await this.#authority.leaves.sign({ serial, notBefore, notAfter, publicKey: publicKey.value, names, isServer })
    const leafPem = formatPem('CERTIFICATE', der)
    return { chainPem: [leafPem, ...this.#intermediatesPem], rootsPem: this.rootsPem, notBefore, notAfter, serial }
  }

  /** DER of the names. */
  #names({ id, dns = [], ips = [] }: CertificateNames): Uint8Array {
    if (id !== undefined) {
      const parsed = parseSpiffeId(id)
      if (!parsed.ok) throw certsFailure('ISSUE_REFUSED', { reason: parsed.errors.join('; ') })
      if (parsed.value.path === '') throw certsFailure('ISSUE_REFUSED', { id, reason: 'the ID of a trust domain' })
      if (parsed.value.trustDomain !== this.trustDomain) throw certsFailure('ISSUE_REFUSED', { id, reason: 'another trust domain' })
      return generalName('uri', id)
    }
    if (dns.length + ips.length === 0) throw certsFailure('ISSUE_REFUSED', { reason: 'no name' })
    const bad = dns.find((name) => !DNS_NAME.test(name)) ?? ips.find((ip) => parseIp(ip) === undefined)
    if (bad !== undefined) throw certsFailure('ISSUE_REFUSED', { name: bad, reason: 'not a DNS name or an address' })
    return Buffer.concat([
      ...dns.map((name) => generalName('dns', name)),
      ...ips.map((ip) => new Uint8Array(new x509.GeneralName('ip', ip).rawData)),
    ])
  }

  #validity(request: IssueRequest): { notBefore: Date; notAfter: Date } {
    const now = this.#clock.nowMs()
    this.#checkTime(now)
    const wishedMs = request.ttlMs ?? 0
    const { defaultTtlMs, maxTtlMs } = this.#limits
    const ttlMs = Number.isFinite(wishedMs) && wishedMs > 0 ? Math.min(wishedMs, maxTtlMs) : defaultTtlMs
    const backdateMs = Math.min(LONGEST_BACKDATE_MS, ttlMs * BACKDATE_SHARE)
    // DER has whole seconds: the beginning is rounded down, the end up, both within the CA's own time.
    const notBefore = Math.max(this.#authority.notBefore, Math.ceil((now - backdateMs) / 1000) * 1000)
    const notAfter = Math.min(this.#authority.notAfter, Math.ceil((now + ttlMs) / 1000) * 1000)
    return { notBefore: new Date(notBefore), notAfter: new Date(notAfter) }
  }

  #checkTime(now: number): void {
    const { notBefore, notAfter } = this.#authority
    if (now >= notBefore && now < notAfter) return
    throw certsFailure('CA_EXPIRED', { notBefore: new Date(notBefore).toISOString(), notAfter: new Date(notAfter).toISOString() })
  }
}

/** The four files of a Kubernetes Secret `cacerts`, as Istio's operators make it. */
export interface CacertsFiles {
  readonly 'root-cert.pem': string
  readonly 'ca-cert.pem': string
  readonly 'ca-key.pem': string
  /** Intermediates up to the root; may begin with ca-cert.pem and may end with the root. */
  readonly 'cert-chain.pem'?: string
}

/** Turns the `cacerts` form into what `fromPem` takes. */
export function fromCacerts(files: CacertsFiles): CaMaterial {
  const certChainPem = `${files['ca-cert.pem'].trimEnd()}\n${files['cert-chain.pem'] ?? ''}`
  return { certChainPem, keyPem: files['ca-key.pem'], rootsPem: files['root-cert.pem'] }
}

async function createRoot(trustDomain: string, clock: Clock, lifeMs: number): Promise<CaMaterial> {
  if (!isTrustDomain(trustDomain)) throw certsFailure('CA_UNUSABLE', { trustDomain, reason: 'not a trust domain' })
  const algorithm: SigningAlgorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const now = Math.floor(clock.nowMs() / 1000) * 1000
  const root = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerial(),
    name: [{ O: [trustDomain] }, { CN: [`Weft root ${randomBytes(4).toString('hex')}`] }], // distinct: rotated roots are told apart by name
    notBefore: new Date(now - LONGEST_BACKDATE_MS),
    notAfter: new Date(now + lifeMs),
    keys,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      new x509.SubjectAlternativeNameExtension([{ type: 'url', value: `spiffe://${trustDomain}` }]),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  const rootPem = formatPem('CERTIFICATE', new Uint8Array(root.rawData))
  const key = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)
  return { certChainPem: rootPem, keyPem: formatPem('PRIVATE KEY', new Uint8Array(key)), rootsPem: rootPem }
}

/** Hex of 16 random bytes below 2^127, so that DER needs no leading zero and the number is positive. */
function newSerial(): string {
  const bytes = randomBytes(SERIAL_BYTES)
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40 // a set second bit keeps the length: 126 random bits
  return bytes.toString('hex')
}
