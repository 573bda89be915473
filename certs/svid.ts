// The rules that a leaf certificate must keep to count as an X509-SVID (spiffe/spiffe:standards/X509-SVID.md §2–§5).
// OpenSSL has validated the chain before; these checks come on top and look at the DER only, never at Node's printed names.
import './x509.ts' // first: the library wants Reflect metadata when it loads
import * as x509 from '@peculiar/x509'
import { faults, messageOf, success } from '../kit/error.ts'
import type { Result } from '../kit/error.ts'
import type { Identity, SpiffeId } from '../model/identity.ts'
import { readSequence } from './der.ts'
import { parsePublicKey } from './key.ts'
import { parseSpiffeId, workloadOf } from './spiffe.ts'
import type { ParsedSpiffeId } from './spiffe.ts'

/** A leaf that keeps all rules. `identity` is undefined when the ID is not of Istio's form. */
export interface CheckedSvid {
  readonly id: SpiffeId
  readonly trustDomain: string
  readonly identity: Identity | undefined
  readonly notBefore: Date
  readonly notAfter: Date
  /** Lower-case hex. */
  readonly serial: string
}

/** Largest leaf that is read; a real one has less than 1 KiB. */
const LARGEST_LEAF_BYTES = 16 * 1024
const SUBJECT_ALT_NAME = '2.5.29.17'
/** Extensions whose meaning is checked here or by OpenSSL: key usage, names, constraints, policies, extended usage, key ids. */
const UNDERSTOOD = new Set(['2.5.29.15', SUBJECT_ALT_NAME, '2.5.29.19', '2.5.29.32', '2.5.29.37', '2.5.29.14', '2.5.29.35'])
/** Context tag of uniformResourceIdentifier in GeneralName (RFC 5280 §4.2.1.6), primitive. */
const URI_TAG = 0x86

/**
 * Checks a leaf certificate. Never throws.
 * @param der the certificate as it came over the wire
 * @param at the time at which it must be valid
 * @returns the identity that it proves, or every rule that it breaks; a time fault is `SVID: expired` or `SVID: not valid yet`
 */
export function checkSvid(der: Uint8Array, at: Date): Result<CheckedSvid> {
  if (der.length > LARGEST_LEAF_BYTES) return faults(`SVID: larger than ${LARGEST_LEAF_BYTES} bytes`)
  try {
    const leaf = new x509.X509Certificate(Uint8Array.from(der))
    const name = spiffeName(leaf)
    const errors = [...extensionFaults(leaf), ...constraintFaults(leaf), ...usageFaults(leaf), ...keyFaults(leaf), ...timeFaults(leaf, at)]
    if (!name.ok) return faults(...name.errors, ...errors)
    if (errors.length > 0) return faults(...errors)
    const workload = workloadOf(name.value)
    return success({
      id: name.value.id,
      trustDomain: name.value.trustDomain,
      identity: workload.ok ? workload.value : undefined,
      notBefore: leaf.notBefore,
      notAfter: leaf.notAfter,
      serial: leaf.serialNumber.toLowerCase(),
    })
  } catch (error) {
    return faults(`SVID: not a certificate: ${messageOf(error)}`)
  }
}

/** Exactly one URI name, a SPIFFE ID with a path; names of other types may stand beside it (X509-SVID §2). */
function spiffeName(leaf: x509.X509Certificate): Result<ParsedSpiffeId> {
  const san = leaf.extensions.find((extension) => extension.type === SUBJECT_ALT_NAME)
  if (san === undefined) return faults('SVID: no subjectAltName')
  const names = readSequence(new Uint8Array(san.value))
  if (!names.ok) return faults(`SVID: subjectAltName: ${names.errors.join('; ')}`)
  const [uri, ...more] = names.value.filter((name) => name.tag === URI_TAG)
  if (uri === undefined || more.length > 0)
    return faults(`SVID: exactly one URI name is required, ${uri === undefined ? 0 : more.length + 1} found`)
  if (leaf.subjectName.toArrayBuffer().byteLength <= EMPTY_NAME_BYTES && !san.critical)
    return faults('SVID: with an empty subject the subjectAltName must be critical')
  // latin1 keeps every byte one character: NUL and bytes above 0x7f stay visible to the ID's rules.
  const parsed = parseSpiffeId(Buffer.from(uri.value).toString('latin1'))
  if (!parsed.ok) return faults(...parsed.errors.map((error) => `SVID: ${error}`))
  return parsed.value.path === '' ? faults('SVID: the ID of a trust domain itself never authenticates') : parsed
}

const EMPTY_NAME_BYTES = 2 // SEQUENCE of length 0

/** No extension twice (RFC 5280 §4.2); none that is critical and not understood. */
function extensionFaults(leaf: x509.X509Certificate): string[] {
  const errors: string[] = []
  const seen = new Set<string>()
  for (const { type, critical } of leaf.extensions) {
    if (seen.has(type)) errors.push(`SVID: extension ${type} is there twice`)
    if (critical && !UNDERSTOOD.has(type)) errors.push(`SVID: critical extension ${type} is not understood`)
    seen.add(type)
  }
  return errors
}

function constraintFaults(leaf: x509.X509Certificate): string[] {
  const constraints = leaf.getExtension(x509.BasicConstraintsExtension)
  return constraints?.ca === true ? ['SVID: a signing certificate never authenticates (CA is set)'] : []
}

function usageFaults(leaf: x509.X509Certificate): string[] {
  const errors: string[] = []
  const usage = leaf.getExtension(x509.KeyUsagesExtension)
  const bits = usage?.usages ?? 0
  if (usage === null) errors.push('SVID: keyUsage is missing')
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

function keyFaults(leaf: x509.X509Certificate): string[] {
  const key = parsePublicKey(new Uint8Array(leaf.publicKey.rawData))
  return key.ok ? [] : key.errors.map((error) => `SVID: ${error}`)
}

function timeFaults(leaf: x509.X509Certificate, at: Date): string[] {
  if (at < leaf.notBefore) return ['SVID: not valid yet']
  return at > leaf.notAfter ? ['SVID: expired'] : []
}
