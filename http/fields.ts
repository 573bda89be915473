// Header and trailer fields of HTTP/1.1 (RFC 9112 §5), read strictly in one pass over the text of a head: framing is judged,
// hop-by-hop fields are dropped, and what two parsers could read differently is a fault.
import type { HeaderField } from '../model/http.ts'
import { CHARS, DIGIT, isAll, quote, TOKEN, UPPER, VALUE } from './chars.ts'

const CR = 13
const LF = 10
const SP = 32
const HTAB = 9
const COLON = 58

/** Longest Content-Length that a number holds exactly. */
const MAX_LENGTH_DIGITS = 15

/** What `Connection` may not name: a client could take from a request what the next server decides upon. */
const END_TO_END: ReadonlySet<string> = new Set([
  'host',
  'content-length',
  'content-type',
  'content-encoding',
  'transfer-encoding',
  'authorization',
  'proxy-authorization',
  'cookie',
  'set-cookie',
  'forwarded',
  'via',
  'expect',
  'cache-control',
  'location',
  'origin',
  'x-request-id',
  'x-real-ip',
  'traceparent',
  'tracestate',
])

/** The same by their beginning. */
const END_TO_END_PREFIXES = ['x-forwarded-', 'x-weft-', 'x-envoy-', 'x-b3-', 'access-control-', 'sec-']

/** What a trailer may not carry (RFC 9110 §6.5.1): it would come after the decisions it is for. */
const NOT_IN_TRAILERS: ReadonlySet<string> = new Set([
  ...END_TO_END,
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'upgrade',
  'http2-settings',
  'content-range',
  'range',
  'max-forwards',
  'if-match',
  'if-none-match',
  'if-modified-since',
  'if-unmodified-since',
  'if-range',
])

/** A block of fields. Reading ends at the first fault; then nothing else of it counts. */
export class Fields {
  /** Forwarded fields. */
  headers: HeaderField[] = []
  /** The first thing that is wrong. */
  fault: string | undefined
  /** More fields than allowed. */
  isTooMany = false
  /** The only Host field, as it came. */
  host: string | undefined
  /** Content-Length. */
  length: number | undefined
  isChunked = false
  /** `Connection: close`. */
  isClose = false
  /** `Connection: upgrade`. */
  isUpgrade = false
  /** Values of Upgrade, joined by commas. */
  upgrade: string | undefined
  /** Fields that Connection named beyond the known ones. */
  #named: string[] | undefined

  /**
   * Reads the fields of `text` from `at` to its end: lines that end with CRLF each, without the empty line.
   * @param most fields allowed
   */
  read(text: string, at: number, most: number): void {
    let from = at
    for (let count = 1; from < text.length; count++) {
      if (count > most) {
        this.isTooMany = true
        return
      }
      from = this.#line(text, from)
      if (this.fault !== undefined) return
    }
    if (this.#named !== undefined) this.#dropNamed(this.#named)
  }

  /** @returns where the next line starts */
  #line(text: string, start: number): number {
    let at = start
    let seen = 0
    let code = text.charCodeAt(at)
    for (; code !== COLON; code = text.charCodeAt(++at)) {
      const bits = CHARS[code] ?? 0
      if ((bits & TOKEN) === 0) return this.#fail(at === start && (code === SP || code === HTAB) ? 'a folded field' : 'a bad field name')
      seen |= bits | (code === 0x5f ? UNDERSCORE : 0)
    }
    if (at === start) return this.#fail('an empty field name')
    let name = text.slice(start, at)
    if ((seen & UPPER) !== 0) name = name.toLowerCase()
    do code = text.charCodeAt(++at)
    while (code === SP || code === HTAB)
    const from = at
    let end = at // after the last character that is not blank
    for (; ((CHARS[code] ?? 0) & VALUE) !== 0; code = text.charCodeAt(++at)) if (code !== SP && code !== HTAB) end = at + 1
    if (code !== CR || text.charCodeAt(at + 1) !== LF) return this.#fail(`a character in ${name} that is not allowed`)
    const value = text.slice(from, end)
    if ((seen & UNDERSCORE) !== 0) this.#checkUnderscores(name)
    this.#take(name, value)
    return at + 2
  }

