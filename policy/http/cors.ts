// Cross-origin requests (WHATWG Fetch, "HTTP CORS protocol"), by the rules of the Gateway API's HTTPCORSFilter: preflights are
// answered here, other answers get the fields a browser asks for.
import type { HeaderField, RequestHead, ResponseHead } from '../../model/http.ts'
import { headerOf } from '../../model/http.ts'
import type { CorsPolicy } from '../../model/route.ts'

/** What a CORS policy makes of a request. */
export type CorsDecision =
  | { readonly kind: 'preflight'; readonly response: ResponseHead }
  | { readonly kind: 'actual'; readonly add: readonly HeaderField[] }
  | { readonly kind: 'none' }

const NONE: CorsDecision = Object.freeze({ kind: 'none' })
const DEFAULT_PORT = /^(https:\/\/.*):443$|^(http:\/\/.*):80$/

/**
 * `preflight` = this is the answer, without a body (204; without CORS fields when the origin is not allowed); `actual` = the
 * answer gets these fields by `addCors`; `none` = the policy has nothing to say.
 */
export function corsFor(head: RequestHead, policy: CorsPolicy): CorsDecision {
  const origin = headerOf(head.headers, 'origin')
  if (origin === undefined) return NONE
  const requested = headerOf(head.headers, 'access-control-request-method')
  const isPreflight = head.method === 'OPTIONS' && requested !== undefined
  const allowed = allowedOrigin(origin, policy)
  if (allowed === undefined) return isPreflight ? { kind: 'preflight', response: { status: 204, headers: [['vary', 'origin']] } } : NONE
  const add: HeaderField[] = [['access-control-allow-origin', allowed]]
  if (policy.allowCredentials) add.push(['access-control-allow-credentials', 'true'])
  const isExposingAll = policy.exposeHeaders.includes('*')
  // With credentials `*` would be taken for a header of that name.
  if (policy.exposeHeaders.length > 0 && !(isExposingAll && policy.allowCredentials))
    add.push(['access-control-expose-headers', isExposingAll ? '*' : policy.exposeHeaders.join(', ')])
  if (allowed !== '*') add.push(['vary', 'origin'])
  if (!isPreflight) return { kind: 'actual', add }
  const methods = listFor(policy.allowMethods, requested)
  const headers = listFor(policy.allowHeaders, headerOf(head.headers, 'access-control-request-headers'))
  if (methods !== undefined) add.push(['access-control-allow-methods', methods])
  if (headers !== undefined) add.push(['access-control-allow-headers', headers])
  if (policy.maxAgeSeconds > 0) add.push(['access-control-max-age', String(policy.maxAgeSeconds)])
  return { kind: 'preflight', response: { status: 204, headers: add } }
}

/** A backend's headers with the fields of `actual`: its own fields of these names give way, `vary` is added to. */
export function addCors(headers: readonly HeaderField[], add: readonly HeaderField[]): HeaderField[] {
  return [...headers.filter(([name]) => name === 'vary' || !add.some((field) => field[0] === name)), ...add]
}

/** The value of allow-origin; undefined = not allowed. `null`, which any document can make itself, never gets credentials by `*`. */
function allowedOrigin(origin: string, policy: CorsPolicy): string | undefined {
  if (policy.allowOrigins.includes('*')) {
    if (!policy.allowCredentials) return '*'
    return origin === 'null' ? undefined : origin
  }
  const plain = withoutDefaultPort(origin.toLowerCase())
  return policy.allowOrigins.some((pattern) => isOrigin(withoutDefaultPort(pattern.toLowerCase()), plain)) ? origin : undefined
}

function withoutDefaultPort(origin: string): string {
  const match = DEFAULT_PORT.exec(origin)
  return match === null ? origin : (match[1] ?? match[2] ?? origin)
}

/** `*` stands for any characters of a host and port. */
function isOrigin(pattern: string, origin: string): boolean {
  const parts = pattern.split('*')
  const first = parts[0] ?? ''
  const last = parts.at(-1) ?? ''
  if (parts.length === 1) return pattern === origin
  if (origin.length < first.length + last.length || !origin.startsWith(first) || !origin.endsWith(last)) return false
  // What `*` stands for is a host: the scheme must be written out, and no path may come in by it.
  if (!first.includes('://') || origin.indexOf('/', first.indexOf('://') + 3) >= 0) return false
  let at = first.length
  const end = origin.length - last.length
  for (const part of parts.slice(1, -1)) {
    const found = origin.indexOf(part, at)
    if (found < 0 || found + part.length > end) return false
    at = found + part.length
  }
  return true
}

/** `*` allows what was asked for, which also holds with credentials. */
function listFor(allowed: readonly string[], requested: string | undefined): string | undefined {
  if (allowed.includes('*')) return requested
  return allowed.length === 0 ? undefined : allowed.join(', ')
}
