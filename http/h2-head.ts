// Heads of HTTP/2 messages (RFC 9113 §8.3, RFC 8441) to and from the heads of model/http.ts. Pure: what Node and nghttp2 have
// checked already is checked again, because what passes here decides about routes and policies.
import { faults, type Result, success } from '../kit/error.ts'
import { type HeaderField, headerOf, type RequestHead, type ResponseHead } from '../model/http.ts'
import { isAll, PATH, QUERY, quote } from './chars.ts'
import { isRefusedTrailer } from './fields.ts'
import { faultOf, lengthOf, readFields, withoutFraming } from './h2-fields.ts'
import { normalizeAuthority, normalizeTarget } from './normalize.ts'

/** A head that came in. */
export interface Received<Head> {
  readonly head: Head
  /** Bytes of the body; 0 = there is none, undefined = until the end of the stream. */
  readonly length: number | undefined
}

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}$/
const STATUS = /^[1-5][0-9][0-9]$/

/**
 * Reads a request's head.
 * @param raw fields as Node hands them over: name, value, name, value, …
 * @param isEnd no body follows (END_STREAM)
 * @param scheme how the connection was really made; what the client says is only checked
 * @returns the head, or everything that is wrong with it
 */
export function readRequest(raw: readonly string[], isEnd: boolean, scheme: 'http' | 'https'): Result<Received<RequestHead>> {
  const { pseudo, fields, faults: found } = readFields(raw)
  const wrong = [...found]
  const connect = methodOf(pseudo, wrong)
  const claimed = pseudo.get(':scheme')
  if (claimed !== 'http' && claimed !== 'https') wrong.push(`:scheme is ${quote(claimed ?? '')}`)
  const authority = authorityOf(pseudo, fields, wrong)
  const target = normalizeTarget(pseudo.get(':path') ?? '')
  if (!target.ok) wrong.push(...target.errors)
  else if (target.value.path === '*' && connect.method !== 'OPTIONS') wrong.push('target * is for OPTIONS only')
  for (const [name, value] of fields) if (name === 'te' && value.toLowerCase() !== 'trailers') wrong.push('te may only be trailers')
  const length = bodyLength(fields, isEnd, wrong)
  if (wrong.length > 0 || !target.ok) return faults(...wrong)
  const { path, query } = target.value
  const headers = withoutFraming(fields)
  const head = { version: 'HTTP/2', scheme, authority, path, query, headers, ...connect } as const
  return success({ head, length })
}

/**
 * Reads a response's head, interim ones too.
 * @param isBodiless the request was HEAD; its answer's `content-length` describes what GET would give and is kept
 */
export function readResponse(raw: readonly string[], isEnd: boolean, isBodiless: boolean): Result<Received<ResponseHead>> {
  const { pseudo, fields, faults: found } = readFields(raw)
  const wrong = [...found]
  const status = pseudo.get(':status') ?? ''
  if (!STATUS.test(status) || status === '101') wrong.push(`:status is ${quote(status)}`)
  for (const name of pseudo.keys()) if (name !== ':status') wrong.push(`${quote(name)} is not allowed in a response`)
  const code = Number(status)
  const hasNoBody = isBodiless || code === 204 || code === 304 || code < 200
  const length = bodyLength(fields, isEnd && !hasNoBody, wrong)
  if (wrong.length > 0) return faults(...wrong)
  const headers = withoutFraming(fields)
  if ((isBodiless || code === 304) && length !== undefined) headers.push(['content-length', String(length)])
  return success({ head: { status: code, headers }, length: hasNoBody || isEnd ? 0 : length })
}

/**
 * Reads trailers.
 * @param isRequest what decisions depend on is taken out of a request's trailers; a response's (metadata of gRPC) pass
 * @returns the fields without framing; pseudo fields and broken ones are an error
 */
export function readTrailers(raw: readonly string[], isRequest: boolean): Result<HeaderField[]> {
  const { pseudo, fields, faults: wrong } = readFields(raw)
  if (pseudo.size > 0) return faults('trailers have pseudo fields', ...wrong)
  if (wrong.length > 0) return faults(...wrong)
  const passed = withoutFraming(fields)
  return success(isRequest ? passed.filter(([name]) => !isRefusedTrailer(name)) : passed)
}

/**
 * A request's head for Node: name, value, name, value, …
 * @param length bytes of the body; 0 = none, undefined = not known
 * @returns the list, or why the head cannot be sent
 */
