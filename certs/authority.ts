// Reads and checks what a certificate authority is made of: key and certificate belong together, the chain is unbroken up to
// a root that is distributed. A fault found here is found at start, not by every peer later.
import './x509.ts' // first: the library wants Reflect metadata when it loads
import { X509Certificate as ParsedCertificate, SubjectAlternativeNameExtension, SubjectKeyIdentifierExtension } from '@peculiar/x509'
import { createPrivateKey } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { codeOf } from '../kit/error.ts'
import type { Result } from '../kit/error.ts'
import { parseCertificates, parseRoots } from './bundle.ts'
import type { X509 } from './bundle.ts'
import type { CaMaterial } from './ca.ts'
import { certsFailure } from './errors.ts'
import { signingAlgorithmOf } from './key.ts'
import { LeafSigner } from './leaf.ts'
import { isTrustDomain, parseSpiffeId } from './spiffe.ts'

/** A usable authority. */
export interface Authority {
  /** Signs with the key of the first certificate of the chain. */
  readonly leaves: LeafSigner
  /** What leaves are sent with: the signer and what is above it, without roots. Empty when a root signs. */
  readonly intermediates: readonly X509[]
  readonly roots: readonly X509[]
  /** From when to when every certificate of the chain is valid, Unix ms. */
  readonly notBefore: number
  readonly notAfter: number
}

/** @throws MeshError CA_UNUSABLE, with the reason */
export function readAuthority(material: CaMaterial, trustDomain: string): Authority {
  const roots = must('roots', parseRoots(material.rootsPem))
  const given = must('chain', parseCertificates(material.certChainPem))
  const key = readKey(material.keyPem)
  const chain = uniqueChain(given, roots)
  const [signer] = chain
  if (signer === undefined) throw invalid('no certificate')
  if (!signer.checkPrivateKey(key)) throw invalid('the key does not belong to the first certificate')
  const algorithm = signingAlgorithmOf(key)
  if (!algorithm.ok) throw invalid(algorithm.errors.join('; '))
  const root = checkChain(chain, roots)
  const parsed = new ParsedCertificate(signer.raw)
  checkSignerId(parsed, trustDomain)
  const all = [...chain, root]
  return {
    leaves: new LeafSigner({
      issuer: new Uint8Array(parsed.subjectName.toArrayBuffer()),
      key,
      algorithm: algorithm.value,
      keyIdentifier: parsed.getExtension(SubjectKeyIdentifierExtension)?.keyId, // repeated, so that peers find the issuer among namesakes
    }),
    intermediates: chain.filter((one) => !isOneOf(roots, one)),
    roots,
    notBefore: Math.max(...all.map((one) => one.validFromDate.getTime())),
    notAfter: Math.min(...all.map((one) => one.validToDate.getTime())),
  }
}

/** The chain without repetitions, cut at the first root: what comes after it is never needed. */
function uniqueChain(given: readonly X509[], roots: readonly X509[]): X509[] {
  const chain: X509[] = []
  for (const one of given) {
    if (!isOneOf(chain, one)) chain.push(one)
    if (isOneOf(roots, one)) break
  }
  return chain
}

/** Each certificate must be signed by the next, the last by a root (or be one). @returns that root */
function checkChain(chain: readonly X509[], roots: readonly X509[]): X509 {
  for (const [index, one] of chain.entries()) {
    if (!one.ca) throw invalid(`certificate ${index + 1} of the chain is no CA`)
    const issuer = chain[index + 1]
    if (issuer !== undefined && !isSignedBy(one, issuer)) throw invalid(`certificate ${index + 1} of the chain is not signed by the next`)
  }
  const last = chain.at(-1)
  const root = roots.find((candidate) => last !== undefined && (isOneOf([candidate], last) || isSignedBy(last, candidate)))
  if (root === undefined) throw invalid('the chain does not end at a root of root-cert.pem')
  return root
}

/** A signing certificate may name its trust domain, and no path (X509-SVID.md §3.2). */
function checkSignerId(signer: ParsedCertificate, trustDomain: string): void {
  if (!isTrustDomain(trustDomain)) throw invalid(`${JSON.stringify(trustDomain)} is not a trust domain`)
  const names = signer.getExtension(SubjectAlternativeNameExtension)?.names.items ?? []
  const ids = names.filter((one) => one.type === 'url' && one.value.startsWith('spiffe:')).map((one) => parseSpiffeId(one.value))
  const [id] = ids
  if (id === undefined) return
  if (ids.length > 1 || !id.ok || id.value.path !== '') throw invalid('a signing certificate has one SPIFFE ID at most, without path')
  if (id.value.trustDomain !== trustDomain) throw invalid(`the signing certificate is of trust domain ${id.value.trustDomain}`)
}

/** Whether `issuer`'s name, usage and key fit the signature of `one`. */
export function isSignedBy(one: X509, issuer: X509): boolean {
  return one.checkIssued(issuer) && one.verify(issuer.publicKey)
}

function isOneOf(list: readonly X509[], one: X509): boolean {
  return list.some((known) => known.fingerprint256 === one.fingerprint256)
}

function invalid(reason: string): Error {
  return certsFailure('CA_UNUSABLE', { reason })
}

function must<T>(what: string, result: Result<T>): T {
  if (!result.ok) throw invalid(`${what}: ${result.errors.join('; ')}`)
  return result.value
}

function readKey(pem: string): KeyObject {
  try {
    return createPrivateKey(pem)
  } catch (error) {
    throw certsFailure('CA_UNUSABLE', { reason: `key: ${codeOf(error)}` }) // without the cause: it might quote the PEM
  }
}
