// Classes of characters (RFC 9110 §5.6.2, §5.5; RFC 3986 §3.3) as one table: a head is judged at one look-up per character.

/** tchar: methods, field names, tokens. */
export const TOKEN = 1
/** A–Z. */
export const UPPER = 2
/** Field values: HTAB, SP, VCHAR, obs-text. */
export const VALUE = 4
/** In a path as they are: pchar without `%`, `/`, and `[`, `]`, `|`, which browsers send. */
export const PATH = 8
/** 0–9, A–F, a–f. */
export const HEX = 16
/** Letters, digits, `-`, `.`, `_`, `~`. */
export const UNRESERVED = 32
/** In a query: everything visible but `#`. */
export const QUERY = 64
/** 0–9. */
export const DIGIT = 128

const ALPHA = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const DIGITS = '0123456789'

/** Class bits of each byte. A character above 0xff has none: `CHARS[code] ?? 0`. */
export const CHARS: Uint8Array = table()

/** Whether every character of a non-empty text is of the class. */
export function isAll(text: string, kind: number): boolean {
  for (let i = 0; i < text.length; i++) if (((CHARS[text.charCodeAt(i)] ?? 0) & kind) === 0) return false
  return text.length > 0
}

/** @returns text from outside, short and fit for a message */
export function quote(text: string): string {
  return JSON.stringify(text.length > 64 ? `${text.slice(0, 64)}…` : text)
}

function table(): Uint8Array {
  const chars = new Uint8Array(256)
  const mark = (text: string, bits: number): void => {
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i)
      chars[code] = (chars[code] ?? 0) | bits
    }
  }
  mark(ALPHA, TOKEN | PATH | UNRESERVED)
  mark(DIGITS, TOKEN | PATH | UNRESERVED | HEX | DIGIT)
  mark(ALPHA.slice(0, 26), UPPER)
  mark('ABCDEFabcdef', HEX)
  mark("!#$%&'*+-.^_`|~", TOKEN)
  mark('-._~', PATH | UNRESERVED)
  mark("!$&'()*+,;=:@/[]|", PATH)
  mark('\t ', VALUE)
  for (let code = 0x21; code <= 0xff; code++) if (code !== 0x7f) mark(String.fromCharCode(code), VALUE)
  for (let code = 0x21; code <= 0x7e; code++) if (code !== 0x23) mark(String.fromCharCode(code), QUERY)
  return chars
}
