// Heads of HTTP/1.1 messages toward the wire, as text of one character per byte. Everything is checked again: a head that could
// be read as two, or as another, is never written, whoever made it.
import { STATUS_CODES } from 'node:http'
import type { HeaderField, RequestHead, ResponseHead } from '../model/http.ts'
import { CHARS, isAll, PATH, QUERY, quote, TOKEN, UPPER, VALUE } from './chars.ts'
import { isRefusedTrailer } from './fields.ts'
import type { HeadFault } from './head-parser.ts'
import { normalizeAuthority } from './normalize.ts'

/** How a body is framed toward the peer. `none`: there is none; `raw`: bytes after a switch, or until the connection ends. */
export type OutFraming = 'none' | 'length' | 'chunked' | 'raw'

/** A head that may be written. */
export interface WrittenHead {
  readonly text: string
  readonly framing: OutFraming
}

/** What the writer of a response has to know of the connection. */
export interface ResponseContext {
  /** HEAD has no body, whatever is said. */
  readonly method: string
  /** The client speaks HTTP/1.0. */
  readonly isOld: boolean
  /** The connection is closed after this response. */
  readonly isLast: boolean
  /** The protocol that a 101 switches to. */
  readonly upgrade: string | undefined
}

const PERCENT = 0x25

/** Status line of each status. */
const STATUS_LINES: readonly string[] = Array.from({ length: 600 }, (_, status) => `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`)

/** @param length bytes of the body; 0 = none, undefined = not known */
export function writeRequest(head: RequestHead, length: number | undefined): WrittenHead | HeadFault {
  const { method, path, query, authority, upgrade } = head
  if (!isAll(method, TOKEN) || method === 'CONNECT') return bad(`method ${quote(method)}`)
  if (!isTarget(path, query)) return bad(`target ${quote(path)}`)
  if (!isAuthority(authority)) return bad(`authority ${quote(authority)}`)
  const fields = fieldLines(head.headers, false)
  if (fields === undefined) return bad('a header field')
  let text = `${method} ${path}${query === undefined ? '' : `?${query}`} HTTP/1.1\r\nhost: ${authority}\r\n${fields}`
  if (upgrade !== undefined) {
    if (length !== 0 || !isAll(upgrade, VALUE) || upgrade.includes(',')) return bad('an upgrade')
    return { text: `${text}connection: upgrade\r\nupgrade: ${upgrade}\r\n\r\n`, framing: 'none' }
  }
  if (length === undefined) return { text: `${text}transfer-encoding: chunked\r\n\r\n`, framing: 'chunked' }
  if (!isLength(length)) return bad('a length')
  if (length > 0 || expectsBody(method)) text += `content-length: ${length}\r\n`
  return { text: `${text}\r\n`, framing: length === 0 ? 'none' : 'length' }
}

/** @param length as in `writeRequest` */
export function writeResponse(head: ResponseHead, length: number | undefined, context: ResponseContext): WrittenHead | HeadFault {
  const { status } = head
  const { method, isOld, isLast, upgrade } = context
  const hasNoBody = method === 'HEAD' || status === 304
  const line = STATUS_LINES[status]
  const fields = fieldLines(head.headers, hasNoBody)
  if (line === undefined || status < 100 || fields === undefined) return bad('a status or header field')
  if (status === 101) {
    if (upgrade === undefined) return bad('a switch that was not asked for')
    return { text: `${line}${fields}connection: upgrade\r\nupgrade: ${upgrade}\r\n\r\n`, framing: 'raw' }
  }
  if (status < 200) return { text: `${line}${fields}\r\n`, framing: 'none' }
  const text = isLast || (length === undefined && isOld) ? `${line}${fields}connection: close\r\n` : line + fields
  if (hasNoBody || status === 204) return { text: `${text}\r\n`, framing: 'none' }
  if (length === undefined)
    return isOld ? { text: `${text}\r\n`, framing: 'raw' } : { text: `${text}transfer-encoding: chunked\r\n\r\n`, framing: 'chunked' }
  if (!isLength(length)) return bad('a length')
  return { text: `${text}content-length: ${length}\r\n\r\n`, framing: length === 0 ? 'none' : 'length' }
}

/** @returns trailers as lines, without what may not be in them; undefined = one cannot be written */
export function trailerLines(trailers: readonly HeaderField[]): string | undefined {
  return fieldLines(
    trailers.filter(([name]) => !isRefusedTrailer(name)),
    false,
  )
}

function fieldLines(fields: readonly HeaderField[], keepsLength: boolean): string | undefined {
  let lines = ''
  let hasLength = false
  for (const [name, value] of fields) {
    if (!isName(name) || !isValue(value)) return undefined
    if (isFraming(name)) {
      if (name === 'te') lines += 'te: trailers\r\nconnection: te\r\n'
      if (!keepsLength || name !== 'content-length' || hasLength || !/^[0-9]{1,15}$/.test(value)) continue
      hasLength = true
    }
    lines += `${name}: ${value}\r\n`
  }
  return lines
}

/** Fields that the codec writes itself. */
function isFraming(name: string): boolean {
  switch (name.length) {
    case 2:
      return name === 'te'
    case 4:
      return name === 'host'
    case 7:
      return name === 'upgrade'
    case 10:
      return name === 'connection' || name === 'keep-alive'
    case 14:
      return name === 'content-length' || name === 'http2-settings'
    case 16:
      return name === 'proxy-connection'
    case 17:
      return name === 'transfer-encoding'
    default:
      return false
  }
}

function isName(name: string): boolean {
  for (let i = 0; i < name.length; i++) if (((CHARS[name.charCodeAt(i)] ?? 0) & (TOKEN | UPPER)) !== TOKEN) return false
  return name.length > 0
}

function isValue(value: string): boolean {
  for (let i = 0; i < value.length; i++) if (((CHARS[value.charCodeAt(i)] ?? 0) & VALUE) === 0) return false
  return true
}

function isTarget(path: string, query: string | undefined): boolean {
  if (query !== undefined && query !== '' && !isAll(query, QUERY)) return false
  if (path === '*') return query === undefined
  if (path.charCodeAt(0) !== 0x2f) return false
  for (let i = 0; i < path.length; i++) {
    const code = path.charCodeAt(i)
    if (((CHARS[code] ?? 0) & PATH) === 0 && code !== PERCENT) return false
  }
  return true
}

/** Rewrites set authorities from configuration: only one in its normal form goes out. */
function isAuthority(authority: string): boolean {
  const normal = normalizeAuthority(authority)
  return normal.ok && normal.value === authority
}

function isLength(length: number): boolean {
  return Number.isSafeInteger(length) && length >= 0
}

/** Methods whose requests say that they have no body (RFC 9110 §8.6). */
function expectsBody(method: string): boolean {
  return method === 'POST' || method === 'PUT' || method === 'PATCH'
}

function bad(reason: string): HeadFault {
  return { code: 'BAD_HEAD', reason }
}