export function requestFields(head: RequestHead, length: number | undefined): Result<string[]> {
  const isUpgrade = head.upgrade !== undefined
  if (!TOKEN.test(head.method) || head.method === 'CONNECT') return faults(`method ${quote(head.method)}`)
  if (!isTarget(head.path, head.query)) return faults(`target ${quote(head.path)}`)
  const authority = normalizeAuthority(head.authority) // a rewrite may have set it
  if (!authority.ok || authority.value !== head.authority) return faults(`authority ${quote(head.authority)}`)
  const pseudo: HeaderField[] = [
    [':method', isUpgrade ? 'CONNECT' : head.method],
    [':scheme', head.scheme],
    [':authority', head.authority],
    [':path', head.query === undefined ? head.path : `${head.path}?${head.query}`],
  ]
  if (head.upgrade !== undefined) pseudo.push([':protocol', head.upgrade])
  const fields = withoutFraming(head.headers).filter(([name]) => name !== 'te')
  // gRPC servers refuse a request without it; it says that we understand trailers, which is true.
  const isGrpc = headerOf(fields, 'content-type')?.startsWith('application/grpc') === true
  if (isGrpc || headerOf(head.headers, 'te') !== undefined) fields.push(['te', 'trailers'])
  if (length !== undefined && length > 0 && !isUpgrade) fields.push(['content-length', String(length)])
  return flat(pseudo, fields)
}

/**
 * A response's head for Node.
 * @param length as in `requestFields`
 * @param isBodiless the request was HEAD: a `content-length` among the headers is kept, as with 304
 */
export function responseFields(head: ResponseHead, length: number | undefined, isBodiless: boolean): Result<string[]> {
  const fields = withoutFraming(head.headers).filter(([name]) => name !== 'te')
  const told = isBodiless || head.status === 304 ? headerOf(head.headers, 'content-length') : undefined
  if (told !== undefined) fields.push(['content-length', told])
  else if (length !== undefined && length > 0 && head.status !== 204) fields.push(['content-length', String(length)])
  return flat([[':status', String(head.status)]], fields)
}

function methodOf(pseudo: ReadonlyMap<string, string>, wrong: string[]): { method: string; upgrade: string | undefined } {
  for (const name of pseudo.keys()) if (!REQUEST_PSEUDO.has(name)) wrong.push(`${quote(name)} is not allowed in a request`)
  const method = pseudo.get(':method') ?? ''
  const protocol = pseudo.get(':protocol')
  if (!TOKEN.test(method)) wrong.push(`:method is ${quote(method)}`)
  if (method !== 'CONNECT') {
    if (protocol !== undefined) wrong.push(':protocol is for CONNECT only')
    return { method, upgrade: undefined }
  }
  if (protocol === undefined) wrong.push('CONNECT is not served here')
  else if (!TOKEN.test(protocol)) wrong.push(`:protocol is ${quote(protocol)}`)
  return { method: 'GET', upgrade: protocol?.toLowerCase() } // as an upgrade of HTTP/1.1 says it
}

const REQUEST_PSEUDO: ReadonlySet<string> = new Set([':method', ':scheme', ':authority', ':path', ':protocol'])

function authorityOf(pseudo: ReadonlyMap<string, string>, fields: readonly HeaderField[], wrong: string[]): string {
  const named = [pseudo.get(':authority'), ...fields.filter(([name]) => name === 'host').map(([, value]) => value)]
  const values = new Set<string>()
  for (const raw of named) {
    if (raw === undefined) continue
    const authority = normalizeAuthority(raw)
    if (authority.ok) values.add(authority.value)
    else wrong.push(...authority.errors)
  }
  if (named.length > 2) wrong.push('host comes more than once')
  if (values.size > 1) wrong.push(':authority and host differ')
  const [authority] = values
  if (authority === undefined && wrong.length === 0) wrong.push(':authority is missing')
  return authority ?? ''
}

function bodyLength(fields: readonly HeaderField[], isEnd: boolean, wrong: string[]): number | undefined {
  const length = lengthOf(fields)
  if (Number.isNaN(length)) wrong.push('content-length is not one number')
  else if (isEnd && length !== undefined && length > 0) wrong.push('content-length promises a body, and none follows')
  return isEnd ? 0 : length
}

function isTarget(path: string, query: string | undefined): boolean {
  if (query !== undefined && query !== '' && !isAll(query, QUERY)) return false
  if (path === '*') return query === undefined
  return path.startsWith('/') && isAll(path.replaceAll('%', '/'), PATH)
}

function flat(pseudo: readonly HeaderField[], fields: readonly HeaderField[]): Result<string[]> {
  const fault = faultOf(fields) ?? pseudo.find(([, value]) => faultOf([['x', value]]) !== undefined)?.[0]
  return fault === undefined ? success([...pseudo, ...fields].flat()) : faults(fault)
}
