// Which protocol a connection speaks, from its first bytes, for ports of which nobody said it.
import { CHARS, TOKEN } from './chars.ts'

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1')
/** Longer than any method in use. */
const MAX_METHOD_BYTES = 20
/** Targets are longer than we would wait for; a line that begins like a request is one. */
const MAX_LINE_BYTES = 8 * 1024
const SP = 0x20
const LF = 0x0a

/**
 * @param bytes everything that has come so far
 * @returns `more` = the answer depends on bytes that have not come; never after 8 KiB
 */
export function detect(bytes: Buffer): 'http1' | 'http2' | 'tcp' | 'more' {
  const seen = Math.min(bytes.length, PREFACE.length)
  if (bytes.compare(PREFACE, 0, seen, 0, seen) === 0) return seen === PREFACE.length ? 'http2' : 'more'
  let at = 0
  while (at < bytes.length && isMethod(bytes[at] ?? 0)) if (++at > MAX_METHOD_BYTES) return 'tcp'
  if (at === bytes.length) return 'more'
  const next = bytes[at + 1]
  if (at === 0 || bytes[at] !== SP) return 'tcp'
  if (next === undefined) return 'more'
  if (next <= SP || next >= 0x7f) return 'tcp'
  const end = bytes.indexOf(LF, at)
  if (end < 0) return bytes.length < MAX_LINE_BYTES ? 'more' : 'tcp'
  return / HTTP\/[0-9]\.[0-9]\r?$/.test(bytes.toString('latin1', Math.max(0, end - 16), end)) ? 'http1' : 'tcp'
}

/** Methods in use are capitals and `-`; other tokens are the first words of other protocols' banners. */
function isMethod(code: number): boolean {
  return (code >= 0x41 && code <= 0x5a) || (code === 0x2d && ((CHARS[code] ?? 0) & TOKEN) !== 0)
}
