// Trust bundles: the roots of each trust domain. A peer is checked against the roots of its own domain only, never against
// the union; a domain without roots is trusted by nobody. Follows SPIFFE_Trust_Domain_and_Bundle.md §4.
import { X509Certificate } from 'node:crypto'
import { faults, messageOf, success } from '../kit/error.ts'
import type { Result } from '../kit/error.ts'
import { formatPem, parsePem } from './pem.ts'
import { isTrustDomain } from './spiffe.ts'

/** A certificate as OpenSSL reads it. */
export type X509 = X509Certificate

/** Roots by trust domain. Immutable; a changed bundle is a new object. */
export interface TrustBundle {
  readonly roots: ReadonlyMap<string, readonly X509[]>
  /** PEM of one domain's roots, or of all (as `ca` of a TLS context). Empty text = nobody is trusted. */
  pem(trustDomain?: string): string
}

const MOST_CERTIFICATES = 256

/**
 * Reads the roots of one trust domain. Empty text is an empty bundle: everything of that domain is then distrusted.
 * @param pem CA certificates; anything else is a fault
 */
export function parseBundle(pem: string, trustDomain: string): Result<TrustBundle> {
  if (!isTrustDomain(trustDomain)) return faults(`trust bundle: ${JSON.stringify(trustDomain.slice(0, 64))} is not a trust domain`)
  const roots = parseRoots(pem)
  return roots.ok ? makeBundle([[trustDomain, roots.value]]) : roots
}

/** A bundle of the given roots; a domain that is named twice is a fault, else one list would silently replace the other. */
export function makeBundle(entries: Iterable<readonly [trustDomain: string, roots: readonly X509[]]>): Result<TrustBundle> {
  const roots = new Map<string, readonly X509[]>()
  for (const [trustDomain, list] of entries) {
    if (roots.has(trustDomain)) return faults(`trust bundle: ${trustDomain} is named twice`)
    roots.set(trustDomain, list)
  }
  return success({
    roots,
    pem: (trustDomain) => formatCertificates(trustDomain === undefined ? [...roots.values()].flat() : (roots.get(trustDomain) ?? [])),
  })
}

/** The CA certificates of PEM text, each once. */
export function parseRoots(pem: string): Result<readonly X509[]> {
  const certificates = parseCertificates(pem)
  if (!certificates.ok) return certificates
  const wrong = certificates.value.findIndex((root) => !root.ca)
  if (wrong >= 0) return faults(`certificate ${wrong + 1} is not a CA certificate`)
  return success([...new Map(certificates.value.map((root) => [root.fingerprint256, root])).values()])
}

/** All certificates of PEM text, in order; any other block is a fault. */
export function parseCertificates(pem: string): Result<readonly X509[]> {
  const blocks = parsePem(pem)
  if (!blocks.ok) return blocks
  if (blocks.value.length > MOST_CERTIFICATES) return faults(`more than ${MOST_CERTIFICATES} certificates`)
  const certificates: X509[] = []
  for (const { label, der } of blocks.value) {
    if (label !== 'CERTIFICATE') return faults(`a ${label} block where certificates are expected`)
    try {
      certificates.push(new X509Certificate(der))
    } catch (error) {
      return faults(`certificate ${certificates.length + 1}: ${messageOf(error)}`)
    }
  }
  return success(certificates)
}

/** PEM of certificates, in order. */
export function formatCertificates(certificates: readonly X509[]): string {
  return certificates.map((certificate) => formatPem('CERTIFICATE', certificate.raw)).join('')
}
