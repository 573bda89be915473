// The frames of the sequence-numbered exchange: what client and server of seq-client.ts and seq-server.ts say to each other.
// The payload follows from client, sequence number and length, so that both sides know every byte without having met.
// Only node: is imported: these files also run inside pods.
import { createHash } from 'node:crypto'

/** One frame. On the wire: magic, client (u32), sequence number (u32), length (u32), payload. */
export interface Frame {
  readonly client: number
  readonly seq: number
  readonly payload: Buffer
}

const MAGIC = 0x57454654
const HEADER_BYTES = 16
/** Longest payload that a reader accepts. */
export const LONGEST_PAYLOAD_BYTES = 4 << 20

/** The payload that belongs to a frame: a pattern of 1 KiB that differs in every frame, repeated. */
export function payloadOf(client: number, seq: number, bytes: number): Buffer {
  const parts: Buffer[] = []
  for (let part = 0; part < 32; part++) parts.push(createHash('sha256').update(`${client} ${seq} ${part}`).digest())
  const pattern = Buffer.concat(parts)
  return bytes <= pattern.length ? pattern.subarray(0, bytes) : Buffer.alloc(bytes, pattern)
}

/** Whether a payload is, byte for byte, what its frame must carry. */
export function isIntact({ client, seq, payload }: Frame): boolean {
  return payload.equals(payloadOf(client, seq, payload.length))
}

/** The bytes of a frame. */
export function encodeFrame({ client, seq, payload }: Frame): Buffer {
  const header = Buffer.alloc(HEADER_BYTES)
  for (const [index, value] of [MAGIC, client, seq, payload.length].entries()) header.writeUInt32BE(value, index * 4)
  return Buffer.concat([header, payload])
}

/** Cuts a byte stream into frames. */
export class FrameReader {
  #chunks: Buffer[] = []
  #length = 0
  #isDamaged = false

  push(chunk: Buffer): Frame[] {
    this.#chunks.push(chunk)
    this.#length += chunk.length
    const frames: Frame[] = []
    for (let frame = this.#next(); frame !== undefined; frame = this.#next()) frames.push(frame)
    return frames
  }

  /** Whether the stream carried something else than frames; nothing is read after that. */
  get isDamaged(): boolean {
    return this.#isDamaged
  }

  /** Whether the stream ended inside a frame. */
  get isInsideFrame(): boolean {
    return this.#length > 0
  }

  #next(): Frame | undefined {
    if (this.#isDamaged || this.#length < HEADER_BYTES) return undefined
    if ((this.#chunks[0]?.length ?? 0) < HEADER_BYTES) this.#join()
    const header = this.#chunks[0] ?? Buffer.alloc(0)
    const bytes = header.readUInt32BE(12)
    this.#isDamaged = header.readUInt32BE(0) !== MAGIC || bytes > LONGEST_PAYLOAD_BYTES
    if (this.#isDamaged || this.#length < HEADER_BYTES + bytes) return undefined
    this.#join()
    const whole = this.#chunks[0] ?? header
    const rest = whole.subarray(HEADER_BYTES + bytes)
    this.#chunks = rest.length === 0 ? [] : [rest]
    this.#length = rest.length
    return { client: whole.readUInt32BE(4), seq: whole.readUInt32BE(8), payload: whole.subarray(HEADER_BYTES, HEADER_BYTES + bytes) }
  }

  #join(): void {
    if (this.#chunks.length > 1) this.#chunks = [Buffer.concat(this.#chunks)]
  }
}
