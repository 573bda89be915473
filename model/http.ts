// HTTP messages as every part of the L7 proxy sees them, whichever version carried them. Made by the codecs in http/ after
// normalisation, read by the pure decisions in policy/http/ and by waypoint/.

/** Lower-case name and value; order and duplicates are kept as they came. */
export type HeaderField = readonly [name: string, value: string]

/** Version on the wire of one side; both sides of an exchange may differ. */
export type HttpVersion = 'HTTP/1.0' | 'HTTP/1.1' | 'HTTP/2'

/** A request's head, normalised once: what is matched here is what is forwarded, byte by byte. */
export interface RequestHead {
  readonly version: HttpVersion
  /** Case-sensitive token; never CONNECT, except HTTP/2 extended CONNECT, which arrives as `upgrade`. */
  readonly method: string
  readonly scheme: 'http' | 'https'
  /** `host` or `host:port`, lower case, never empty. */
  readonly authority: string
  /** Starts with `/` (or is `*` for OPTIONS); no dot segments, no query, no fragment. */
  readonly path: string
  /** What follows `?`, raw; undefined = no `?`. */
  readonly query: string | undefined
  /** Without host, framing and hop-by-hop fields. */
  readonly headers: readonly HeaderField[]
  /** Protocol that the client wants to switch to (`websocket`), lower case; undefined = none. */
  readonly upgrade: string | undefined
}

/** A response's head. Headers without framing and hop-by-hop fields. */
export interface ResponseHead {
  /** 100–599; 1xx are interim, except 101. */
  readonly status: number
  readonly headers: readonly HeaderField[]
}

/** @returns the first value of a header (`name` in lower case), or undefined */
export function headerOf(headers: readonly HeaderField[], name: string): string | undefined {
  for (const field of headers) if (field[0] === name) return field[1]
  return undefined
}
