// What soak-client.ts and soak-server.ts say to each other. A connection: a header, the upload, FIN; meanwhile a hello byte, the
// download, a verdict on the upload, FIN. Every byte follows from the connection's number. Only node: is imported.
import { createHash } from 'node:crypto'

/** Bytes of the header: number, upload, download (u32 each). */
export const HEADER_BYTES = 12
/** Longest upload or download. */
export const LONGEST_BYTES = 65_536
/** First byte of every answer, and its last: the upload was whole; it was cut short but right so far; it was damaged. */
export const HELLO = 0x48
export const WHOLE = 0x57
export const SHORT = 0x53
export const DAMAGED = 0x44

let block: Buffer | undefined

/** The payload of one direction of a connection. */
export function payload(number: number, way: 'up' | 'down', bytes: number): Buffer {
  block ??= makeBlock()
  const start = (number * 7919 + (way === 'up' ? 0 : 31_337)) % LONGEST_BYTES
  return block.subarray(start, start + bytes)
}

/** Whether `chunk` is what stands at `offset` of a payload. */
export function isRight(expected: Buffer, offset: number, chunk: Buffer): boolean {
  return chunk.equals(expected.subarray(offset, offset + chunk.length))
}

function makeBlock(): Buffer {
  const parts: Buffer[] = []
  for (let i = 0; i < (2 * LONGEST_BYTES) / 32; i++) parts.push(createHash('sha256').update(`soak ${i}`).digest())
  return Buffer.concat(parts)
}
