// Key types that the mesh uses: ECDSA P-256 and P-384, RSA of 2048 to 8192 bits. Everything else is refused, in requests, in
// peers' certificates and in the CA's own.
import { createPublicKey } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { faults, success } from '../kit/error.ts'
import type { Result } from '../kit/error.ts'

const SHORTEST_RSA_BITS = 2048
/** A longer modulus only makes the verifier work: 16384 bits take 2 ms per signature. */
const LONGEST_RSA_BITS = 8192
const SMALLEST_RSA_EXPONENT = 65_537n

/** WebCrypto parameters for signing with a key: what @peculiar/x509 turns into the signature algorithm. */
export type SigningAlgorithm =
  | { readonly name: 'ECDSA'; readonly namedCurve: 'P-256' | 'P-384'; readonly hash: 'SHA-256' | 'SHA-384' }
  | { readonly name: 'RSASSA-PKCS1-v1_5'; readonly hash: 'SHA-256' }

/** How a key signs, or why it is not used. */
export function signingAlgorithmOf(key: KeyObject): Result<SigningAlgorithm> {
  const { namedCurve, modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {}
  if (key.asymmetricKeyType === 'ec') {
    if (namedCurve === 'prime256v1') return success({ name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' })
    if (namedCurve === 'secp384r1') return success({ name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' })
    return faults(`curve ${namedCurve ?? 'without a name'} is not used; use P-256 or P-384`)
  }
  if (key.asymmetricKeyType !== 'rsa') return faults(`keys of type ${key.asymmetricKeyType} are not used; use ECDSA or RSA`)
  if (modulusLength < SHORTEST_RSA_BITS || modulusLength > LONGEST_RSA_BITS)
    return faults(`an RSA key has ${SHORTEST_RSA_BITS} to ${LONGEST_RSA_BITS} bits, not ${modulusLength}`)
  if (publicExponent < SMALLEST_RSA_EXPONENT) return faults('the RSA exponent is below 65537')
  return success({ name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' })
}

/** Reads a SubjectPublicKeyInfo and checks its type and size. */
export function parsePublicKey(spki: Uint8Array): Result<KeyObject> {
  let key: KeyObject
  try {
    key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })
  } catch {
    return faults('the public key cannot be read') // OpenSSL's own words name no cause worth telling
  }
  const algorithm = signingAlgorithmOf(key)
  return algorithm.ok ? success(key) : algorithm
}
