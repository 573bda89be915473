// WebSocket over HTTP/2 (RFC 8441) has no key and no accept header, HTTP/1.1 (RFC 6455) needs both. The codecs of HTTP/2 make the
// exchange look like that of HTTP/1.1, so that both sides of the proxy may differ.
import { createHash, randomBytes } from 'node:crypto'
import { type HeaderField, headerOf, type RequestHead, type ResponseHead } from '../model/http.ts'

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11' // RFC 6455 §1.3

/** @returns the request with a key, if it is a WebSocket of HTTP/2 */
export function withKey(head: RequestHead): RequestHead {
  if (head.upgrade !== 'websocket' || headerOf(head.headers, 'sec-websocket-key') !== undefined) return head
  return { ...head, headers: [...head.headers, ['sec-websocket-key', randomBytes(16).toString('base64')]] }
}

/** @returns an HTTP/1.1 request as HTTP/2 sends it */
export function withoutKey(head: RequestHead): RequestHead {
  return head.upgrade === undefined ? head : { ...head, headers: without(head.headers, 'sec-websocket-key') }
}

/** @returns an accepting response of HTTP/1.1 as HTTP/2 sends it: 200 */
export function asExtended(head: ResponseHead): ResponseHead {
  return { status: 200, headers: without(head.headers, 'sec-websocket-accept') }
}

/** @returns an accepting response of HTTP/2 as HTTP/1.1 sends it: 101, with the accept header that the request's key asks for */
export function asSwitching(head: ResponseHead, request: RequestHead): ResponseHead {
  const key = headerOf(request.headers, 'sec-websocket-key')
  if (key === undefined) return { status: 101, headers: head.headers }
  const accept = createHash('sha1').update(`${key}${GUID}`).digest('base64')
  return { status: 101, headers: [...without(head.headers, 'sec-websocket-accept'), ['sec-websocket-accept', accept]] }
}

function without(headers: readonly HeaderField[], name: string): HeaderField[] {
  return headers.filter((field) => field[0] !== name)
}
