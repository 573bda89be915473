// Builds the bytes of delta responses from resources that are encoded already. Only the nonce, at the end, differs per client.
import { DeltaDiscoveryResponseSchema } from '../proto/discovery_pb.ts'
import { encodeMessage } from '../proto/wire.ts'
import type { HeldResource } from './held-resource.ts'

/** A response without its nonce, and how many resources it carries. */
export interface PushBody {
  readonly bytes: Buffer
  readonly upserts: number
  readonly removes: number
}

/** @param what.names what to send: those missing in `resources`, and those in `forgotten`, are sent as removed */
export function encodeBody(
  typeUrl: string,
  revision: number,
  resources: ReadonlyMap<string, HeldResource>,
  what: { readonly names: Iterable<string>; readonly forgotten: ReadonlySet<string> },
): PushBody {
  const upserts: HeldResource[] = []
  const removedResources: string[] = []
  let size = 0
  for (const name of what.names) {
    const resource = what.forgotten.has(name) ? undefined : resources.get(name)
    if (resource === undefined) removedResources.push(name)
    else {
      upserts.push(resource)
      size += resource.entryBytes
    }
  }
  const rest = encodeMessage(DeltaDiscoveryResponseSchema, { systemVersionInfo: String(revision), typeUrl, removedResources })
  const bytes = Buffer.allocUnsafeSlow(size + rest.length)
  let at = 0
  for (const resource of upserts) at = resource.writeEntry(bytes, at)
  rest.copy(bytes, at)
  return { bytes, upserts: upserts.length, removes: removedResources.length }
}

/** The whole response. Protobuf fields may come in any order and in pieces: the nonce is appended. */
export function withNonce(body: PushBody, nonce: string): Buffer {
  return Buffer.concat([body.bytes, encodeMessage(DeltaDiscoveryResponseSchema, { nonce })])
}
