// The one door to @peculiar/x509, with what it needs at load time: its dependency container wants Reflect metadata, and it
// signs through the platform's WebCrypto. Everything else of certs/ imports the library from here.
import 'reflect-metadata'
import { webcrypto } from 'node:crypto'
import * as x509 from '@peculiar/x509'

/** ECDSA with P-256 and SHA-256: every key that the mesh makes. */
export const MESH_KEY_ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const

/** The library with its crypto provider set. */
export function x509Library(): typeof x509 {
  x509.cryptoProvider.set(webcrypto as unknown as Crypto)
  return x509
}

/** @returns the DER of every certificate of a PEM text, in order. @throws Error of the library when a block is broken */
export function derBlocks(pem: string): Uint8Array[] {
  return x509Library()
    .PemConverter.decodeWithHeaders(pem)
    .filter((block) => block.type === 'CERTIFICATE')
    .map((block) => new Uint8Array(block.rawData))
}
