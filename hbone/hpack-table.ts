// The static table of RFC 7541 Appendix A and the dynamic table of section 2.3.2.

/** One header field, latin1 text. */
export type HeaderField = readonly [name: string, value: string]

/** Index 1 is element 0. */
export const STATIC_TABLE: readonly HeaderField[] = [
  [':authority', ''],
  [':method', 'GET'],
  [':method', 'POST'],
  [':path', '/'],
  [':path', '/index.html'],
  [':scheme', 'http'],
  [':scheme', 'https'],
  [':status', '200'],
  [':status', '204'],
  [':status', '206'],
  [':status', '304'],
  [':status', '400'],
  [':status', '404'],
  [':status', '500'],
  ['accept-charset', ''],
  ['accept-encoding', 'gzip, deflate'],
  ['accept-language', ''],
  ['accept-ranges', ''],
  ['accept', ''],
  ['access-control-allow-origin', ''],
  ['age', ''],
  ['allow', ''],
  ['authorization', ''],
  ['cache-control', ''],
  ['content-disposition', ''],
  ['content-encoding', ''],
  ['content-language', ''],
  ['content-length', ''],
  ['content-location', ''],
  ['content-range', ''],
  ['content-type', ''],
  ['cookie', ''],
  ['date', ''],
  ['etag', ''],
  ['expect', ''],
  ['expires', ''],
  ['from', ''],
  ['host', ''],
  ['if-match', ''],
  ['if-modified-since', ''],
  ['if-none-match', ''],
  ['if-range', ''],
  ['if-unmodified-since', ''],
  ['last-modified', ''],
  ['link', ''],
  ['location', ''],
  ['max-forwards', ''],
  ['proxy-authenticate', ''],
  ['proxy-authorization', ''],
  ['range', ''],
  ['referer', ''],
  ['refresh', ''],
  ['retry-after', ''],
  ['server', ''],
  ['set-cookie', ''],
  ['strict-transport-security', ''],
  ['transfer-encoding', ''],
  ['user-agent', ''],
  ['vary', ''],
  ['via', ''],
  ['www-authenticate', ''],
]

/** What a field costs in a table or a header list besides its text. */
export const FIELD_OVERHEAD_BYTES = 32

/** Newest first, in a ring; evicts to stay within its size. */
export class DynamicTable {
  #fields: HeaderField[] = []
  #bytes = 0
  #maxBytes: number

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  get bytes(): number {
    return this.#bytes
  }

  get length(): number {
    return this.#fields.length
  }

  /** Evicts what no longer fits. */
  resize(maxBytes: number): void {
    this.#maxBytes = maxBytes
    this.#evict(0)
  }

  /** A field larger than the table empties it, as the RFC says. */
  add(field: HeaderField): void {
    const bytes = field[0].length + field[1].length + FIELD_OVERHEAD_BYTES
    this.#evict(bytes)
    if (bytes > this.#maxBytes) return
    this.#fields.push(field)
    this.#bytes += bytes
  }

  /** @param index 0 = newest */
  get(index: number): HeaderField | undefined {
    return this.#fields[this.#fields.length - 1 - index]
  }

  #evict(room: number): void {
    let gone = 0
    for (const [name, value] of this.#fields) {
      if (this.#bytes + room <= this.#maxBytes) break
      this.#bytes -= name.length + value.length + FIELD_OVERHEAD_BYTES
      gone++
    }
    if (gone > 0) this.#fields.splice(0, gone) // at most 128 fields fit into 4 KiB
  }
}
