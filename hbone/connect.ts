// The head of a CONNECT (RFC 9113 sections 8.2, 8.3 and 8.5): built by clients, validated by servers. What is ambiguous is
// refused, never repaired.
import { type Endpoint, formatEndpoint, type IpAddress, parseEndpoint } from '../model/address.ts'
import type { HeaderField } from './hpack-table.ts'

/** One CONNECT. The headers are hostile text until their own parsers accept them. */
export interface ConnectRequest {
  /** `ip:port`, `[ip6]:port` or `host:port`. */
  readonly authority: string
  readonly baggage?: string
  readonly forwarded?: string
  readonly traceparent?: string
  /** Further headers, lower-case names; on the server's side everything else that came (repeated ones joined by `, `). */
  readonly extra?: Readonly<Record<string, string>>
}

/** Where an authority leads: an address, or a host name in lower case. */
export type Authority =
  | { readonly kind: 'ip'; readonly endpoint: Endpoint }
  | { readonly kind: 'host'; readonly host: string; readonly port: number }

/** A head that is served, answered with a status, or malformed (RST_STREAM PROTOCOL_ERROR). */
export type ConnectHead =
  | { readonly kind: 'connect'; readonly request: ConnectRequest }
  | { readonly kind: 'refuse'; readonly status: 400 | 431; readonly reason: string }
  | { readonly kind: 'malformed'; readonly reason: string }

const NAME = /^[!#$%&'*+.^_`|~0-9a-z-]+$/
const HOST = /^(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*\.?$/i
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'proxy-connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
  'content-length',
])
const KNOWN = ['baggage', 'forwarded', 'traceparent'] as const

/** @returns where `text` leads; undefined when it is neither `ip:port` nor `host:port` with a port of 1…65535. */
export function parseAuthority(text: string): Authority | undefined {
  if (text.length > 300) return undefined
  const endpoint = parseEndpoint(text)
  if (endpoint !== undefined) return endpoint.port === 0 ? undefined : { kind: 'ip', endpoint }
  const colon = text.lastIndexOf(':')
  const host = text.slice(0, Math.max(colon, 0))
  const digits = text.slice(colon + 1)
  const port = /^[1-9]\d{0,4}$/.test(digits) ? Number(digits) : 0
  if (port === 0 || port > 65535 || host.length > 253 || !HOST.test(host) || looksLikeIp(host)) return undefined
  return { kind: 'host', host: host.toLowerCase(), port }
}

/** @returns `ip:port` or `[ip6]:port`, as it stands in a CONNECT. */
export function authorityOf(ip: IpAddress, port: number): string {
  return formatEndpoint({ ip, port })
}

/** The fields of a CONNECT. @throws TypeError when a name or value of the request cannot stand in a header (our own fault) */
export function connectFields(request: ConnectRequest): HeaderField[] {
  const fields: HeaderField[] = [
    [':method', 'CONNECT'],
    [':authority', request.authority],
  ]
  for (const name of KNOWN) {
    const value = request[name]
    if (value !== undefined && value !== '') fields.push([name, value])
  }
  return [...fields, ...plainFields(request.extra ?? {})].map(checked)
}

/** The fields of a response. @throws TypeError as connectFields does */
export function responseFields(status: number, headers: Readonly<Record<string, string>>): HeaderField[] {
  return [[':status', String(status)] as const, ...plainFields(headers).map(checked)]
}

/** Judges the head of a request. */
export function readConnect(fields: readonly HeaderField[], isTooLarge: boolean, isEnd: boolean): ConnectHead {
  const split = splitFields(fields, isTooLarge)
  if (typeof split === 'string') return { kind: 'malformed', reason: split }
  if (isTooLarge) return { kind: 'refuse', status: 431, reason: 'the head is larger than 16 KiB or has more than 100 fields' }
  const { pseudo, plain } = split
  const method = pseudo.get(':method')
  if (method === undefined) return { kind: 'malformed', reason: 'no :method' }
  if (method !== 'CONNECT') return { kind: 'refuse', status: 400, reason: 'method is not CONNECT' }
  const authority = pseudo.get(':authority')
  if (authority === undefined || pseudo.size !== 2) return { kind: 'malformed', reason: 'a CONNECT has :method and :authority only' }
  const host = plain.get('host')
  if (host !== undefined && host !== authority) return { kind: 'refuse', status: 400, reason: 'host and :authority differ' }
  if (isEnd) return { kind: 'refuse', status: 400, reason: 'the CONNECT ends the stream' }
  if (parseAuthority(authority) === undefined) return { kind: 'refuse', status: 400, reason: 'bad authority' }
  return { kind: 'connect', request: toRequest(authority, plain) }
}

