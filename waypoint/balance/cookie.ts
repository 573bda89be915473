// Reads one cookie of a request, and writes one for a response (RFC 6265). The request's is foreign text and may be anything.
import type { HeaderField } from '../../model/http.ts'

const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}$/
const PATH = /^\/[\x21-\x3a\x3c-\x7e]{0,1024}$/

/** @returns the value of the first cookie of that name, without quotes; undefined = there is none */
export function cookieOf(headers: readonly HeaderField[], name: string): string | undefined {
  for (const [field, value] of headers) {
    if (field !== 'cookie') continue
    const found = valueIn(value, name)
    if (found !== undefined) return found
  }
  return undefined
}

/** Walks the pairs without cutting up the whole field: it can be long, and it is read for every request. */
function valueIn(text: string, name: string): string | undefined {
  for (let start = 0; start <= text.length; ) {
    const semicolon = text.indexOf(';', start)
    const end = semicolon === -1 ? text.length : semicolon
    while (text[start] === ' ') start += 1
    if (text.startsWith(name, start) && text[start + name.length] === '=') {
      const value = text.slice(start + name.length + 1, end).trim()
      return value.length >= 2 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value
    }
    start = end + 1
  }
  return undefined
}

/** What a cookie is sent with. */
export interface CookieAttributes {
  /** What is no path of a cookie becomes `/`. */
  readonly path: string
  /** Undefined = until the browser ends. */
  readonly maxAgeSeconds: number | undefined
  /** Only ever sent back over TLS. */
  readonly isSecure: boolean
}

/**
 * Makes the response field.
 * @param value letters, digits, `-`, `_` and `.` only
 * @returns undefined when `name` is no cookie name
 */
export function setCookie(name: string, value: string, attributes: CookieAttributes): HeaderField | undefined {
  if (!NAME.test(name)) return undefined
  const { path, maxAgeSeconds, isSecure } = attributes
  const age = maxAgeSeconds === undefined ? '' : `; Max-Age=${Math.max(0, Math.floor(maxAgeSeconds))}`
  return ['set-cookie', `${name}=${value}; Path=${PATH.test(path) ? path : '/'}${age}; HttpOnly${isSecure ? '; Secure' : ''}`]
}
