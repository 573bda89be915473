// Target and authority of a request in one spelling (RFC 3986 §6.2, RFC 9110 §4.2.3): what routes and policies match is what is
// forwarded, byte by byte. What a server behind us could read in another way is refused, never repaired.
import { faults, type Result, success } from '../kit/error.ts'
import { parseIp } from '../model/address.ts'
import { CHARS, DIGIT, HEX, isAll, PATH, QUERY, quote, UNRESERVED, UPPER } from './chars.ts'

/** A request's target. */
export interface Target {
  /** Starts with `/`, or is `*`; no dot segments, no empty segments but the last, escapes in capitals and only where needed. */
  readonly path: string
  /** What follows `?`, as it came; undefined = no `?`. */
  readonly query: string | undefined
}

const MAX_HOST = 255
const SLASH = 0x2f
const DOT = 0x2e
const PERCENT = 0x25
const SEMICOLON = 0x3b
const QUESTION = 0x3f

/** Escapes that some servers take for a separator or the end of the path; controls would split lines of logs and regexes. */
const BAD_ESCAPE = /%(?:2F|5C|7F|[01][0-9A-F])/
/** The same, and the dot, escaped twice or more often: a server behind a server decodes them. */
const BAD_DOUBLE = /%(?:25)+(?:2[ef]|5c|00)/i
/** Longer UTF-8 than the character needs: decoders without checks read `.`, `/` or `\` from it. */
const OVERLONG = /%C[01]%[89AB]|%E0%[89]|%F[08C]%8/
/** A dot segment or an empty one with parameters: Java servers drop the parameters first and resolve then. */
const DOT_PARAMETERS = /^\.{0,2}(?:;|%3B)/
const NUMBER = /^(?:[0-9]+|0x[0-9a-f]*)$/i

/**
 * Normalises a target in origin-form (`/path?query`) or `*`.
 * @param raw as received, one character per byte
 * @returns the target, or why it is refused
 */
export function normalizeTarget(raw: string): Result<Target> {
  if (raw === '*') return success({ path: '*', query: undefined })
  if (raw.charCodeAt(0) !== SLASH) return faults(`target ${quote(raw)} does not start with /`)
  let isPlain = true
  let before = 0
  let at = 0
  for (; at < raw.length; at++) {
    const code = raw.charCodeAt(at)
    if (code === QUESTION) break
    // `/` after `/`; `.` or `;` at the start of a segment
    if (code === PERCENT || (before === SLASH && (code === SLASH || code === DOT || code === SEMICOLON))) isPlain = false
    else if (((CHARS[code] ?? 0) & PATH) === 0) return faults(`path has ${quote(raw.charAt(at))}`)
    before = code
  }
  const query = at === raw.length ? undefined : raw.slice(at + 1)
  if (query !== undefined && query !== '' && !isAll(query, QUERY)) return faults('query has a character that is not allowed')
  if (isPlain) return success({ path: query === undefined ? raw : raw.slice(0, at), query })
  const path = resolve(raw.slice(0, at))
  return path.ok ? success({ path: path.value, query }) : path
}

/**
 * Normalises `host` or `host:port`: lower case, no dot at the end, IP addresses in their canonical form.
 * @param raw as received: of a Host field, `:authority` or an absolute target
 * @returns the authority, or why it is refused
 */
export function normalizeAuthority(raw: string): Result<string> {
  const end = raw.charCodeAt(0) === 0x5b ? raw.indexOf(']') + 1 : hostEnd(raw)
  const port = raw.slice(end)
  if (port !== '' && !isPort(port)) return faults(`port of ${quote(raw)} is not a number from 1 to 65535`)
  const host = normalizeHost(raw.slice(0, end))
  return host === undefined ? faults(`${quote(raw)} is not a host`) : success(host + port)
}

/**
 * Splits a target in absolute-form (`http://host/path`).
 * @returns the raw authority and the rest in origin-form; undefined = it is not of that form
 */