/** Judges the head of a response. @returns its status and headers, or what is malformed */
export function readResponse(
  fields: readonly HeaderField[],
  isTooLarge: boolean,
): { readonly status: number; readonly headers: Readonly<Record<string, string>> } | string {
  const split = splitFields(fields.filter(isNoLength), isTooLarge)
  if (typeof split === 'string') return split
  const status = split.pseudo.get(':status') ?? ''
  if (split.pseudo.size !== 1 || !/^[1-9]\d\d$/.test(status)) return 'a response has one :status'
  if (isTooLarge) return 'the head is too large'
  return { status: Number(status), headers: toRecord(split.plain) }
}

/** The length of a refusal's body, which nobody reads; in a 2xx it must be ignored (RFC 9110 section 9.3.6). */
function isNoLength([name]: HeaderField): boolean {
  return name !== 'content-length'
}

interface SplitFields {
  readonly pseudo: ReadonlyMap<string, string>
  readonly plain: Map<string, string>
}

/** @returns pseudo and plain fields, or the fault that makes the message malformed. A cut list is not judged for what it lacks. */
function splitFields(fields: readonly HeaderField[], isCut: boolean): SplitFields | string {
  const pseudo = new Map<string, string>()
  const plain = new Map<string, string>()
  for (const [name, value] of fields) {
    if (!isFieldValue(value)) return 'bad bytes in a value'
    if (name.startsWith(':')) {
      if (plain.size > 0) return 'pseudo field after a plain one'
      if (pseudo.has(name)) return 'repeated pseudo field'
      if (!PSEUDO.has(name)) return 'unknown pseudo field'
      pseudo.set(name, value)
      continue
    }
    if (!NAME.test(name)) return 'bad field name'
    if (HOP_BY_HOP.has(name) || (name === 'te' && value !== 'trailers')) return 'field of another HTTP version'
    const before = plain.get(name)
    if (before !== undefined && SINGLE.has(name)) return 'repeated field'
    plain.set(name, before === undefined ? value : `${before}, ${value}`)
  }
  return isCut || pseudo.size > 0 ? { pseudo, plain } : 'no pseudo fields'
}

const PSEUDO: ReadonlySet<string> = new Set([':method', ':authority', ':scheme', ':path', ':status', ':protocol'])
/** Two of these would let two readers believe different things. */
const SINGLE: ReadonlySet<string> = new Set(['host', 'traceparent', 'x-forwarded-network', 'x-weft-source'])

function toRequest(authority: string, plain: Map<string, string>): ConnectRequest {
  const known: { baggage?: string; forwarded?: string; traceparent?: string } = {}
  for (const name of KNOWN) {
    const value = plain.get(name)
    if (value === undefined) continue
    known[name] = value
    plain.delete(name)
  }
  plain.delete('host')
  return { authority, ...known, ...(plain.size === 0 ? {} : { extra: toRecord(plain) }) }
}

function toRecord(plain: ReadonlyMap<string, string>): Readonly<Record<string, string>> {
  const record: Record<string, string> = Object.create(null)
  for (const [name, value] of plain) record[name] = value
  return record
}

function plainFields(headers: Readonly<Record<string, string>>): HeaderField[] {
  return Object.entries(headers)
}

function checked(field: HeaderField): HeaderField {
  const [name, value] = field
  const isName = name.startsWith(':') ? PSEUDO.has(name) : NAME.test(name) && !HOP_BY_HOP.has(name)
  if (!isName || !isFieldValue(value)) throw new TypeError(`header ${JSON.stringify(name)} cannot be sent`)
  return field
}

/** Latin1 without controls (tab allowed inside), no blank at either end. */
function isFieldValue(value: string): boolean {
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i)
    if ((code < 0x20 && code !== 9) || code === 0x7f || code > 0xff) return false
  }
  return value === '' || (!isBlank(value.charCodeAt(0)) && !isBlank(value.charCodeAt(value.length - 1)))
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 9
}

/** All digits and dots, or a last label of digits: an address that parseEndpoint did not accept is no host name. */
function looksLikeIp(host: string): boolean {
  return /(^|\.)\d+\.?$/.test(host)
}
