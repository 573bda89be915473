// Heads of HTTP/1.1 messages (RFC 9112 §3, §4, §6.3): from the text of a head to the values of model/http.ts and the framing of
// the body. One meaning or none: whatever two servers could read differently is a fault.
import type { RequestHead, ResponseHead } from '../model/http.ts'
import { isAll, quote, TOKEN, VALUE } from './chars.ts'
import type { HTTP_ERRORS } from './errors.ts'
import { Fields, trimBlanks } from './fields.ts'
import { normalizeAuthority, normalizeTarget, splitAbsolute, type Target } from './normalize.ts'

/** How the end of a body is known. */
export type Framing = 'none' | 'length' | 'chunked' | 'until-close'

/** A head and what follows it. */
export interface ParsedHead<Head> {
  readonly head: Head
  readonly framing: Framing
  /** Bytes of the body; 0 = there is none, undefined = not known beforehand. */
  readonly length: number | undefined
  /** The peer sends nothing after this message on this connection. */
  readonly isLast: boolean
  /** HTTP/1.0: no interim responses, no chunks. */
  readonly isOld: boolean
  /** What a 101 says it switched to, lower case; undefined in any other message. */
  readonly switchedTo: string | undefined
}

/** Why a head is refused. */
export interface HeadFault {
  readonly code: keyof typeof HTTP_ERRORS
  readonly reason: string
}

const SP = 32
const MAX_METHOD = 32

/** Upgrades that change how this very connection is read: a server that accepts them behind us would escape every policy. */
const REFUSED_UPGRADES = /^(?:h2c?|tls|https?)(?:\/|$)/

/**
 * Reads a request's head.
 * @param text lines that end with CRLF each, without the empty line, one character per byte
 * @param most header fields allowed
 */
export function parseRequest(text: string, most: number): ParsedHead<RequestHead> | HeadFault {
  const lineEnd = text.indexOf('\r\n')
  const methodEnd = text.indexOf(' ')
  const targetEnd = lineEnd - 9 // the blank before `HTTP/1.1`
  if (methodEnd < 1 || methodEnd >= targetEnd || text.charCodeAt(targetEnd) !== SP) return bad('a bad request line')
  const method = text.slice(0, methodEnd)
  if (methodEnd > MAX_METHOD || !isAll(method, TOKEN)) return bad('a bad method')
  const version = versionOf(text, targetEnd + 1)
  if (version < 0) return bad('a bad request line')
  if (version > 1) return { code: 'VERSION_REFUSED', reason: quote(text.slice(targetEnd + 1, lineEnd)) }
  if (method === 'CONNECT') return { code: 'METHOD_REFUSED', reason: method }
  const fields = new Fields()
  fields.read(text, lineEnd + 2, most)
  if (fields.isTooMany) return { code: 'HEAD_TOO_LARGE', reason: `more than ${most} fields` }
  if (fields.fault !== undefined) return bad(fields.fault)
  return requestOf(method, text.slice(methodEnd + 1, targetEnd), version === 0, fields)
}

/**
 * Reads a response's head.
 * @param method of the request; decides with the status whether a body follows
 */
export function parseResponse(text: string, most: number, method: string): ParsedHead<ResponseHead> | HeadFault {
  const lineEnd = text.indexOf('\r\n')
  const version = versionOf(text, 0)
  const status = lineEnd < 12 || text.charCodeAt(8) !== SP ? 0 : statusOf(text)
  if (version < 0 || version > 1 || status < 100) return broken('a bad status line')
  if (lineEnd > 12 && (text.charCodeAt(12) !== SP || (lineEnd > 13 && !isAll(text.slice(13, lineEnd), VALUE))))
    return broken('a bad status line')
  const fields = new Fields()
  fields.read(text, lineEnd + 2, most)
  if (fields.isTooMany) return broken(`more than ${most} fields`)
  const isOld = version === 0
  const fault = fields.fault ?? framingFault(fields, isOld)
  if (fault !== undefined) return broken(fault)
  const isLast = isOld || fields.isClose
  const { headers, length } = fields
  const head: ResponseHead = { status, headers }
  if (status < 200 || status === 204) {
    // Some servers send a length of 0 here; anything else promises what cannot come.
    if (fields.isChunked || (length ?? 0) > 0) return broken(`a body with status ${status}`)
    const switchedTo = status === 101 && fields.isUpgrade ? fields.upgrade?.toLowerCase() : undefined
    return { head, framing: 'none', length: 0, isLast, isOld, switchedTo }
  }
  if (method === 'HEAD' || status === 304) {
    if (length !== undefined) headers.push(['content-length', String(length)])
    return { head, framing: 'none', length: 0, isLast, isOld, switchedTo: undefined }
  }
  if (fields.isChunked) return { head, framing: 'chunked', length: undefined, isLast, isOld, switchedTo: undefined }
  if (length !== undefined) return { head, framing: length === 0 ? 'none' : 'length', length, isLast, isOld, switchedTo: undefined }
  return { head, framing: 'until-close', length: undefined, isLast: true, isOld, switchedTo: undefined }
}

