// Error codes of RST_STREAM and GOAWAY (RFC 9113 §7) and the errors of the mesh.
import type { MeshError } from '../kit/error.ts'

/** Names by code. */
const NAMES = [
  'NO_ERROR',
  'PROTOCOL_ERROR',
  'INTERNAL_ERROR',
  'FLOW_CONTROL_ERROR',
  'SETTINGS_TIMEOUT',
  'STREAM_CLOSED',
  'FRAME_SIZE_ERROR',
  'REFUSED_STREAM',
  'CANCEL',
  'COMPRESSION_ERROR',
  'CONNECT_ERROR',
  'ENHANCE_YOUR_CALM',
  'INADEQUATE_SECURITY',
  'HTTP_1_1_REQUIRED',
] as const

/** The codes that we send or look at. */
export const NO_ERROR = 0x0
export const PROTOCOL_ERROR = 0x1
export const INTERNAL_ERROR = 0x2
export const REFUSED_STREAM = 0x7
export const CANCEL = 0x8
export const ENHANCE_YOUR_CALM = 0xb

/** @returns the code's name for error details; unknown codes are named by their number */
export function resetName(code: number): string {
  return NAMES[code] ?? String(code)
}

/** @returns what a stream is reset with for an error; a reason of the far side is passed on where it means the same here */
export function resetCode(error: MeshError): number {
  const { reset } = error.detail
  if (reset === 'CANCEL' || error.code === 'CANCELLED' || error.code === 'CLIENT_GONE') return CANCEL
  if (reset === 'ENHANCE_YOUR_CALM') return ENHANCE_YOUR_CALM
  return error.source === 'downstream' ? PROTOCOL_ERROR : INTERNAL_ERROR
}
