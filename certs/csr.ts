// Certificate requests (PKCS #10): made by the node proxy, checked by the CA. Only the key of a request counts; names and
// extensions that it asks for are ignored.
import './x509.ts' // first: the library wants Reflect metadata when it loads
import { webcrypto } from 'node:crypto'
import { Pkcs10CertificateRequest, Pkcs10CertificateRequestGenerator, SubjectAlternativeNameExtension } from '@peculiar/x509'
import { faults, messageOf, success } from '../kit/error.ts'
import type { Result } from '../kit/error.ts'
import type { SpiffeId } from '../model/identity.ts'
import { parsePublicKey } from './key.ts'
import { formatPem, parsePem } from './pem.ts'

/** Largest request that is read; one with an RSA-8192 key has 3 KiB. */
export const CSR_LIMIT_BYTES = 64 * 1024
const LABELS = new Set(['CERTIFICATE REQUEST', 'NEW CERTIFICATE REQUEST'])
const KEY_ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const

/**
 * Makes a P-256 key and a request for it: empty subject, the ID as critical URI SAN.
 * @returns PEM of the request and of the PKCS #8 key; the key exists nowhere else
 */
export async function createCsr(options: { readonly id: SpiffeId }): Promise<{ csrPem: string; keyPem: string }> {
  const keys = await webcrypto.subtle.generateKey(KEY_ALGORITHM, true, ['sign', 'verify'])
  const request = await Pkcs10CertificateRequestGenerator.create({
    keys,
    signingAlgorithm: KEY_ALGORITHM,
    extensions: [new SubjectAlternativeNameExtension([{ type: 'url', value: options.id }], true)],
  })
  const key = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)
  return {
    csrPem: formatPem('CERTIFICATE REQUEST', new Uint8Array(request.rawData)),
    keyPem: formatPem('PRIVATE KEY', new Uint8Array(key)),
  }
}

/**
 * Checks a request: one block, at most 64 KiB, an allowed key, signed by that key (proof of possession). Never throws.
 * @returns the key as SubjectPublicKeyInfo (DER)
 */
export async function checkCsr(pem: string): Promise<Result<{ readonly publicKey: Uint8Array }>> {
  const blocks = parsePem(pem, CSR_LIMIT_BYTES)
  if (!blocks.ok) return blocks
  const [block, ...rest] = blocks.value
  if (block === undefined || rest.length > 0 || !LABELS.has(block.label)) return faults('exactly one CERTIFICATE REQUEST block is expected')
  try {
    const request = new Pkcs10CertificateRequest(block.der)
    const publicKey = new Uint8Array(request.publicKey.rawData)
    const key = parsePublicKey(publicKey)
    if (!key.ok) return key
    return (await request.verify()) ? success({ publicKey }) : faults('the request is not signed by its own key')
  } catch (error) {
    return faults(`not a certificate request: ${messageOf(error)}`)
  }
}
