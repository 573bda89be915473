// Random numbers for choices of which there are several per request: backends, endpoints, shares of mirrors and faults; and the IDs of
// requests.

/** Drawn at once: a call for each number costs 5 µs, a tenth of a request. */
const words = new Uint32Array(1024)
let next = words.length

/** Unpredictable to clients. @returns 0 ≤ x < 1 */
export function random(): number {
  return nextWord() / 2 ** 32
}

/** `00` … `ff`, as codes of two characters. */
const HEX = Uint16Array.from({ length: 256 }, (_, byte) => Buffer.from(byte.toString(16).padStart(2, '0'), 'latin1').readUInt16BE())
const id = Buffer.alloc(36, '-')
/** Where the sixteen bytes stand between the dashes. */
const PLACES = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34] as const

/**
 * A random UUID (version 4, RFC 9562 §5.4), unpredictable to clients. In one piece: that of node:crypto is put together from twenty, which
 * is garbage of its own for each request.
 */
export function requestId(): string {
  for (let at = 0; at < PLACES.length; at += 4) {
    let word = nextWord()
    for (let i = 0; i < 4; i++, word >>>= 8) id.writeUInt16BE(HEX[fixed(at + i, word & 0xff)] ?? 0, PLACES[at + i] ?? 0)
  }
  return id.toString('latin1')
}

/** Version and variant in their bits. */
function fixed(at: number, byte: number): number {
  if (at === 6) return (byte & 0x0f) | 0x40
  return at === 8 ? (byte & 0x3f) | 0x80 : byte
}

function nextWord(): number {
  if (next === words.length) {
    crypto.getRandomValues(words)
    next = 0
  }
  return words[next++] ?? 0
}
