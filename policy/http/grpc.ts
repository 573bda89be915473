// gRPC over HTTP/2 as a proxy sees it: what is a call, statuses of both worlds, and an answer without a backend.
// Follows grpc/grpc:doc/PROTOCOL-HTTP2.md, doc/http-grpc-status-mapping.md and envoy:source/common/grpc/status.cc.
import type { HeaderField, RequestHead, ResponseHead } from '../../model/http.ts'
import { headerOf } from '../../model/http.ts'

/** Status codes of gRPC that a proxy makes or looks at. */
export const GRPC_STATUS = Object.freeze({
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  DEADLINE_EXCEEDED: 4,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  UNAUTHENTICATED: 16,
} as const)

const FROM_HTTP: Readonly<Record<number, number>> = {
  400: GRPC_STATUS.INTERNAL,
  401: GRPC_STATUS.UNAUTHENTICATED,
  403: GRPC_STATUS.PERMISSION_DENIED,
  404: GRPC_STATUS.UNIMPLEMENTED,
  429: GRPC_STATUS.UNAVAILABLE,
  502: GRPC_STATUS.UNAVAILABLE,
  503: GRPC_STATUS.UNAVAILABLE,
  504: GRPC_STATUS.UNAVAILABLE,
}

/** By gRPC status, 0 to 16. */
const TO_HTTP: readonly number[] = [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401]

const MAX_MESSAGE_CHARACTERS = 1024

/** Whether a request is a gRPC call: POST of `application/grpc`, with or without `+codec` and parameters; not gRPC-Web. */
export function isGrpc(head: RequestHead): boolean {
  if (head.method !== 'POST') return false
  const type = headerOf(head.headers, 'content-type')
  if (type === undefined || type.length < 16 || type.slice(0, 16).toLowerCase() !== 'application/grpc') return false
  return type.length === 16 || type[16] === '+' || type[16] === ';' || type[16] === ' '
}

/** The gRPC status that stands for an HTTP status of an answer that is not gRPC. */
export function grpcStatusOf(httpStatus: number): number {
  return FROM_HTTP[httpStatus] ?? GRPC_STATUS.UNKNOWN
}

/** The HTTP status that stands for a gRPC status, as metrics and retries see it; 500 for numbers that gRPC does not know. */
export function httpStatusOf(grpcStatus: number): number {
  return TO_HTTP[grpcStatus] ?? 500
}

/** @returns the number in `grpc-status` of a head or of trailers; undefined when there is none; UNKNOWN when it is no number */
export function grpcStatusIn(fields: readonly HeaderField[]): number | undefined {
  const text = headerOf(fields, 'grpc-status')
  if (text === undefined) return undefined
  return /^[0-9]{1,9}$/.test(text) ? Number(text) : GRPC_STATUS.UNKNOWN
}

/** An answer of headers alone ("trailers-only") that carries an error; the caller sends no body. */
export function grpcError(status: number, message: string): ResponseHead {
  return {
    status: 200,
    headers: [
      ['content-type', 'application/grpc'],
      ['grpc-status', String(status)],
      ['grpc-message', encodeMessage(message.slice(0, MAX_MESSAGE_CHARACTERS))],
    ],
  }
}

/** Percent-encoding of everything but printable ASCII, and of `%`. */
function encodeMessage(message: string): string {
  let text = ''
  for (const byte of Buffer.from(message, 'utf8'))
    text +=
      byte >= 0x20 && byte <= 0x7e && byte !== 0x25 ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  return text
}
