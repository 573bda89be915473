// The Huffman code of RFC 7541 Appendix B. It is canonical: the lengths alone define it (shorter first, then by symbol).

/** Code lengths of symbols 0…255 and EOS, one letter each: 'a' = 5 bits … 'z' = 30 bits. */
const LENGTHS =
  'isxxxxxxxtzxxzxxxxxxxxzxxxxxxxxxbffhibdgffdgdbbbaaabbbbbbbcdkbhfibccccccccccccccccccccccdcdioijbkabababbbaccbbbabcbaabccccckgjixprpprrrsrssssststtrstssssqrsrsstrqprrssqsrrtqrssqqrqsrssprrrsrrsvvporsruvvvwwvtuoqvwwvwtqqvvxwwwptpqrqqsrruuttvsvwvvwwwwwxwwwwwvz'
const SHORTEST_BITS = 5
const LONGEST_BITS = 30
const EOS = 256

/** Symbols in order of their codes. */
const SYMBOLS: readonly number[] = Array.from(LENGTHS, (_, symbol) => symbol).sort((a, b) => bitsOf(a) - bitsOf(b) || a - b)
/** For each length: first code of it, its position in SYMBOLS, how many there are. */
const FIRST_CODE = new Uint32Array(LONGEST_BITS + 1)
const FIRST_INDEX = new Uint16Array(LONGEST_BITS + 1)
const COUNT = new Uint16Array(LONGEST_BITS + 1)
const CODES = new Uint32Array(EOS + 1)
/** The next 8 bits -> symbol << 4 | bits, for codes of at most 8 bits (letters, digits, usual punctuation); else 0. */
const FAST = new Uint16Array(256)
fillTables()

/**
 * Decodes a Huffman string.
 * @param most decoded bytes allowed
 * @returns latin1 text; undefined when it holds EOS, padding that is not the start of EOS, 8 or more bits of it, or is longer than `most`
 */
export function decodeHuffman(bytes: Buffer, start: number, end: number, most: number): string | undefined {
  const out = Buffer.allocUnsafe(Math.min(most, Math.ceil(((end - start) * 8) / SHORTEST_BITS)))
  const last = end * 8
  let length = 0
  let at = start * 8 // in bits
  while (at < last) {
    const window = windowAt(bytes, at, end)
    const found = lookUp(window)
    const bits = found & 31
    if (bits > last - at) break
    if (found >> 5 === EOS || length === out.length) return undefined
    out[length++] = found >> 5
    at += bits
  }
  const left = last - at
  if (left > 7 || (left > 0 && windowAt(bytes, at, end) >>> (32 - left) !== (1 << left) - 1)) return undefined
  return out.toString('latin1', 0, length)
}

/** @returns bytes that `text` (latin1) takes in Huffman code. */
export function huffmanBytes(text: string): number {
  let bits = 0
  for (let i = 0; i < text.length; i++) bits += bitsOf(text.charCodeAt(i) & 0xff)
  return (bits + 7) >> 3
}

/** Writes `text` (latin1) in Huffman code at `at`. @returns where it ends. */
export function encodeHuffman(text: string, into: Buffer, at: number): number {
  let pending = 0 // at most 7 bits wait here
  let waiting = 0
  for (let i = 0; i < text.length; i++) {
    const symbol = text.charCodeAt(i) & 0xff
    let left = bitsOf(symbol)
    const code = CODES[symbol] ?? 0
    while (left > 0) {
      const taken = Math.min(8 - waiting, left)
      left -= taken
      pending = (pending << taken) | ((code >>> left) & ((1 << taken) - 1))
      waiting += taken
      if (waiting === 8) {
        into[at++] = pending
        pending = 0
        waiting = 0
      }
    }
  }
  if (waiting > 0) into[at++] = (pending << (8 - waiting)) | (0xff >> waiting)
  return at
}

function bitsOf(symbol: number): number {
  return LENGTHS.charCodeAt(symbol) - 97 + SHORTEST_BITS
}

/** The 32 bits from bit `at`, filled up with ones (the start of EOS) behind `end`. */
function windowAt(bytes: Buffer, at: number, end: number): number {
  const byte = at >> 3
  const shift = at & 7
  const word = (byteAt(bytes, byte, end) << 24) | (byteAt(bytes, byte + 1, end) << 16) | (byteAt(bytes, byte + 2, end) << 8)
  const high = word | byteAt(bytes, byte + 3, end)
  return shift === 0 ? high >>> 0 : ((high << shift) | (byteAt(bytes, byte + 4, end) >> (8 - shift))) >>> 0
}

function byteAt(bytes: Buffer, at: number, end: number): number {
  return at < end ? (bytes[at] ?? 0xff) : 0xff
}

/** @returns symbol << 5 | bits of the code that the window begins with. */
function lookUp(window: number): number {
  const fast = FAST[window >>> 24] ?? 0
  if (fast !== 0) return ((fast >> 4) << 5) | (fast & 15)
  for (let length = 9; length < LONGEST_BITS; length++) {
    const offset = (window >>> (32 - length)) - (FIRST_CODE[length] ?? 0)
    if (offset >= 0 && offset < (COUNT[length] ?? 0)) return ((SYMBOLS[(FIRST_INDEX[length] ?? 0) + offset] ?? EOS) << 5) | length
  }
  const offset = (window >>> 2) - (FIRST_CODE[LONGEST_BITS] ?? 0)
  return ((SYMBOLS[(FIRST_INDEX[LONGEST_BITS] ?? 0) + offset] ?? EOS) << 5) | LONGEST_BITS
}

function fillTables(): void {
  let code = 0
  let length = SHORTEST_BITS
  for (const [index, symbol] of SYMBOLS.entries()) {
    const bits = bitsOf(symbol)
    code <<= bits - length
    length = bits
    if (COUNT[bits] === 0) {
      FIRST_CODE[bits] = code
      FIRST_INDEX[bits] = index
    }
    COUNT[bits] = (COUNT[bits] ?? 0) + 1
    CODES[symbol] = code
    if (bits <= 8) FAST.fill((symbol << 4) | bits, code << (8 - bits), (code + 1) << (8 - bits))
    code++
  }
}
