// Builds the bytes of delta responses. Entries are encoded once per resource and kept with it; a whole response is kept while
// several clients want the same one. Only the nonce, at the end, differs per client.
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import { DeltaDiscoveryResponseSchema, ResourceSchema } from '../proto/discovery_pb.ts'
import { encodeMessage } from '../proto/wire.ts'
import type { ServedResource } from './push-source.ts'

const RESOURCES_FIELD = 2 // DeltaDiscoveryResponse.resources

/** A response without its nonce, and how many resources it carries. */
export interface PushBody {
  readonly bytes: Buffer
  readonly upserts: number
  readonly removes: number
}

/** Encodes responses; keeps the encoded entries as long as the resources live. */
export class PushEncoder {
  readonly #entries = new WeakMap<ServedResource, Buffer>()

  /** @param what.names what to send: those missing in `resources`, and those in `forgotten`, are sent as removed */
  body(
    typeUrl: string,
    revision: number,
    resources: ReadonlyMap<string, ServedResource>,
    what: { readonly names: Iterable<string>; readonly forgotten: ReadonlySet<string> },
  ): PushBody {
    const parts: Buffer[] = []
    const removedResources: string[] = []
    for (const name of what.names) {
      const resource = what.forgotten.has(name) ? undefined : resources.get(name)
      if (resource === undefined) removedResources.push(name)
      else parts.push(this.#entry(typeUrl, name, resource))
    }
    const upserts = parts.length
    parts.push(encodeMessage(DeltaDiscoveryResponseSchema, { systemVersionInfo: String(revision), typeUrl, removedResources }))
    return { bytes: Buffer.concat(parts), upserts, removes: removedResources.length }
  }

  /** The whole response. Protobuf fields may come in any order and in pieces: the nonce is appended. */
  withNonce(body: PushBody, nonce: string): Buffer {
    return Buffer.concat([body.bytes, encodeMessage(DeltaDiscoveryResponseSchema, { nonce })])
  }

  #entry(typeUrl: string, name: string, resource: ServedResource): Buffer {
    let entry = this.#entries.get(resource)
    if (entry === undefined) {
      const { version, aliases, bytes: value } = resource
      const message = encodeMessage(ResourceSchema, { name, version, aliases: [...aliases], resource: { typeUrl, value } })
      entry = Buffer.from(new BinaryWriter().tag(RESOURCES_FIELD, WireType.LengthDelimited).bytes(message).finish())
      this.#entries.set(resource, entry)
    }
    return entry
  }
}
