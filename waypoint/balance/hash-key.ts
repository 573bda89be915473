// What a request is hashed by: a header, a query parameter, a cookie or the client's address, as DestinationRule's
// consistentHash names them.
import type { IpAddress } from '../../model/address.ts'
import type { HashKey } from '../../model/backend.ts'
import type { HeaderField, RequestHead } from '../../model/http.ts'
import { headerOf } from '../../model/http.ts'
import { cookieOf, setCookie } from './cookie.ts'
import { hashText } from './hash.ts'

/** @returns the 32-bit hash of the first key that the request has; undefined = it has none of them */
export function hashOfRequest(keys: readonly HashKey[], head: RequestHead, sourceIp: IpAddress): number | undefined {
  for (const key of keys) {
    const text = textOf(key, head, sourceIp)
    if (text !== undefined) return hashText(text)
  }
  return undefined
}

/** A hash for a client that has no key yet, and the field that makes it come back with one. */
export interface NewHashCookie {
  readonly hash: number
  readonly field: HeaderField
}

/**
 * For a request that hashOfRequest found no key in: a cookie with a lifetime is made for the client, so that it stays with its
 * endpoint from the first request on. A lifetime of 0 ends with the browser.
 * @param random 0 ≤ x < 1
 * @returns undefined when no key is such a cookie
 */
export function newHashCookie(keys: readonly HashKey[], random: () => number, isHttps: boolean): NewHashCookie | undefined {
  for (const key of keys) {
    if (key.kind !== 'cookie' || key.ttlSeconds === undefined) continue
    const value = word(random()) + word(random())
    const maxAgeSeconds = key.ttlSeconds === 0 ? undefined : key.ttlSeconds
    const field = setCookie(key.name, value, { path: key.path, maxAgeSeconds, isSecure: isHttps })
    if (field !== undefined) return { hash: hashText(value), field }
  }
  return undefined
}

function word(random: number): string {
  return Math.floor(random * 2 ** 32)
    .toString(16)
    .padStart(8, '0')
}

function textOf(key: HashKey, head: RequestHead, sourceIp: IpAddress): string | undefined {
  switch (key.kind) {
    case 'header':
      return headerText(head, key.name.toLowerCase())
    case 'query':
      return head.query === undefined ? undefined : parameterOf(head.query, key.name)
    case 'cookie':
      return cookieOf(head.headers, key.name)
    case 'sourceIp':
      return sourceIp
    default:
      return key satisfies never
  }
}

/** Pseudo-headers may be named as in Istio; `host` is not among the fields either. */
function headerText(head: RequestHead, name: string): string | undefined {
  if (name === ':authority' || name === 'host') return head.authority
  if (name === ':path') return head.query === undefined ? head.path : `${head.path}?${head.query}`
  return name === ':method' ? head.method : headerOf(head.headers, name)
}

/** The first value of a parameter, undecoded: equal requests are written equally. */
function parameterOf(query: string, name: string): string | undefined {
  for (let start = 0; start <= query.length; ) {
    const ampersand = query.indexOf('&', start)
    const end = ampersand === -1 ? query.length : ampersand
    if (query.startsWith(name, start)) {
      const after = start + name.length
      if (after === end) return ''
      if (query[after] === '=') return query.slice(after + 1, end)
    }
    start = end + 1
  }
  return undefined
}
