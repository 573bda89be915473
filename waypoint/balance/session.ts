// Session persistence: a cookie or header that names the endpoint of a session. The text is opaque to clients but no secret:
// whoever forges one reaches an endpoint of the same service that the balancer could have chosen for him anyway.
import type { HeaderField, RequestHead } from '../../model/http.ts'
import { headerOf } from '../../model/http.ts'
import type { SessionPersistence } from '../../model/route.ts'
import { cookieOf, setCookie } from './cookie.ts'

const VERSION = 'w1.' // another form gets another number; unknown ones count as no session
const TEXT = /^[A-Za-z0-9_-]+$/
const UID = /^[\x21-\x7e]+$/
const LONGEST_UID = 600 // cluster, kind, namespace and name of a workload, each at most 253 characters in practice far less
const LONGEST_TEXT = VERSION.length + Math.ceil((LONGEST_UID * 4) / 3)
const HEADER_NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]{1,256}$/

/** @returns the uid that the request's session names; undefined = no session, or nothing that we wrote */
export function sessionFrom(head: RequestHead, persistence: SessionPersistence): string | undefined {
  const { kind, name } = persistence
  const text = kind === 'cookie' ? cookieOf(head.headers, name) : headerOf(head.headers, name.toLowerCase())
  if (text === undefined || text.length > LONGEST_TEXT || !text.startsWith(VERSION)) return undefined
  const encoded = text.slice(VERSION.length)
  if (!TEXT.test(encoded)) return undefined
  const uid = Buffer.from(encoded, 'base64url').toString('latin1')
  return UID.test(uid) && uid.length <= LONGEST_UID ? uid : undefined
}

/**
 * Response fields that tie the client to an endpoint. Send them when the request's session named another one, or none.
 * @param isHttps whether the client came over HTTPS
 * @returns empty when the uid or the name cannot be carried
 */
export function sessionHeaders(persistence: SessionPersistence, uid: string, isHttps: boolean): HeaderField[] {
  if (!UID.test(uid) || uid.length > LONGEST_UID) return []
  const value = VERSION + Buffer.from(uid, 'latin1').toString('base64url')
  const { kind, name, cookiePath: path, absoluteTimeoutSeconds: maxAgeSeconds } = persistence
  if (kind === 'header') return HEADER_NAME.test(name.toLowerCase()) ? [[name.toLowerCase(), value]] : []
  const cookie = setCookie(name, value, { path, maxAgeSeconds, isSecure: isHttps })
  return cookie === undefined ? [] : [cookie]
}
