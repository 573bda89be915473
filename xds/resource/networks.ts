// The xDS resource weft.mesh.v1.Networks: the address blocks of the mesh, bytes <-> model.
import { faults as failed, type Result, success } from '../../kit/error.ts'
import { type Cidr, ipToBytes } from '../../model/address.ts'
import { NetworksSchema } from '../../proto/mesh_pb.ts'
import { decodeMessage, encodeMessage } from '../../proto/wire.ts'
import { Faults } from './check.ts'

/** Blocks of pods and services: an unknown destination inside them is never passed through. */
export interface Networks {
  readonly podAndServiceCidrs: readonly Cidr[]
}

const BLOCKS_LIMIT = 65_536

/** Decodes and checks the resource; on failure every fault found (at most 16). Never throws. */
export function decodeNetworks(bytes: Uint8Array): Result<Networks> {
  const message = decodeMessage(NetworksSchema, bytes)
  if (!message.ok) return message
  if (message.value.podAndServiceCidrs.length > BLOCKS_LIMIT) return failed(`networks: more than ${BLOCKS_LIMIT} blocks`)
  const faults = new Faults()
  const blocks = message.value.podAndServiceCidrs.map((block) => faults.cidr('pod_and_service_cidrs', block.address, block.length))
  if (faults.list.length > 0) return { ok: false, errors: faults.list }
  return success({ podAndServiceCidrs: blocks.filter((block) => block !== undefined) })
}

/** The resource's bytes. */
export function encodeNetworks(networks: Networks): Buffer {
  const podAndServiceCidrs = networks.podAndServiceCidrs.map(({ ip, prefix }) => ({ address: ipToBytes(ip), length: prefix }))
  return encodeMessage(NetworksSchema, { podAndServiceCidrs })
}
