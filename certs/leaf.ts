// Leaf certificates from a template: everything that is the same in all of them is encoded once, the rest is put between, and OpenSSL
// signs. Ten times cheaper than building each by @peculiar/x509 (bench/certificates.ts); a property test keeps both byte for byte equal.
// Only encoding is done here: lengths and tags (X.690, RFC 5280 §4.1); no cryptography, and no byte of a request but its checked key.
import { sign } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import type { SigningAlgorithm } from './key.ts'

/** The signer of leaves. */
export interface LeafIssuer {
  /** DER of its Name. */
  readonly issuer: Uint8Array
  readonly key: KeyObject
  readonly algorithm: SigningAlgorithm
  /** Its subject key identifier, hex; undefined = leaves name none. */
  readonly keyIdentifier: string | undefined
}

/** What differs from leaf to leaf. */
export interface LeafParts {
  /** Hex of a positive INTEGER without leading zero octets, first bit 0. */
  readonly serial: string
  readonly notBefore: Date
  readonly notAfter: Date
  readonly publicKey: KeyObject
  /** DER of the GeneralName elements, one after the other. */
  readonly names: Uint8Array
  /** Server role only; both roles otherwise. */
  readonly isServer: boolean
}

const SEQUENCE = 0x30
const OCTET_STRING = 0x04
const GENERAL_NAME = { uri: 0x86, dns: 0x82 } as const
const VERSION_3 = Buffer.from('a003020102', 'hex')
const EMPTY = Buffer.from('3000', 'hex')
const TRUE = Buffer.from('0101ff', 'hex')
const OIDS = {
  basicConstraints: Buffer.from('0603551d13', 'hex'),
  keyUsage: Buffer.from('0603551d0f', 'hex'),
  extendedKeyUsage: Buffer.from('0603551d25', 'hex'),
  subjectAltName: Buffer.from('0603551d11', 'hex'),
  authorityKeyIdentifier: Buffer.from('0603551d23', 'hex'),
  serverAuth: Buffer.from('06082b06010505070301', 'hex'),
  clientAuth: Buffer.from('06082b06010505070302', 'hex'),
} as const
/** digitalSignature and keyEncipherment. */
const KEY_USAGE = Buffer.from('030205a0', 'hex')
/** AlgorithmIdentifiers (RFC 5758 §3.2, RFC 4055 §5). */
const ALGORITHMS = {
  'P-256': { der: Buffer.from('300a06082a8648ce3d040302', 'hex'), hash: 'sha256' },
  'P-384': { der: Buffer.from('300a06082a8648ce3d040303', 'hex'), hash: 'sha384' },
  RSA: { der: Buffer.from('300d06092a864886f70d01010b0500', 'hex'), hash: 'sha256' },
} as const
const FIRST_YEAR_OF_GENERALIZED_TIME = 2050 // RFC 5280 §4.1.2.5

/** Signs leaves of one issuer. */
export class LeafSigner {
  readonly #key: KeyObject
  readonly #algorithm: (typeof ALGORITHMS)[keyof typeof ALGORITHMS]
  readonly #beforeValidity: Buffer
  readonly #beforeNames: { readonly server: Buffer; readonly both: Buffer }
  readonly #afterNames: Buffer

  constructor({ issuer, key, algorithm, keyIdentifier }: LeafIssuer) {
    this.#key = key
    this.#algorithm = ALGORITHMS[algorithm.name === 'ECDSA' ? algorithm.namedCurve : 'RSA']
    this.#beforeValidity = Buffer.concat([this.#algorithm.der, issuer])
    const fixed = [extension(OIDS.basicConstraints, true, EMPTY), extension(OIDS.keyUsage, true, KEY_USAGE)]
    const usage = (...purposes: Buffer[]): Buffer => extension(OIDS.extendedKeyUsage, false, tlv(SEQUENCE, ...purposes))
    this.#beforeNames = {
      server: Buffer.concat([...fixed, usage(OIDS.serverAuth)]),
      both: Buffer.concat([...fixed, usage(OIDS.serverAuth, OIDS.clientAuth)]),
    }
    this.#afterNames =
      keyIdentifier === undefined
        ? Buffer.alloc(0)
        : extension(OIDS.authorityKeyIdentifier, false, tlv(SEQUENCE, tlv(0x80, Buffer.from(keyIdentifier, 'hex'))))
  }

  /** @returns DER of the certificate */
  async sign(parts: LeafParts): Promise<Buffer> {
    const tbs = this.#tbs(parts)
    const signature = await this.#signature(tbs)
    return tlv(SEQUENCE, tbs, this.#algorithm.der, tlv(0x03, Buffer.of(0), signature))
  }

  #tbs({ serial, notBefore, notAfter, publicKey, names, isServer }: LeafParts): Buffer {
    const subjectAltName = extension(OIDS.subjectAltName, true, tlv(SEQUENCE, names)) // critical: the subject is empty (RFC 5280 §4.2.1.6)
    const extensions = tlv(SEQUENCE, isServer ? this.#beforeNames.server : this.#beforeNames.both, subjectAltName, this.#afterNames)
    return tlv(
      SEQUENCE,
      VERSION_3,
      tlv(0x02, Buffer.from(serial, 'hex')),
      this.#beforeValidity,
      tlv(SEQUENCE, timeOf(notBefore), timeOf(notAfter)),
      EMPTY,
      publicKey.export({ type: 'spki', format: 'der' }), // OpenSSL's own encoding, never the bytes that came
      tlv(0xa3, extensions),
    )
  }

  /** ECDSA takes microseconds and is done at once; RSA would hold up everybody and goes to a thread. */
  #signature(tbs: Buffer): Buffer | Promise<Buffer> {
    const { hash } = this.#algorithm
    if (this.#key.asymmetricKeyType === 'ec') return sign(hash, tbs, this.#key)
    return new Promise((resolve, reject) => {
      sign(hash, tbs, this.#key, (error, signature) => (error === null ? resolve(signature) : reject(error)))
    })
  }
}

/** GeneralName of a URI or a DNS name; the text is ASCII. */
export function generalName(type: keyof typeof GENERAL_NAME, text: string): Buffer {
  return tlv(GENERAL_NAME[type], Buffer.from(text, 'latin1'))
}

function extension(oid: Buffer, isCritical: boolean, value: Buffer): Buffer {
  const body = tlv(OCTET_STRING, value)
  return isCritical ? tlv(SEQUENCE, oid, TRUE, body) : tlv(SEQUENCE, oid, body)
}

/** UTCTime or GeneralizedTime, whole seconds (RFC 5280 §4.1.2.5). */
function timeOf(date: Date): Buffer {
  const digits = date
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replace(/[-:T]/g, '')
  const isGeneralized = date.getUTCFullYear() >= FIRST_YEAR_OF_GENERALIZED_TIME
  return isGeneralized ? tlv(0x18, Buffer.from(digits)) : tlv(0x17, Buffer.from(digits.slice(2)))
}

/** Tag, length in its shortest form, contents. */
function tlv(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const length = contents.reduce((sum, part) => sum + part.length, 0)
  const head = length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff]
  if (length > 0xffff) throw new RangeError('a certificate of more than 64 KiB')
  return Buffer.concat([Buffer.from(head), ...contents], head.length + length)
}
