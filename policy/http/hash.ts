// A 32-bit hash of texts for consistent choices (ring, Maglev, shares of requests). MurmurHash3 x86_32 over the code units:
// for ASCII the same numbers as the reference implementation (github.com/aappleby/smhasher:src/MurmurHash3.cpp).
// Not for tables that attackers fill: collisions can be made.

/** @returns an unsigned 32-bit number, the same in every process */
export function hash32(text: string, seed = 0): number {
  let hash = seed
  const { length } = text
  const whole = length & ~3
  for (let i = 0; i < whole; i += 4) {
    const block = byteAt(text, i) | (byteAt(text, i + 1) << 8) | (byteAt(text, i + 2) << 16) | (byteAt(text, i + 3) << 24)
    hash ^= scramble(block)
    hash = (hash << 13) | (hash >>> 19)
    hash = (Math.imul(hash, 5) + 0xe6546b64) | 0
  }
  let tail = 0
  for (let i = length - 1; i >= whole; i--) tail = (tail << 8) | byteAt(text, i)
  hash ^= length > whole ? scramble(tail) : 0
  hash ^= length
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

/** Headers are Latin-1; of wider characters both bytes are mixed into one. */
function byteAt(text: string, index: number): number {
  const code = text.charCodeAt(index)
  return (code ^ (code >>> 8)) & 0xff
}

function scramble(block: number): number {
  const mixed = Math.imul(block, 0xcc9e2d51)
  return Math.imul((mixed << 15) | (mixed >>> 17), 0x1b873593)
}
