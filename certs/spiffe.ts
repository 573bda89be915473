// SPIFFE IDs, character by character, as SPIFFE-ID.md (spiffe/spiffe:standards) has them. No URL parser: it would repair
// what must be refused (case, percent-encoding, dot segments). Called by svid.ts, the CA and whoever reads an ID.
import { faults, success } from '../kit/error.ts'
import type { Result } from '../kit/error.ts'
import type { Identity, SpiffeId } from '../model/identity.ts'

/** Longest ID that is read, in bytes (SPIFFE-ID.md §2.3). */
export const LONGEST_ID_BYTES = 2048
/** Longest trust domain, in bytes. */
const LONGEST_TRUST_DOMAIN_BYTES = 255
const SCHEME = 'spiffe://'
const TRUST_DOMAIN = /^[a-z0-9._-]+$/
const SEGMENT = /^[A-Za-z0-9._-]+$/

/** A parsed ID. `path` is empty (the ID of a trust domain) or begins with `/`. */
export interface ParsedSpiffeId {
  readonly id: SpiffeId
  readonly trustDomain: string
  readonly path: string
}

/** Parses any SPIFFE ID; reports every fault. Nothing is normalised: what is accepted is canonical already. */
export function parseSpiffeId(text: string): Result<ParsedSpiffeId> {
  // Every legal character is one byte long, so the length in characters bounds the work before anything is scanned.
  if (text.length > LONGEST_ID_BYTES) return faults(`a SPIFFE ID has at most ${LONGEST_ID_BYTES} bytes`)
  if (!text.startsWith(SCHEME)) return faults('a SPIFFE ID begins with spiffe://')
  const slash = text.indexOf('/', SCHEME.length)
  const trustDomain = slash === -1 ? text.slice(SCHEME.length) : text.slice(SCHEME.length, slash)
  const path = slash === -1 ? '' : text.slice(slash)
  const errors = [...trustDomainFaults(trustDomain), ...pathFaults(path)]
  return errors.length === 0 ? success({ id: text as SpiffeId, trustDomain, path }) : faults(...errors)
}

/** Parses a workload's ID, `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT`. */
export function parseWorkloadId(text: string): Result<Identity> {
  const parsed = parseSpiffeId(text)
  return parsed.ok ? workloadOf(parsed.value) : parsed
}

/** The parts of a parsed ID, if it has a workload's shape. */
export function workloadOf(parsed: ParsedSpiffeId): Result<Identity> {
  const [, ns, namespace, sa, serviceAccount, ...rest] = parsed.path.split('/')
  if (ns !== 'ns' || sa !== 'sa' || namespace === undefined || serviceAccount === undefined || rest.length > 0) {
    return faults("a workload's path is /ns/NAMESPACE/sa/SERVICE-ACCOUNT")
  }
  return success({ trustDomain: parsed.trustDomain, namespace, serviceAccount })
}

/** Whether `text` can be a trust domain. */
export function isTrustDomain(text: string): boolean {
  return trustDomainFaults(text).length === 0
}

function trustDomainFaults(trustDomain: string): string[] {
  if (trustDomain === '') return ['the trust domain is empty']
  if (trustDomain.length > LONGEST_TRUST_DOMAIN_BYTES) return [`a trust domain has at most ${LONGEST_TRUST_DOMAIN_BYTES} bytes`]
  return TRUST_DOMAIN.test(trustDomain) ? [] : ['a trust domain has only a-z, 0-9, dot, dash and underscore']
}

function pathFaults(path: string): string[] {
  if (path === '') return []
  if (path.endsWith('/')) return ['the path ends with a slash']
  const errors = new Set<string>()
  for (const segment of path.slice(1).split('/')) {
    if (segment === '') errors.add('the path has an empty segment')
    else if (segment === '.' || segment === '..') errors.add('the path has a relative segment')
    else if (!SEGMENT.test(segment)) errors.add('a path segment has only letters, digits, dot, dash and underscore')
  }
  return [...errors]
}
