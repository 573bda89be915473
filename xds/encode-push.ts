// Delta responses as gRPC messages, in pieces: resources are encoded already and are copied out of the store only as the client
// takes them, so that a response of many megabytes to many clients costs a piece for each.
import { DeltaDiscoveryResponseSchema } from '../proto/discovery_pb.ts'
import { encodeMessage } from '../proto/wire.ts'
import type { HeldResource } from './held-resource.ts'

/** Size of a piece: with its HTTP/2 frame it is one TLS record. Node keeps what a connection's largest write took for ever. */
const PIECE_BYTES = 15 * 1024
const SPARE_PIECES = 256
const PREFIX_BYTES = 5 // gRPC: not compressed, length

/** Pieces to be used again: as garbage they would lie between what connections keep, and malloc could give neither back. */
export class PiecePool {
  readonly #spare: Buffer[] = []

  /** @returns a buffer of so many bytes, with anything in it */
  take(bytes: number): Buffer {
    return (bytes === PIECE_BYTES ? this.#spare.pop() : undefined) ?? Buffer.allocUnsafeSlow(bytes)
  }

  /** Takes back a piece that has been written; nobody may read or send it any more. */
  give(piece: Buffer): void {
    if (piece.buffer.byteLength !== PIECE_BYTES || this.#spare.length >= SPARE_PIECES) return
    this.#spare.push(Buffer.from(piece.buffer, 0, PIECE_BYTES))
  }
}

/** A response that can be written. */
export interface EncodedPush {
  /** Without gRPC's prefix. */
  readonly bytes: number
  readonly upserts: number
  readonly removes: number
  /** The message with its prefix; to be read once. */
  pieces(): Generator<Buffer, undefined>
}

/** @param what.names what to send: those missing in `resources`, and those in `forgotten`, are sent as removed */
export function encodePush(
  what: { readonly typeUrl: string; readonly revision: number; readonly nonce: string },
  resources: ReadonlyMap<string, HeldResource>,
  { names, forgotten }: { readonly names: Iterable<string>; readonly forgotten: ReadonlySet<string> },
  pool: PiecePool,
): EncodedPush {
  const upserts: HeldResource[] = []
  const removedResources: string[] = []
  let size = 0
  for (const name of names) {
    const resource = forgotten.has(name) ? undefined : resources.get(name)
    if (resource === undefined) removedResources.push(name)
    else {
      upserts.push(resource)
      size += resource.entryBytes
    }
  }
  const { typeUrl, revision, nonce } = what
  // Protobuf fields may come in any order: the resources are written first.
  const rest = encodeMessage(DeltaDiscoveryResponseSchema, { systemVersionInfo: String(revision), typeUrl, removedResources, nonce })
  const bytes = size + rest.length
  return { bytes, upserts: upserts.length, removes: removedResources.length, pieces: () => piecesOf(bytes, upserts, rest, pool) }
}

function* piecesOf(bytes: number, resources: readonly HeldResource[], rest: Buffer, pool: PiecePool): Generator<Buffer, undefined> {
  let left = bytes + PREFIX_BYTES
  let piece = pool.take(Math.min(left, PIECE_BYTES))
  piece.writeUInt8(0, 0)
  piece.writeUInt32BE(bytes, 1)
  let at = PREFIX_BYTES
  for (const resource of resources) {
    if (at + resource.entryBytes > piece.length) {
      yield piece.subarray(0, at)
      left -= at
      piece = pool.take(Math.min(left, Math.max(PIECE_BYTES, resource.entryBytes)))
      at = 0
    }
    at = resource.writeEntry(piece, at)
  }
  if (at + rest.length <= piece.length) {
    rest.copy(piece, at)
    yield piece.subarray(0, at + rest.length)
    return
  }
  yield piece.subarray(0, at)
  yield rest
}
