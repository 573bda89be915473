// Protobuf codec for bytes from outside: never throws on malformed input, refuses oversized messages.
// Everything that reads the network decodes through here; values still have to be checked by the caller.
import { type DescMessage, fromBinary, type MessageInitShape, type MessageShape, create, toBinary } from '@bufbuild/protobuf'
import { faults, messageOf, type Result, success } from '../kit/error.ts'

/** Largest single resource or message that is decoded unless the caller says otherwise. */
export const MESSAGE_LIMIT_BYTES = 4 * 1024 * 1024

/**
 * Decodes one message.
 * @param limitBytes longer input is refused unread
 * @returns the message, or one fault naming the message type
 */
export function decodeMessage<Desc extends DescMessage>(
  schema: Desc,
  bytes: Uint8Array,
  limitBytes = MESSAGE_LIMIT_BYTES,
): Result<MessageShape<Desc>> {
  if (bytes.length > limitBytes) return faults(`${schema.typeName}: ${bytes.length} bytes, at most ${limitBytes} are read`)
  try {
    // Unknown fields are dropped: they would keep hostile bytes alive and nothing here writes them back.
    return success(fromBinary(schema, bytes, { readUnknownFields: false }))
  } catch (error) {
    return faults(`${schema.typeName}: not protobuf of this type: ${messageOf(error)}`)
  }
}

/** Encodes one message, fields in ascending order; map entries keep insertion order, so sort keys for stable bytes. */
export function encodeMessage<Desc extends DescMessage>(schema: Desc, value: MessageInitShape<Desc>): Buffer {
  const bytes = toBinary(schema, create(schema, value))
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