  #take(name: string, value: string): void {
    switch (name.length) {
      case 2:
        if (name !== 'te') break
        if (/(?:^|,)[ \t]*trailers[ \t]*(?:$|[,;])/i.test(value)) this.headers.push(['te', 'trailers'])
        return
      case 4:
        if (name !== 'host') break
        if (this.host !== undefined) this.#fail('a second host')
        this.host = value
        return
      case 7:
        if (name !== 'upgrade') break
        this.upgrade = this.upgrade === undefined ? value : `${this.upgrade},${value}`
        return
      case 10:
        if (name === 'keep-alive') return
        if (name !== 'connection') break
        this.#connection(value)
        return
      case 14:
        if (name === 'http2-settings') return
        if (name !== 'content-length') break
        this.#length(value)
        return
      case 16:
        if (name === 'proxy-connection') return
        break
      case 17:
        if (name !== 'transfer-encoding') break
        if (this.isChunked || value.toLowerCase() !== 'chunked') this.#fail(`transfer-encoding ${quote(value)}`)
        this.isChunked = true
        return
    }
    this.headers.push([name, value])
  }

  #length(value: string): void {
    if (this.length !== undefined) this.#fail('a second content-length')
    else if (value.length > MAX_LENGTH_DIGITS || !isAll(value, DIGIT)) this.#fail(`content-length ${quote(value)}`)
    this.length = Number(value)
  }

  #connection(value: string): void {
    for (const part of value.split(',')) {
      const option = trimBlanks(part).toLowerCase()
      if (option === '') continue // RFC 9110 §5.6.1.2: empty elements are allowed
      if (option === 'close') this.isClose = true
      else if (option === 'upgrade') this.isUpgrade = true
      else if (!isAll(option, TOKEN)) this.#fail('a connection option that is not a token')
      else if (isEndToEnd(option)) this.#fail(`connection naming ${quote(option)}`)
      else if (option !== 'keep-alive' && option !== 'te') {
        this.#named ??= []
        this.#named.push(option)
      }
    }
  }

  #dropNamed(named: readonly string[]): void {
    this.headers = this.headers.filter(([name]) => !named.includes(name))
  }

  /** Servers that hand fields over as environment variables take `_` for `-`. */
  #checkUnderscores(name: string): void {
    const dashed = name.replaceAll('_', '-')
    const isTrusted = dashed.startsWith('x-forwarded-') || dashed.startsWith('x-weft-')
    if (isTrusted || dashed === 'content-length' || dashed === 'transfer-encoding') this.#fail(`field ${quote(name)}`)
  }

  #fail(fault: string): number {
    this.fault ??= fault
    return 0
  }
}

/**
 * Reads trailers. @param text lines that end with CRLF each
 * @returns the fields that may be forwarded; undefined = malformed or more than `most`
 */
export function readTrailers(text: string, most: number): HeaderField[] | undefined {
  const fields = new Fields()
  fields.read(text, 0, most)
  if (fields.fault !== undefined || fields.isTooMany) return undefined
  return fields.headers.filter(([name]) => !isRefusedTrailer(name))
}

/** @returns text without SP and HTAB at its ends; `trim` would take bytes above 0x7f for blanks too */
export function trimBlanks(text: string): string {
  let from = 0
  let to = text.length
  while (from < to && isBlank(text.charCodeAt(from))) from++
  while (to > from && isBlank(text.charCodeAt(to - 1))) to--
  return text.slice(from, to)
}

/** Whether a field may not be sent or forwarded in trailers. @param name lower case */
export function isRefusedTrailer(name: string): boolean {
  return NOT_IN_TRAILERS.has(name) || isEndToEnd(name)
}

const UNDERSCORE = 0x100

function isBlank(code: number): boolean {
  return code === SP || code === HTAB
}

function isEndToEnd(name: string): boolean {
  if (END_TO_END.has(name)) return true
  for (const prefix of END_TO_END_PREFIXES) if (name.startsWith(prefix)) return true
  return false
}
