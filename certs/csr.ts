// Certificate signing requests: made by ztunnel for its workloads, checked by the CA. Only the public key of a request
// counts; names and extensions that it asks for are ignored, because identity comes from authentication.
import { webcrypto } from 'node:crypto'
import { faults, messageOf, success } from '../kit/error.ts'
import type { Result } from '../kit/error.ts'
import type { SpiffeId } from '../model/identity.ts'
import { MESH_KEY_ALGORITHM, x509Library } from './x509.ts'

/** A new key (PKCS#8 PEM; keep it in this process) and the request for it. */
export interface NewRequest {
  readonly csrPem: string
  readonly keyPem: string
}

const LARGEST_CSR_BYTES = 64 * 1024
const SMALLEST_RSA_BITS = 2048
const CURVES: readonly string[] = ['P-256', 'P-384']

/** Makes a P-256 key and a request with an empty subject and the ID as URI name, as istio/ztunnel:src/tls/csr.rs does. */
export async function createCsr(options: { readonly id: SpiffeId }): Promise<NewRequest> {
  const x509 = x509Library()
  const keys = await webcrypto.subtle.generateKey(MESH_KEY_ALGORITHM, true, ['sign', 'verify'])
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: '',
    keys,
    signingAlgorithm: MESH_KEY_ALGORITHM,
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: 'url', value: options.id }], true)],
  })
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)
  return { csrPem: request.toString('pem'), keyPem: x509.PemConverter.encode(pkcs8, 'PRIVATE KEY') }
}

/**
 * Checks a request from outside: size, form, proof of possession, kind and size of the key.
 * @returns the public key (SubjectPublicKeyInfo DER), or the fault
 */
export async function checkCsr(pem: string): Promise<Result<{ readonly publicKey: Uint8Array }>> {
  if (Buffer.byteLength(pem) > LARGEST_CSR_BYTES) return faults(`CSR: larger than ${LARGEST_CSR_BYTES} bytes`)
  try {
    const request = new (x509Library().Pkcs10CertificateRequest)(pem)
    const fault = keyFault(request.publicKey.algorithm)
    if (fault !== undefined) return faults(fault)
    if (!(await request.verify())) return faults('CSR: the signature does not prove possession of the key')
    return success({ publicKey: new Uint8Array(request.publicKey.rawData) })
  } catch (error) {
    return faults(`CSR: ${messageOf(error)}`)
  }
}

function keyFault(algorithm: webcrypto.Algorithm & { namedCurve?: string; modulusLength?: number }): string | undefined {
  if (algorithm.name === 'ECDSA' && CURVES.includes(algorithm.namedCurve ?? '')) return undefined
  if (algorithm.name.startsWith('RSA') && (algorithm.modulusLength ?? 0) >= SMALLEST_RSA_BITS) return undefined
  return `CSR: the key must be ECDSA ${CURVES.join(' or ')} or RSA of at least ${SMALLEST_RSA_BITS} bits`
}
