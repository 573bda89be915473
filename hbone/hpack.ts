// RFC 7541: a full decoder (Huffman, dynamic table, size updates) with bounds, and an encoder that keeps no state.
import { type Result, success } from '../kit/error.ts'
import { DynamicTable, FIELD_OVERHEAD_BYTES, type HeaderField, STATIC_TABLE } from './hpack-table.ts'
import { decodeHuffman, encodeHuffman, huffmanBytes } from './huffman.ts'
import { HEADER_BOMB_BYTES, HEADER_TABLE_BYTES } from './limits.ts'

/** Bounds of one decoded header list. */
export interface HeaderListLimits {
  /** Sum of name + value + 32. */
  readonly maxHeaderBytes: number
  readonly maxHeaderFields: number
}

/** A decoded header list. `isTooLarge`: it passed the limits, `fields` is cut there, the dynamic table is still right. */
export interface DecodedHeaders {
  readonly fields: readonly HeaderField[]
  readonly isTooLarge: boolean
}

const STATIC_COUNT = STATIC_TABLE.length
const LARGEST_INTEGER = 0xfffffff
const BROKEN = -1

/** Decodes the header blocks of one direction of one connection, in order. */
export class HpackDecoder {
  readonly #table: DynamicTable
  readonly #maxTableBytes: number
  readonly #limits: HeaderListLimits
  #block: Buffer = Buffer.alloc(0)
  #at = 0
  #fault = ''

  /** @param maxTableBytes the SETTINGS_HEADER_TABLE_SIZE that we announced */
  constructor(limits: HeaderListLimits, maxTableBytes: number = HEADER_TABLE_BYTES) {
    this.#limits = limits
    this.#maxTableBytes = maxTableBytes
    this.#table = new DynamicTable(maxTableBytes)
  }

  /** Bytes in the dynamic table, for tests and dumps. */
  get tableBytes(): number {
    return this.#table.bytes
  }

  /** @returns the fields; or the one fault that makes this a COMPRESSION_ERROR (the decoder is then useless). */
  decode(block: Buffer): Result<DecodedHeaders> {
    this.#block = block
    this.#at = 0
    this.#fault = ''
    const fields: HeaderField[] = []
    let bytes = 0
    let count = 0
    while (this.#at < block.length && this.#fault === '') {
      const first = block[this.#at] ?? 0
      if ((first & 0xe0) === 0x20) {
        this.#updateSize(count > 0)
        continue
      }
      const field = this.#field(first)
      if (field === undefined) break
      count++
      bytes += field[0].length + field[1].length + FIELD_OVERHEAD_BYTES
      if (bytes > HEADER_BOMB_BYTES) this.#fault = 'header list is a bomb'
      else if (bytes <= this.#limits.maxHeaderBytes && count <= this.#limits.maxHeaderFields) fields.push(field)
    }
    this.#block = EMPTY
    if (this.#fault !== '') return { ok: false, errors: [this.#fault] }
    return success({ fields, isTooLarge: bytes > this.#limits.maxHeaderBytes || count > this.#limits.maxHeaderFields })
  }

  #field(first: number): HeaderField | undefined {
    if ((first & 0x80) !== 0) {
      const index = this.#integer(7)
      return index === BROKEN ? undefined : this.#lookUp(index)
    }
    const isIndexing = (first & 0x40) !== 0
    const index = this.#integer(isIndexing ? 6 : 4)
    if (index === BROKEN) return undefined
    const name = index === 0 ? this.#string() : this.#lookUp(index)?.[0]
    if (name === undefined) return undefined
    const value = this.#string()
    if (value === undefined) return undefined
    const field: HeaderField = [name, value]
    if (isIndexing) this.#table.add(field)
    return field
  }

  #lookUp(index: number): HeaderField | undefined {
    const field = index <= STATIC_COUNT ? STATIC_TABLE[index - 1] : this.#table.get(index - STATIC_COUNT - 1)
    if (field === undefined) this.#fault = 'index outside the tables'
    return field
  }

  #updateSize(isLate: boolean): void {
    const size = this.#integer(5)
    if (size === BROKEN) return
    if (isLate || size > this.#maxTableBytes) this.#fault = isLate ? 'table size update after a field' : 'table size above our setting'
    else this.#table.resize(size)
  }

  #integer(prefixBits: number): number {
    const mask = (1 << prefixBits) - 1
    let value = (this.#block[this.#at++] ?? 0) & mask
    if (value < mask) return value
    for (let shift = 0; shift <= 21; shift += 7) {
      const byte = this.#block[this.#at++]
      if (byte === undefined) break
      value += (byte & 0x7f) << shift
      if (value > LARGEST_INTEGER) break
      if ((byte & 0x80) === 0) return value
    }
    this.#fault = 'integer is cut off or too large'
    return BROKEN
  }

  #string(): string | undefined {
    const isHuffman = ((this.#block[this.#at] ?? 0) & 0x80) !== 0
    const length = this.#at < this.#block.length ? this.#integer(7) : BROKEN
    const start = this.#at
    const end = start + length
    if (length === BROKEN || end > this.#block.length) {
      this.#fault = 'string is cut off'
      return undefined
    }
    this.#at = end
    const text = isHuffman ? decodeHuffman(this.#block, start, end, HEADER_BOMB_BYTES) : this.#block.toString('latin1', start, end)
    if (text === undefined) this.#fault = 'bad Huffman string'
    return text
  }
}

const EMPTY = Buffer.alloc(0)
/** "name\0value" and "name" of the static table -> index. */
const EXACT = new Map<string, number>()
const NAMES = new Map<string, number>()
for (const [i, [name, value]] of STATIC_TABLE.entries()) {
  if (value !== '') EXACT.set(`${name}\0${value}`, i + 1)
  if (!NAMES.has(name)) NAMES.set(name, i + 1)
}

/**
 * Encodes a header block with the static table and literals without indexing; the shorter of plain and Huffman text.
 * It begins with a table size update to 0, which keeps every peer's view right whatever table size it announces.
 * @param fields lower-case names, latin1 values
 */
export function encodeHeaders(fields: readonly HeaderField[]): Buffer {
  let most = 1
  for (const [name, value] of fields) most += name.length + value.length + 12
  const block = Buffer.allocUnsafe(most)
  block[0] = 0x20
  let at = 1
  for (const [name, value] of fields) {
    const exact = EXACT.get(`${name}\0${value}`)
    if (exact !== undefined) {
      block[at++] = 0x80 | exact
      continue
    }
    const index = NAMES.get(name) ?? 0
    at = writeInteger(block, at, 4, 0, index)
    if (index === 0) at = writeString(block, at, name)
    at = writeString(block, at, value)
  }
  return block.subarray(0, at)
}

function writeString(block: Buffer, at: number, text: string): number {
  const packed = huffmanBytes(text)
  if (packed < text.length) return encodeHuffman(text, block, writeInteger(block, at, 7, 0x80, packed))
  const start = writeInteger(block, at, 7, 0, text.length)
  return start + block.write(text, start, 'latin1')
}

function writeInteger(block: Buffer, at: number, prefixBits: number, pattern: number, value: number): number {
  const mask = (1 << prefixBits) - 1
  if (value < mask) {
    block[at] = pattern | value
    return at + 1
  }
  block[at++] = pattern | mask
  let left = value - mask
  for (; left >= 0x80; left >>>= 7) block[at++] = (left & 0x7f) | 0x80
  block[at] = left
  return at + 1
}
