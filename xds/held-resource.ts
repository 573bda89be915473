// A resource as the store holds it: encoded once as it stands in every response, and small, as there are 50,000 of them.
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import type { ServedResource } from './push-source.ts'

const RESOURCES_FIELD = 2 // DeltaDiscoveryResponse.resources
const RESOURCE = { version: 1, resource: 2, name: 3, aliases: 4 } as const
const ANY = { typeUrl: 1, value: 2 } as const

/** Immutable. */
export class HeldResource implements ServedResource {
  readonly version: string
  readonly aliases: readonly string[]
  readonly groups: readonly string[]
  /** Field `resources` of a response, a byte per character: a Buffer of its own would cost as much again (0.4 KB). */
  readonly #entry: string
  readonly #valueBytes: number

  constructor(typeUrl: string, name: string, { version, bytes, aliases, groups }: ServedResource) {
    this.version = version
    this.aliases = aliases
    this.groups = groups
    this.#valueBytes = bytes.length
    this.#entry = encodeEntry(typeUrl, name, version, aliases, bytes).toString('latin1')
  }

  /** A copy, without the envelope. */
  get bytes(): Buffer {
    return Buffer.from(this.#entry.slice(this.#entry.length - this.#valueBytes), 'latin1')
  }

  /** Length of what `writeEntry` writes. */
  get entryBytes(): number {
    return this.#entry.length
  }

  /** Writes field `resources` of a response. @returns where it ends */
  writeEntry(to: Buffer, at: number): number {
    return at + to.write(this.#entry, at, 'latin1')
  }
}

/** A resource as it is held; one that is already is the same value. */
export function heldOf(typeUrl: string, name: string, resource: ServedResource): HeldResource {
  return resource instanceof HeldResource ? resource : new HeldResource(typeUrl, name, resource)
}

/** Keys other than its name by which a resource is found. */
export function keysOf(resource: ServedResource | undefined): readonly string[] {
  if (resource === undefined) return []
  const { aliases, groups } = resource
  if (groups.length === 0) return aliases
  return aliases.length === 0 ? groups : [...aliases, ...groups]
}

/** The value comes last, so that it is a tail of the entry; protobuf takes fields in any order. */
function encodeEntry(typeUrl: string, name: string, version: string, aliases: readonly string[], value: Buffer): Buffer {
  const message = new BinaryWriter()
  message.tag(RESOURCE.version, WireType.LengthDelimited).string(version)
  message.tag(RESOURCE.name, WireType.LengthDelimited).string(name)
  for (const alias of aliases) message.tag(RESOURCE.aliases, WireType.LengthDelimited).string(alias)
  message.tag(RESOURCE.resource, WireType.LengthDelimited).fork()
  message.tag(ANY.typeUrl, WireType.LengthDelimited).string(typeUrl)
  message.tag(ANY.value, WireType.LengthDelimited).bytes(value).join()
  const entry = new BinaryWriter().tag(RESOURCES_FIELD, WireType.LengthDelimited).bytes(message.finish()).finish()
  return Buffer.from(entry.buffer, entry.byteOffset, entry.byteLength)
}
