// The rules that a leaf certificate must keep to count as an X509-SVID (spiffe/spiffe:standards/X509-SVID.md §2–§5).
// OpenSSL has validated the chain before; these checks come on top and look at the DER only, never at Node's printed names.
import { faults, messageOf, success } from '../kit/error.ts'
import type { Result } from '../kit/error.ts'
import type { Identity, SpiffeId } from '../model/identity.ts'
import { parseSpiffeId, parseWorkloadId } from './spiffe.ts'
import { x509Library } from './x509.ts'

/** A leaf that keeps all rules. `identity` is undefined when the ID is not of Istio's form. */
export interface CheckedSvid {
  readonly id: SpiffeId
  readonly trustDomain: string
  readonly identity: Identity | undefined
  readonly notBefore: Date
  readonly notAfter: Date
  /** Hexadecimal. */
  readonly serial: string
}

type Leaf = InstanceType<ReturnType<typeof x509Library>['X509Certificate']>

const LARGEST_LEAF_BYTES = 16 * 1024
const SMALLEST_RSA_BITS = 2048
const CURVES: readonly string[] = ['P-256', 'P-384', 'P-521']
const HASHES: readonly string[] = ['SHA-256', 'SHA-384', 'SHA-512']

/**
 * Checks a leaf certificate.
 * @param der the certificate as it came over the wire
 * @param at the time at which it must be valid
 * @returns the identity that it proves, or every rule that it breaks
 */
export function checkSvid(der: Uint8Array, at: Date): Result<CheckedSvid> {
  if (der.length > LARGEST_LEAF_BYTES) return faults(`SVID: larger than ${LARGEST_LEAF_BYTES} bytes`)
  try {
    const leaf = new (x509Library().X509Certificate)(der as Uint8Array<ArrayBuffer>)
    const name = spiffeName(leaf)
    const errors = [...constraintFaults(leaf), ...usageFaults(leaf), ...keyFaults(leaf), ...timeFaults(leaf, at)]
    if (!name.ok) return faults(...name.errors, ...errors)
    if (errors.length > 0) return faults(...errors)
    const workload = parseWorkloadId(name.value.id)
    return success({
      ...name.value,
      identity: workload.ok ? workload.value : undefined,
      notBefore: leaf.notBefore,
      notAfter: leaf.notAfter,
      serial: leaf.serialNumber,
    })
  } catch (error) {
    return faults(`SVID: not a certificate: ${messageOf(error)}`)
  }
}

/** Exactly one URI name, a SPIFFE ID with a path; DNS names may stand beside it (X509-SVID §2). */
function spiffeName(leaf: Leaf): Result<{ readonly id: SpiffeId; readonly trustDomain: string }> {
  const x509 = x509Library()
  const names = leaf.extensions.filter((extension) => extension.type === x509SanOid)
  if (names.length !== 1) return faults('SVID: exactly one subjectAltName extension must be present')
  const san = leaf.getExtension(x509.SubjectAlternativeNameExtension)
  const uris = san?.names.items.filter((item) => item.type === 'url') ?? []
  const [uri] = uris
  if (uri === undefined || uris.length !== 1) return faults(`SVID: exactly one URI name is required, ${uris.length} found`)
  if (leaf.subject === '' && san?.critical !== true) return faults('SVID: with an empty subject the subjectAltName must be critical')
  const parsed = parseSpiffeId(uri.value)
  if (!parsed.ok) return parsed
  if (parsed.value.path === '') return faults('SVID: the ID of a trust domain itself never authenticates')
  return success({ id: parsed.value.id, trustDomain: parsed.value.trustDomain })
}

const x509SanOid = '2.5.29.17'

function constraintFaults(leaf: Leaf): string[] {
  const constraints = leaf.getExtension(x509Library().BasicConstraintsExtension)
  return constraints?.ca === true ? ['SVID: a signing certificate never authenticates (CA is set)'] : []
}

function usageFaults(leaf: Leaf): string[] {
  const x509 = x509Library()
  const errors: string[] = []
  const usage = leaf.getExtension(x509.KeyUsagesExtension)
  const bits = usage?.usages ?? 0
  if (usage === null || usage === undefined) errors.push('SVID: keyUsage is missing')
  else {
    if (!usage.critical) errors.push('SVID: keyUsage must be critical')
    if ((bits & x509.KeyUsageFlags.digitalSignature) === 0) errors.push('SVID: keyUsage lacks digitalSignature')
    if ((bits & x509.KeyUsageFlags.keyCertSign) !== 0) errors.push('SVID: keyUsage has keyCertSign')
    if ((bits & x509.KeyUsageFlags.cRLSign) !== 0) errors.push('SVID: keyUsage has cRLSign')
  }
  const extended = leaf.getExtension(x509.ExtendedKeyUsageExtension)
  if (extended !== null) {
    const both = [x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]
    if (!both.every((purpose) => extended.usages.includes(purpose))) errors.push('SVID: extKeyUsage must hold serverAuth and clientAuth')
  }
  return errors
}

function keyFaults(leaf: Leaf): string[] {
  const key: { name: string; namedCurve?: string; modulusLength?: number } = leaf.publicKey.algorithm
  const errors: string[] = []
  if (
    key.name === 'ECDSA'
      ? !CURVES.includes(key.namedCurve ?? '')
      : !key.name.startsWith('RSA') || (key.modulusLength ?? 0) < SMALLEST_RSA_BITS
  ) {
    errors.push(`SVID: the key must be ECDSA ${CURVES.join(', ')} or RSA of at least ${SMALLEST_RSA_BITS} bits`)
  }
  const hash = leaf.signatureAlgorithm.hash.name
  if (!HASHES.includes(hash)) errors.push(`SVID: signed with ${hash}`)
  return errors
}

function timeFaults(leaf: Leaf, at: Date): string[] {
  if (at < leaf.notBefore) return ['SVID: not valid yet']
  return at > leaf.notAfter ? ['SVID: expired'] : []
}
