// The ZDS messages as values, and their bytes: one protobuf message per packet of at most 1024 bytes.
// Follows istio/ztunnel:proto/zds.proto and src/inpod/protocol.rs; decoders never throw.
import { faults, type Result, success } from '../kit/error.ts'
import { PACKET_BYTES } from '../linux/seqpacket-calls.ts'
import { decodeMessage, encodeMessage } from '../proto/wire.ts'
import { Version, WorkloadRequestSchema, WorkloadResponseSchema, ZdsHelloSchema } from '../proto/zds_pb.ts'
import { zdsFailure } from './errors.ts'

/** What ztunnel is told about a pod; the identity it asks certificates for. */
export interface ZdsWorkload {
  readonly name: string
  readonly namespace: string
  readonly serviceAccount: string
}

/** Agent to ztunnel. `uid` is the pod's UID. Only `add` comes with a descriptor, and always with exactly one. */
export type ZdsRequest =
  | { readonly kind: 'add'; readonly uid: string; readonly info?: ZdsWorkload }
  | { readonly kind: 'keep'; readonly uid: string }
  | { readonly kind: 'del'; readonly uid: string }
  | { readonly kind: 'snapshot-sent' }

/** @throws MeshError ZDS_TOO_LARGE */
export function encodeRequest(request: ZdsRequest): Buffer {
  const bytes = encodeMessage(WorkloadRequestSchema, { payload: payloadOf(request) })
  if (bytes.length > PACKET_BYTES) throw zdsFailure('ZDS_TOO_LARGE', { bytes: bytes.length })
  return bytes
}

/** Names are checked for length and printable characters only: they are keys, not paths. */
export function decodeRequest(bytes: Uint8Array): Result<ZdsRequest> {
  const message = decodeMessage(WorkloadRequestSchema, bytes, PACKET_BYTES)
  if (!message.ok) return message
  const { payload } = message.value
  switch (payload.case) {
    case 'add': {
      const { uid, workloadInfo } = payload.value
      const errors = [...nameFaults('uid', uid, 1)]
      if (workloadInfo === undefined) return errors.length > 0 ? faults(...errors) : success({ kind: 'add', uid })
      const { name, namespace, serviceAccount } = workloadInfo
      errors.push(...nameFaults('name', name), ...nameFaults('namespace', namespace), ...nameFaults('serviceAccount', serviceAccount))
      return errors.length > 0 ? faults(...errors) : success({ kind: 'add', uid, info: { name, namespace, serviceAccount } })
    }
    case 'keep':
    case 'del': {
      const { uid } = payload.value
      const errors = nameFaults('uid', uid, 1)
      return errors.length > 0 ? faults(...errors) : success({ kind: payload.case, uid })
    }
    case 'snapshotSent':
      return success({ kind: 'snapshot-sent' })
    case undefined:
      return faults('WorkloadRequest: no known payload')
    default:
      return payload satisfies never
  }
}

/** ztunnel's first packet. */
export function encodeHello(): Buffer {
  return encodeMessage(ZdsHelloSchema, { version: Version.V1 })
}

/** Only version 1 is spoken. */
export function decodeHello(bytes: Uint8Array): Result<'v1'> {
  const message = decodeMessage(ZdsHelloSchema, bytes, PACKET_BYTES)
  if (!message.ok) return message
  return message.value.version === Version.V1 ? success('v1') : faults(`ZdsHello: version ${message.value.version}, only 1 is spoken`)
}

/** @param error text of a failure, cut to fit; undefined = success */
export function encodeAck(error?: string): Buffer {
  const text = Buffer.from(error ?? '')
    .toString('utf8', 0, LONGEST_ERROR_BYTES)
    .replace(/\uFFFD$/, '')
  return encodeMessage(WorkloadResponseSchema, { payload: { case: 'ack', value: { error: text } } })
}

/** @returns the text of a failure, empty on success; control characters are replaced (it goes into logs and events) */
export function decodeAck(bytes: Uint8Array): Result<string> {
  const message = decodeMessage(WorkloadResponseSchema, bytes, PACKET_BYTES)
  if (!message.ok) return message
  const { payload } = message.value
  if (payload.case !== 'ack') return faults('WorkloadResponse: no ack')
  return success(payload.value.error.replace(/\p{Cc}/gu, ' '))
}

const LONGEST_NAME = 253 // DNS subdomain, the longest name in Kubernetes
const LONGEST_ERROR_BYTES = 900 // leaves room for two heads within a packet

type Payload = NonNullable<Parameters<typeof encodeMessage<typeof WorkloadRequestSchema>>[1]['payload']>

function payloadOf(request: ZdsRequest): Payload {
  switch (request.kind) {
    case 'add':
      return { case: 'add', value: { uid: request.uid, ...(request.info === undefined ? {} : { workloadInfo: request.info }) } }
    case 'keep':
      return { case: 'keep', value: { uid: request.uid } }
    case 'del':
      return { case: 'del', value: { uid: request.uid } }
    case 'snapshot-sent':
      return { case: 'snapshotSent', value: {} }
    default:
      return request satisfies never
  }
}

function nameFaults(field: string, value: string, shortest = 0): string[] {
  if (value.length < shortest || value.length > LONGEST_NAME)
    return [`${field}: ${value.length} characters, ${shortest} to ${LONGEST_NAME} are allowed`]
  return /^[\x20-\x7e]*$/.test(value) ? [] : [`${field}: a character is not printable ASCII`]
}
