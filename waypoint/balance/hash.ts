// A small 32-bit hash for placing keys and endpoints: FNV-1a over the characters, then murmur3's finaliser, so that near keys
// lie far apart. Equal in every proxy of the mesh; no protection against chosen collisions.

const FNV_OFFSET = 0x811c9dc5
const FNV_PRIME = 0x01000193

/** @returns an unsigned 32-bit hash of the text's UTF-16 units */
export function hashText(text: string): number {
  let hash = FNV_OFFSET
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    hash = Math.imul(hash ^ (unit & 0xff), FNV_PRIME)
    if (unit > 0xff) hash = Math.imul(hash ^ (unit >>> 8), FNV_PRIME)
  }
  return mix(hash)
}

/** Scatters an integer over 32 bits; equal inputs give equal outputs, and no two inputs give the same. */
export function mix(value: number): number {
  let hash = value | 0
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
