// The xDS resource istio.workload.Address: one workload or one service, bytes <-> model. Called by xDS clients and the
// control plane; nothing else sees the generated types.
import { faults as failed, type Result, success } from '../../kit/error.ts'
import type { Service } from '../../model/service.ts'
import type { Workload } from '../../model/workload.ts'
import { decodeMessage, encodeMessage } from '../../proto/wire.ts'
import { AddressSchema } from '../../proto/workload_pb.ts'
import { Faults } from './check.ts'
import { serviceFromWire, serviceToWire } from './service.ts'
import { workloadFromWire, workloadToWire } from './workload.ts'

/** A decoded Address. */
export type AddressResource =
  | { readonly kind: 'workload'; readonly workload: Workload }
  | { readonly kind: 'service'; readonly service: Service }

/** Decodes and checks one resource; on failure every fault found (at most 16). Never throws. */
export function decodeAddress(bytes: Uint8Array): Result<AddressResource> {
  const message = decodeMessage(AddressSchema, bytes)
  if (!message.ok) return message
  const { type } = message.value
  const faults = new Faults()
  let value: AddressResource
  if (type.case === 'workload') value = { kind: 'workload', workload: workloadFromWire(faults, type.value) }
  else if (type.case === 'service') value = { kind: 'service', service: serviceFromWire(faults, type.value) }
  else return failed('address: neither workload nor service')
  return faults.list.length === 0 ? success(value) : { ok: false, errors: faults.list }
}

/** The resource's bytes; equal workloads give equal bytes. */
export function encodeWorkload(workload: Workload): Buffer {
  return encodeMessage(AddressSchema, { type: { case: 'workload', value: workloadToWire(workload) } })
}

/** The resource's bytes; equal services give equal bytes. */
export function encodeService(service: Service): Buffer {
  return encodeMessage(AddressSchema, { type: { case: 'service', value: serviceToWire(service) } })
}
