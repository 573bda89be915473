// Trust bundles: the root certificates of each trust domain. A domain without roots is distrusted as a whole, and the
// roots of one domain never vouch for another (SPIFFE_Trust_Domain_and_Bundle.md §4).
import { createHash, X509Certificate } from 'node:crypto'
import { faults, messageOf, success } from '../kit/error.ts'
import type { Result } from '../kit/error.ts'
import { derBlocks } from './x509.ts'

/** Roots by trust domain. Immutable: a change is a new bundle. */
export interface TrustBundle {
  readonly roots: ReadonlyMap<string, readonly X509Certificate[]>
  /** PEM of one domain's roots, or of all (for `ca` of a TLS context; which domain a chain ended in is checked after). */
  pem(trustDomain?: string): string
  /** The domain whose root this is, by SHA-256 of the DER; undefined = nobody's. */
  domainOfRoot(der: Uint8Array): string | undefined
}

const LARGEST_BUNDLE_BYTES = 1024 * 1024
const MOST_ROOTS = 64

/** @returns a bundle of the given roots. */
export function makeBundle(roots: ReadonlyMap<string, readonly X509Certificate[]>): TrustBundle {
  const domains = new Map<string, string>()
  for (const [domain, list] of roots) for (const root of list) domains.set(fingerprint(root.raw), domain)
  return {
    roots,
    pem: (trustDomain) => {
      const chosen = trustDomain === undefined ? [...roots.values()].flat() : (roots.get(trustDomain) ?? [])
      return chosen.map((root) => root.toString()).join('')
    },
    domainOfRoot: (der) => domains.get(fingerprint(der)),
  }
}

/**
 * Reads the roots of one trust domain.
 * @param pem one or more certificates; each must be a CA certificate
 * @returns the bundle (possibly without roots: then everything of the domain is refused), or the faults found
 */
export function parseBundle(pem: string, trustDomain: string): Result<TrustBundle> {
  if (pem.length > LARGEST_BUNDLE_BYTES) return faults(`trust bundle: larger than ${LARGEST_BUNDLE_BYTES} bytes`)
  try {
    const list = derBlocks(pem).map((der) => new X509Certificate(der))
    if (list.length > MOST_ROOTS) return faults(`trust bundle: more than ${MOST_ROOTS} certificates`)
    const wrong = list.findIndex((root) => !root.ca)
    if (wrong >= 0) return faults(`trust bundle: certificate ${wrong + 1} is not a CA certificate`)
    return success(makeBundle(new Map([[trustDomain, list]])))
  } catch (error) {
    return faults(`trust bundle: ${messageOf(error)}`)
  }
}

function fingerprint(der: Uint8Array): string {
  return createHash('sha256').update(der).digest('hex')
}