function requestOf(method: string, rawTarget: string, isOld: boolean, fields: Fields): ParsedHead<RequestHead> | HeadFault {
  if (fields.host === undefined) return bad('no host')
  const fault = framingFault(fields, isOld) ?? expectFault(fields)
  if (fault !== undefined) return bad(fault)
  const host = normalizeAuthority(fields.host)
  if (!host.ok) return bad(host.errors.join(', '))
  const target = readTarget(method, rawTarget, host.value)
  if (typeof target === 'string') return bad(target)
  const { headers, isChunked } = fields
  const length = isChunked ? undefined : (fields.length ?? 0)
  const upgrade = length === 0 && !isOld && fields.isUpgrade ? upgradeOf(fields.upgrade) : undefined
  const { path, query } = target
  const version = isOld ? 'HTTP/1.0' : 'HTTP/1.1'
  return {
    head: { version, method, scheme: 'http', authority: host.value, path, query, headers, upgrade },
    framing: isChunked ? 'chunked' : length === 0 ? 'none' : 'length',
    length,
    isLast: isOld || fields.isClose,
    isOld,
    switchedTo: undefined,
  }
}

function readTarget(method: string, raw: string, host: string): Target | string {
  const absolute = raw.charCodeAt(0) === 0x2f ? undefined : splitAbsolute(raw)
  if (absolute !== undefined) {
    const authority = normalizeAuthority(absolute.authority)
    if (!authority.ok || authority.value !== host) return 'target and host differ'
  }
  const target = normalizeTarget(absolute === undefined ? raw : absolute.rest)
  if (!target.ok) return target.errors.join(', ')
  if (target.value.path === '*' && method !== 'OPTIONS') return 'target * is for OPTIONS only'
  return target.value
}

function framingFault(fields: Fields, isOld: boolean): string | undefined {
  if (!fields.isChunked) return undefined
  if (fields.length !== undefined) return 'both content-length and transfer-encoding'
  return isOld ? 'transfer-encoding in HTTP/1.0' : undefined
}

function expectFault(fields: Fields): string | undefined {
  for (const [name, value] of fields.headers)
    if (name === 'expect' && value.toLowerCase() !== '100-continue') return `expect ${quote(value)}`
  return undefined
}

/** The one protocol asked for; a choice of several, and what we would not see through, is not taken up (RFC 9110 §7.8). */
function upgradeOf(value: string | undefined): string | undefined {
  const protocol = trimBlanks(value ?? '').toLowerCase()
  const slash = protocol.indexOf('/')
  const name = slash < 0 ? protocol : protocol.slice(0, slash)
  if (!isAll(name, TOKEN) || (slash >= 0 && !isAll(protocol.slice(slash + 1), TOKEN))) return undefined
  return REFUSED_UPGRADES.test(protocol) ? undefined : protocol
}

/** @returns 0 or 1 for HTTP/1.0 and HTTP/1.1, 2 for any other version, -1 = not a version */
function versionOf(text: string, at: number): number {
  if (!text.startsWith('HTTP/', at) || text.charCodeAt(at + 6) !== 0x2e) return -1
  const major = text.charCodeAt(at + 5) - 0x30
  const minor = text.charCodeAt(at + 7) - 0x30
  if (major < 0 || major > 9 || minor < 0 || minor > 9 || Number.isNaN(minor)) return -1
  return major === 1 && minor <= 1 ? minor : 2
}

/** @returns 100…599, or 0 */
function statusOf(text: string): number {
  const hundreds = text.charCodeAt(9) - 0x30
  const tens = text.charCodeAt(10) - 0x30
  const ones = text.charCodeAt(11) - 0x30
  if (hundreds < 1 || hundreds > 5 || tens < 0 || tens > 9 || ones < 0 || ones > 9) return 0
  return hundreds * 100 + tens * 10 + ones
}

function bad(reason: string): HeadFault {
  return { code: 'BAD_MESSAGE', reason }
}

function broken(reason: string): HeadFault {
  return { code: 'UPSTREAM_BAD_MESSAGE', reason }
}
