// SPIFFE IDs by the standard (spiffe/spiffe:standards/SPIFFE-ID.md §2), and the shape that Istio gives them.
// Every byte of an ID comes from outside: the whole text is checked, nothing is normalised or repaired.
import { faults, success } from '../kit/error.ts'
import type { Result } from '../kit/error.ts'
import type { Identity, SpiffeId } from '../model/identity.ts'

/** A checked SPIFFE ID and its parts; `path` is empty (a trust domain's own ID) or begins with `/`. */
export interface ParsedSpiffeId {
  readonly id: SpiffeId
  readonly trustDomain: string
  readonly path: string
}

const LONGEST_ID_BYTES = 2048 // SPIFFE-ID §2.3
const LONGEST_TRUST_DOMAIN_BYTES = 255 // SPIFFE-ID §2.1
const TRUST_DOMAIN = /^[a-z0-9._-]+$/
const SEGMENT = /^[A-Za-z0-9._-]+$/
const SCHEME = 'spiffe://'

/**
 * Parses a SPIFFE ID by the standard's character rules; the scheme must be written in lower case.
 * @returns the ID, or every rule that the text breaks
 */
export function parseSpiffeId(text: string): Result<ParsedSpiffeId> {
  if (Buffer.byteLength(text) > LONGEST_ID_BYTES) return faults(`SPIFFE ID: longer than ${LONGEST_ID_BYTES} bytes`)
  if (!text.startsWith(SCHEME)) return faults(`SPIFFE ID: must begin with ${SCHEME}`)
  const rest = text.slice(SCHEME.length)
  const slash = rest.indexOf('/')
  const trustDomain = slash < 0 ? rest : rest.slice(0, slash)
  const path = slash < 0 ? '' : rest.slice(slash)
  const errors = [...trustDomainFaults(trustDomain), ...pathFaults(path)]
  return errors.length > 0 ? faults(...errors) : success({ id: text as SpiffeId, trustDomain, path })
}

/** @returns the rules of a trust domain's name that the text breaks; empty = valid. */
export function trustDomainFaults(trustDomain: string): string[] {
  if (trustDomain === '') return ['SPIFFE ID: the trust domain is empty']
  if (trustDomain.length > LONGEST_TRUST_DOMAIN_BYTES)
    return [`SPIFFE ID: the trust domain is longer than ${LONGEST_TRUST_DOMAIN_BYTES} bytes`]
  return TRUST_DOMAIN.test(trustDomain) ? [] : ['SPIFFE ID: the trust domain may hold a-z, 0-9, dot, dash and underscore only']
}

/**
 * Parses the ID of a workload: `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT`, exactly.
 * Follows istio/ztunnel:src/identity/manager.rs (five segments).
 */
export function parseWorkloadId(text: string): Result<Identity> {
  const parsed = parseSpiffeId(text)
  if (!parsed.ok) return parsed
  const [, ns, namespace, sa, serviceAccount, ...more] = parsed.value.path.split('/')
  if (ns !== 'ns' || sa !== 'sa' || namespace === undefined || serviceAccount === undefined || more.length > 0) {
    return faults('SPIFFE ID: not of the form /ns/NAMESPACE/sa/SERVICE-ACCOUNT')
  }
  return success({ trustDomain: parsed.value.trustDomain, namespace, serviceAccount })
}

function pathFaults(path: string): string[] {
  if (path === '') return []
  const errors = new Set<string>()
  for (const segment of path.slice(1).split('/')) {
    if (segment === '') errors.add('SPIFFE ID: an empty path segment or a slash at the end')
    else if (segment === '.' || segment === '..') errors.add('SPIFFE ID: a path segment . or ..')
    else if (!SEGMENT.test(segment)) errors.add('SPIFFE ID: a path segment may hold letters, digits, dot, dash and underscore only')
  }
  return [...errors]
}
