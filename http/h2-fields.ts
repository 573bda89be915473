// Header fields of HTTP/2 (RFC 9113 §8.2), both directions. Node hands over and takes flat lists of names and values; towards
// the wire it joins them with NUL and cuts characters to a byte, so that nothing unchecked may reach it.
import type { OutgoingHttpHeaders } from 'node:http'
import type { HeaderField } from '../model/http.ts'
import { quote } from './chars.ts'

const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/
const VALUE = /^(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?$/
const LENGTH = /^[0-9]{1,15}$/

/** Fields that belong to one HTTP/1.1 connection: malformed in a message of HTTP/2, left out of what we send. */
const CONNECTION_FIELDS: ReadonlySet<string> = new Set([
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
])

/** Fields that the codec makes from the message itself. */
const FRAMING_FIELDS: ReadonlySet<string> = new Set(['content-length', 'host', ...CONNECTION_FIELDS])

/** Servers that hand fields over as environment variables take `_` for `-`. */
const DISGUISED = /^(?=[^_]*_)(?:x[_-](?:forwarded|weft)[_-]|content[_-]length$|transfer[_-]encoding$)/

/** A parsed block of fields. */
export interface FieldBlock {
  /** `:method` and so on, each at most once. */
  readonly pseudo: ReadonlyMap<string, string>
  /** Everything else, in order, with crumbs of `cookie` joined (RFC 9113 §8.2.3). */
  readonly fields: readonly HeaderField[]
  /** What is wrong, one sentence each; empty = nothing. */
  readonly faults: readonly string[]
}

/**
 * Reads a block of fields as Node hands it over.
 * @param raw name, value, name, value, …
 */
export function readFields(raw: readonly string[]): FieldBlock {
  const pseudo = new Map<string, string>()
  const fields: HeaderField[] = []
  const faults: string[] = []
  let cookieAt = -1
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at] ?? ''
    const value = raw[at + 1] ?? ''
    if (!VALUE.test(value)) faults.push(`value of ${quote(name)} has a character that is not allowed`)
    else if (name.startsWith(':')) {
      if (fields.length > 0) faults.push(`${quote(name)} comes after a header field`)
      else if (pseudo.has(name)) faults.push(`${quote(name)} comes twice`)
      else pseudo.set(name, value)
    } else if (!NAME.test(name) || DISGUISED.test(name)) faults.push(`${quote(name)} is not a field name that is served`)
    else if (CONNECTION_FIELDS.has(name)) faults.push(`${name} is not allowed in HTTP/2`)
    else if (name === 'cookie' && cookieAt >= 0) fields[cookieAt] = ['cookie', crumbs(fields[cookieAt]?.[1] ?? '', value)]
    else {
      if (name === 'cookie') cookieAt = fields.length
      fields.push([name, value])
    }
  }
  return { pseudo, fields, faults }
}

/**
 * The one `content-length` of a message.
 * @returns bytes, undefined = none was sent, NaN = malformed or more than one
 */
export function lengthOf(fields: readonly HeaderField[]): number | undefined {
  let length: number | undefined
  for (const [name, value] of fields) {
    if (name !== 'content-length') continue
    if (length !== undefined || !LENGTH.test(value)) return Number.NaN
    length = Number(value)
  }
  return length
}

/** @returns the fields that are forwarded: without those that the next codec makes itself */
export function withoutFraming(fields: readonly HeaderField[]): HeaderField[] {
  return fields.filter(([name]) => !FRAMING_FIELDS.has(name))
}

/** @returns the first fault of fields that shall be sent, or undefined. A field that fails must never reach Node. */
export function faultOf(fields: readonly HeaderField[]): string | undefined {
  for (const [name, value] of fields) {
    if (!NAME.test(name)) return `${quote(name)} is not a field name`
    if (!VALUE.test(value)) return `value of ${name} has a character that is not allowed`
  }
  return undefined
}

/** @returns fields as Node takes them for trailers and interim responses; several values of a name are kept apart */
export function fieldObject(fields: readonly HeaderField[]): OutgoingHttpHeaders {
  const object: Record<string, string | string[]> = Object.create(null)
  for (const [name, value] of fields) {
    const before = object[name]
    if (before === undefined) object[name] = value
    else if (typeof before === 'string') object[name] = [before, value]
    else before.push(value)
  }
  return object
}

/** @returns bytes of a field list as RFC 9113 §6.5.2 counts them */
export function fieldBytes(raw: readonly string[]): number {
  let bytes = 0
  for (const text of raw) bytes += text.length + 16
  return bytes
}

function crumbs(before: string, next: string): string {
  return before === '' || next === '' ? before + next : `${before}; ${next}`
}
