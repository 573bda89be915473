// Fault injection of a VirtualService's entry.
import type { IstioFault, IstioPercent } from '../../../model/istio-networking.ts'
import type { FaultPolicy } from '../../../model/route.ts'
import { goDurationMs } from './duration.ts'
import type { EntryNotes } from './notes.ts'

const GRPC_NAMES: readonly string[] = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
]

/** A fault that cannot be injected as written is left out and noted: the requests go on. */
export function faultOf(fault: IstioFault | undefined, notes: EntryNotes): FaultPolicy | undefined {
  if (fault === undefined) return undefined
  const delay = delayOf(fault.delay, notes)
  const abort = abortOf(fault.abort, notes)
  return delay === undefined && abort === undefined ? undefined : { delay, abort }
}

function delayOf(delay: IstioFault['delay'], notes: EntryNotes): FaultPolicy['delay'] {
  if (delay === undefined) return undefined
  if (delay.exponentialDelay !== undefined) notes.ignore('fault.delay.exponentialDelay', 'is not supported')
  const fixedMs = delay.fixedDelay === undefined ? 0 : goDurationMs(delay.fixedDelay)
  if (fixedMs === 0) {
    notes.ignore('fault.delay', 'needs a fixedDelay of 1ms or more; nothing is delayed')
    return undefined
  }
  return { fixedMs, percent: percentOf(delay.percentage, delay.percent, 'fault.delay.percentage', notes) }
}

function abortOf(abort: IstioFault['abort'], notes: EntryNotes): FaultPolicy['abort'] {
  if (abort === undefined) return undefined
  const { httpStatus, grpcStatus, http2Error } = abort
  const lost = (message: string): undefined => {
    notes.ignore('fault.abort', `${message}; nothing is aborted`)
  }
  if (http2Error !== undefined) return lost('http2Error is not supported')
  if ((httpStatus === undefined) === (grpcStatus === undefined)) return lost('needs one of httpStatus and grpcStatus')
  const percent = percentOf(abort.percentage, undefined, 'fault.abort.percentage', notes)
  if (httpStatus !== undefined) {
    if (httpStatus < 200 || httpStatus > 599) return lost(`httpStatus ${httpStatus} is not between 200 and 599`)
    return { status: httpStatus, grpcStatus: undefined, percent }
  }
  const code = grpcCode(grpcStatus ?? '')
  if (code === undefined) return lost(`${JSON.stringify(grpcStatus)} is not a gRPC status`)
  return { status: 200, grpcStatus: code, percent }
}

function grpcCode(text: string): number | undefined {
  const index = /^\d{1,2}$/.test(text) ? Number(text) : GRPC_NAMES.indexOf(text.toUpperCase())
  return index >= 0 && index < GRPC_NAMES.length ? index : undefined
}

/** Without a share no request is hit, as in Istio: that is rarely what was meant. */
function percentOf(share: IstioPercent | undefined, whole: number | undefined, field: string, notes: EntryNotes): number {
  const percent = share?.value ?? whole
  if (percent === undefined) notes.ignore(field, 'is absent, so no request is hit')
  return percent ?? 0
}
