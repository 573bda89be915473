// What the leader does to the root Secret, one write at a time: begin a rotation, finish it, note when `cacerts` came. Everything
// between happens by time, in root-material.ts. A write is conditional on the version that it was decided on.
import { X509Certificate } from 'node:crypto'
import { formatCertificates, parseRoots } from '../../certs/bundle.ts'
import { CertificateAuthority } from '../../certs/ca.ts'
import type { Clock } from '../../kit/clock.ts'
import { faults, type Result, success } from '../../kit/error.ts'
import type { MeshObject } from '../../model/object.ts'
import {
  beganMs,
  CACERTS_ANNOTATION,
  encodeData,
  joinRoots,
  OWN_SECRET,
  readSigner,
  ROTATE_ANNOTATION,
  ROTATION_ANNOTATION,
  type RootSecrets,
  secretData,
} from './root-material.ts'

/** A root is replaced in this last part of its life: long before what it signs would be cut short. */
const LAST_SHARE = 0.2

/** One write. `note…`: an annotation with the time from which the overlap counts. */
export type RotationStep = 'begin' | 'finish' | 'note-rotation' | 'note-cacerts' | 'forget-cacerts'

/** JSON merge patch of OWN_SECRET; null removes. */
export interface SecretPatch {
  readonly annotations: Readonly<Record<string, string | null>>
  readonly data?: Readonly<Record<string, string | null>>
}

/** @returns what is due; undefined = nothing */
export function stepAt({ own, cacerts }: RootSecrets, nowMs: number, overlap: number): RotationStep | undefined {
  if (own === undefined) return undefined
  const noted = beganMs(own, CACERTS_ANNOTATION)
  if (cacerts !== undefined) return noted === undefined ? 'note-cacerts' : undefined
  if (noted !== undefined) return 'forget-cacerts'
  if (own.data?.['next-cert.pem'] === undefined) return isDue(own, nowMs, overlap) ? 'begin' : undefined
  const began = beganMs(own, ROTATION_ANNOTATION)
  if (began === undefined) return 'note-rotation'
  return nowMs >= began + 2 * overlap ? 'finish' : undefined
}

/** @throws CA_UNUSABLE when no root can be made, TypeError when the Secret cannot be read (materialAt would have said so) */
export async function patchFor(
  step: RotationStep,
  own: MeshObject,
  { trustDomain, clock }: { readonly trustDomain: string; readonly clock: Clock },
): Promise<SecretPatch> {
  const now = new Date(clock.nowMs()).toISOString()
  if (step === 'note-cacerts') return { annotations: { [CACERTS_ANNOTATION]: now } }
  if (step === 'forget-cacerts') return { annotations: { [CACERTS_ANNOTATION]: null } }
  if (step === 'note-rotation') return { annotations: { [ROTATION_ANNOTATION]: now } }
  if (step === 'finish') {
    const data = finished(own)
    if (!data.ok) throw new TypeError(data.errors.join('; '))
    return { annotations: { [ROTATION_ANNOTATION]: null }, data: data.value }
  }
  const { material } = await CertificateAuthority.selfSigned({ trustDomain, clock })
  return {
    annotations: { [ROTATION_ANNOTATION]: now, [ROTATE_ANNOTATION]: null },
    data: encodeData({ 'next-cert.pem': material.certChainPem, 'next-key.pem': material.keyPem }),
  }
}

/** A self-signed root that the operator wants replaced, or that is in the last part of its life. An intermediate is the operator's. */
function isDue(own: MeshObject, nowMs: number, overlap: number): boolean {
  const signer = readSigner(OWN_SECRET, own.data, 'ca-')
  if (!signer.ok) return false
  const certificate = new X509Certificate(signer.value.certChainPem)
  if (!certificate.checkIssued(certificate)) return false
  if (own.metadata.annotations?.[ROTATE_ANNOTATION] !== undefined) return true
  const [from, to] = [certificate.validFromDate.getTime(), certificate.validToDate.getTime()]
  return to - nowMs < Math.max((to - from) * LAST_SHARE, 3 * overlap)
}

/** The next root becomes the only one; other roots that the operator added to the bundle stay. */
function finished(own: MeshObject): Result<Readonly<Record<string, string | null>>> {
  const first = readSigner(OWN_SECRET, own.data, 'ca-')
  const next = readSigner(OWN_SECRET, own.data, 'next-')
  if (!first.ok) return first
  if (!next.ok) return next
  const others = rootsWithout(first.value.rootsPem, first.value.certChainPem)
  const rootsPem = others.ok ? joinRoots([next.value.rootsPem, others.value]) : others
  if (!rootsPem.ok) return faults(...rootsPem.errors)
  return success({ ...secretData({ ...next.value, rootsPem: rootsPem.value }), 'next-cert.pem': null, 'next-key.pem': null })
}

function rootsWithout(bundlePem: string, pem: string): Result<string> {
  const bundle = parseRoots(bundlePem)
  const gone = parseRoots(pem)
  if (!bundle.ok) return bundle
  if (!gone.ok) return gone
  const left = bundle.value.filter((root) => !gone.value.some((one) => one.fingerprint256 === root.fingerprint256))
  return success(formatCertificates(left))
}