export function splitAbsolute(raw: string): { authority: string; rest: string } | undefined {
  if (raw.slice(0, 7).toLowerCase() !== 'http://') return undefined
  let end = 7
  while (end < raw.length && raw.charCodeAt(end) !== SLASH && raw.charCodeAt(end) !== QUESTION) end++
  const rest = raw.slice(end)
  return { authority: raw.slice(7, end), rest: rest.startsWith('/') ? rest : `/${rest}` }
}

function resolve(raw: string): Result<string> {
  const decoded = decode(raw)
  if (decoded === undefined) return faults('path has a % without two hex digits')
  if (BAD_ESCAPE.test(decoded)) return faults('path has an escaped separator or control character')
  if (BAD_DOUBLE.test(decoded)) return faults('path has a separator or dot that is escaped twice')
  if (OVERLONG.test(decoded)) return faults('path has overlong UTF-8')
  const segments = decoded.slice(1).split('/')
  const kept: string[] = []
  const last = segments.length - 1
  for (const [index, segment] of segments.entries()) {
    if (DOT_PARAMETERS.test(segment)) return faults('path has a dot segment or empty segment with parameters')
    if (segment === '..') {
      const parent = kept.pop()
      if (parent === undefined) return faults('path goes above the root')
      if (parent === '') return faults('path goes up from an empty segment') // servers differ in what that is
    } else if (segment !== '.') {
      kept.push(segment)
      continue
    }
    if (index === last) kept.push('')
  }
  const isOpen = kept.at(-1) === ''
  const names = kept.filter((segment) => segment !== '')
  return success(`/${names.join('/')}${isOpen && names.length > 0 ? '/' : ''}`)
}

/** Escapes of unreserved characters decoded, the others in capitals; undefined = a bad escape. */
function decode(raw: string): string | undefined {
  let out = ''
  let from = 0
  for (let at = raw.indexOf('%'); at >= 0; at = raw.indexOf('%', from)) {
    const hex = raw.slice(at + 1, at + 3)
    if (hex.length !== 2 || !isAll(hex, HEX)) return undefined
    const code = Number.parseInt(hex, 16)
    out += raw.slice(from, at)
    out += ((CHARS[code] ?? 0) & UNRESERVED) !== 0 ? String.fromCharCode(code) : `%${hex.toUpperCase()}`
    from = at + 3
  }
  return out + raw.slice(from)
}

function hostEnd(raw: string): number {
  const colon = raw.indexOf(':')
  return colon < 0 ? raw.length : colon
}

function isPort(text: string): boolean {
  if (text.length < 2 || text.length > 6 || text.charCodeAt(0) !== 0x3a || text.charCodeAt(1) === 0x30) return false
  const digits = text.slice(1)
  return isAll(digits, DIGIT) && Number(digits) <= 65535
}

function normalizeHost(raw: string): string | undefined {
  if (raw.charCodeAt(0) === 0x5b) {
    const ip = raw.endsWith(']') ? parseIp(raw.slice(1, -1)) : undefined
    if (ip === undefined || !raw.includes(':')) return undefined
    return ip.includes(':') ? `[${ip}]` : ip
  }
  if (raw.length === 0 || raw.length > MAX_HOST) return undefined
  let isUpper = false
  let label = 0 // where the label at hand starts
  for (let at = 0; at < raw.length; at++) {
    const code = raw.charCodeAt(at)
    const bits = CHARS[code] ?? 0
    if (code === DOT) {
      if (at === label) return undefined // an empty label
      label = at + 1
    } else if ((bits & UNRESERVED) === 0 || code === 0x7e) return undefined
    else if ((bits & UPPER) !== 0) isUpper = true
  }
  const name = label === raw.length ? raw.slice(0, -1) : raw
  if (looksNumeric(name) && parseIp(name) !== name) return undefined // 127.1, 0x7f.1 and 2130706433 are addresses to some
  return isUpper ? name.toLowerCase() : name
}

/** Whether a resolver may take the name for an IPv4 address: its last label is a number (WHATWG URL, ends-in-a-number). */
function looksNumeric(name: string): boolean {
  const from = name.lastIndexOf('.') + 1
  if (((CHARS[name.charCodeAt(from)] ?? 0) & DIGIT) === 0) return false
  return NUMBER.test(name.slice(from))
}
