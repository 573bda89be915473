// What the root Secrets hold -> who signs and which roots are distributed at a moment. Pure: every replica comes to the same answer
// from the same Secrets, so that a rotation needs no word between them. A new root is in every bundle before it signs, and an old
// one stays until nothing that it signed is valid any more.
import { type CaMaterial, fromCacerts } from '../../certs/ca.ts'
import { formatCertificates, parseRoots } from '../../certs/bundle.ts'
import { faults, type Result, success } from '../../kit/error.ts'
import type { MeshObject, StringMap } from '../../model/object.ts'

/** The mesh's own root; the keys of its data are those of `cacerts`, and `next-…` during a rotation. */
export const OWN_SECRET = 'weft-ca'
/** A CA that the operator brings, in the form of Istio. */
export const CACERTS_SECRET = 'cacerts'
/** Set by the operator on OWN_SECRET: a rotation is wanted. Taken off when it begins. */
export const ROTATE_ANNOTATION = 'weft.dev/rotate'
/** When the next root was put into the bundle, RFC 3339. */
export const ROTATION_ANNOTATION = 'weft.dev/rotation-began'
/** When `cacerts` was first seen beside OWN_SECRET, RFC 3339. */
export const CACERTS_ANNOTATION = 'weft.dev/cacerts-began'

/** The Secrets of one moment; undefined = it does not exist. */
export interface RootSecrets {
  readonly own: MeshObject | undefined
  readonly cacerts: MeshObject | undefined
}

/** `steady`: one signer. `announced`: the next one is distributed and does not sign yet. `signing`: it signs, the old one is still trusted. */
export type RotationPhase = 'steady' | 'announced' | 'signing'

/** Who signs, with every root to distribute. */
export interface RootMaterial {
  readonly material: CaMaterial
  readonly phase: RotationPhase
  /** What will sign after `announced`. */
  readonly next?: CaMaterial
  /** Unix ms at which the phase ends by itself; undefined when it does not. */
  readonly endsMs: number | undefined
}

/** How long one half of a rotation takes: longer than any certificate lives, and some for clocks and reloading. */
export function overlapMs(longestCertificateLifeMs: number): number {
  return Math.ceil(longestCertificateLifeMs * 1.1) + 60_000
}

/** @returns the material in force at `nowMs`, or every fault of the Secrets */
export function materialAt({ own, cacerts }: RootSecrets, nowMs: number, overlap: number): Result<RootMaterial> {
  const given = cacerts === undefined ? undefined : readSigner(CACERTS_SECRET, cacerts.data, 'ca-')
  if (own === undefined) {
    if (given === undefined) return faults('there is no root')
    return given.ok ? success({ material: given.value, phase: 'steady', endsMs: undefined }) : given
  }
  const first = readSigner(OWN_SECRET, own.data, 'ca-')
  if (!first.ok) return first
  const next = given ?? (own.data?.['next-cert.pem'] === undefined ? undefined : readSigner(OWN_SECRET, own.data, 'next-'))
  if (next === undefined) return success({ material: first.value, phase: 'steady', endsMs: undefined })
  if (!next.ok) return next
  const rootsPem = joinRoots([first.value.rootsPem, next.value.rootsPem])
  if (!rootsPem.ok) return rootsPem
  const began = beganMs(own, given === undefined ? ROTATION_ANNOTATION : CACERTS_ANNOTATION)
  const signsFrom = began === undefined ? undefined : began + overlap
  const isNext = signsFrom !== undefined && nowMs >= signsFrom
  const signer = isNext ? next.value : first.value
  return success({
    material: { ...signer, rootsPem: rootsPem.value },
    phase: isNext ? 'signing' : 'announced',
    ...(!isNext && { next: { ...next.value, rootsPem: rootsPem.value } }),
    endsMs: isNext ? signsFrom + overlap : signsFrom,
  })
}

/** The time that an annotation of the Secret tells, Unix ms. */
export function beganMs(secret: MeshObject, annotation: string): number | undefined {
  const time = Date.parse(secret.metadata.annotations?.[annotation] ?? '')
  return Number.isNaN(time) ? undefined : time
}

/** Data of a new OWN_SECRET. */
export function secretData(material: CaMaterial): StringMap {
  return encodeData({ 'ca-cert.pem': material.certChainPem, 'ca-key.pem': material.keyPem, 'root-cert.pem': material.rootsPem })
}

/** Data of a Secret: base64 of each text. */
export function encodeData(data: StringMap): StringMap {
  return Object.fromEntries(Object.entries(data).map(([key, text]) => [key, Buffer.from(text).toString('base64')]))
}

/** @param prefix of the keys of certificate and private key; the next root is its own bundle */
export function readSigner(secret: string, data: StringMap | undefined, prefix: 'ca-' | 'next-'): Result<CaMaterial> {
  const text = (key: string): string => Buffer.from(data?.[key] ?? '', 'base64').toString('utf8')
  const cert = text(`${prefix}cert.pem`)
  const key = text(`${prefix}key.pem`)
  const missing = [cert === '' ? `${prefix}cert.pem` : '', key === '' ? `${prefix}key.pem` : ''].filter((name) => name !== '')
  if (missing.length > 0) return faults(`Secret ${secret} lacks ${missing.join(' and ')}`)
  if (prefix === 'next-') return success({ certChainPem: cert, keyPem: key, rootsPem: cert })
  const roots = text('root-cert.pem')
  const files = { 'ca-cert.pem': cert, 'ca-key.pem': key, 'cert-chain.pem': text('cert-chain.pem') }
  return success(fromCacerts({ ...files, 'root-cert.pem': roots === '' ? cert : roots }))
}

/** One bundle of several, each root once. */
export function joinRoots(bundles: readonly string[]): Result<string> {
  const roots = parseRoots(bundles.join('\n'))
  return roots.ok ? success(formatCertificates(roots.value)) : roots
}
