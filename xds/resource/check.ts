// Checks shared by the resource decoders: each takes a raw value and returns the model value or notes a fault and a stand-in.
// All faults of a resource are collected, so that one refusal tells everything that is wrong with it.
import { type Cidr, type IpAddress, ipFromBytes, isIpv6, isLocal } from '../../model/address.ts'

/** Longest host name, namespace or object name (RFC 1123). */
export const NAME_LIMIT_CHARS = 253
/** Longest uid and other opaque text. */
export const TEXT_LIMIT_CHARS = 1024
/** Longest value or pattern that a request is compared with, and longest header value that is set. */
export const VALUE_LIMIT_CHARS = 8192

const NAME = /^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$/
const HOST = /^(\*\.)?[a-z0-9]([a-z0-9._-]*[a-z0-9])?$/i
const PRINTABLE = /^[\x20-\x7e]*$/
const SERVICE_KEY = /^[a-z0-9][a-z0-9._-]*\/(\*\.)?[a-z0-9][a-z0-9._-]*$/i
/** RFC 9110 token, lower case: the only form in which header names are compared and written. */
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9a-z-]+$/
/** What a header field may carry: no line break, which would end it, and no other control character. */
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
const CONTROL = /[\0-\x08\n-\x1f\x7f]/

/** Collects faults of one resource, each prefixed by the field's path. */
export class Faults {
  readonly list: string[] = []

  note(field: string, what: string): void {
    // A hostile resource could carry a million bad values: the first ones tell enough.
    if (this.list.length < 16) this.list.push(`${field}: ${what}`)
  }

  /** Printable ASCII of at most `limit` characters. */
  text(field: string, value: string, limit = TEXT_LIMIT_CHARS): string {
    if (value.length > limit) this.note(field, `${value.length} characters, at most ${limit} are allowed`)
    else if (!PRINTABLE.test(value)) this.note(field, 'holds characters that are not printable ASCII')
    else return value
    return ''
  }

  /** Any characters but control ones, at most `limit`: what values of requests are compared with. */
  value(field: string, value: string, limit = VALUE_LIMIT_CHARS): string {
    if (value.length > limit) this.note(field, `${value.length} characters, at most ${limit} are allowed`)
    else if (CONTROL.test(value)) this.note(field, 'holds control characters')
    else return value
    return ''
  }

  /** A header's name in lower case. */
  headerName(field: string, value: string): string {
    if (value.length > NAME_LIMIT_CHARS || !HEADER_NAME.test(value)) this.note(field, `${show(value)} is not a lower-case header name`)
    return value
  }

  /** A header's value as it may be written on the wire. */
  headerValue(field: string, value: string): string {
    if (value.length > VALUE_LIMIT_CHARS) this.note(field, `${value.length} characters, at most ${VALUE_LIMIT_CHARS} are allowed`)
    else if (!HEADER_VALUE.test(value)) this.note(field, 'holds characters that no header may carry')
    else return value
    return ''
  }

  /** `namespace/hostname`. */
  serviceKey(field: string, value: string): string {
    if (value.length > 2 * NAME_LIMIT_CHARS || !SERVICE_KEY.test(value)) this.note(field, `${show(value)} is not namespace/hostname`)
    return value
  }

  /** A finite number from `least` to `most`; -0 becomes 0. */
  amount(field: string, value: number, { least = 0, most = Number.MAX_SAFE_INTEGER } = {}): number {
    if (value >= least && value <= most) return value + 0
    this.note(field, `${value} is not a number from ${least} to ${most}`)
    return least
  }

  /** A lower-case DNS-like name; empty only when `whenEmpty` is given, which then is the value. */
  name(field: string, value: string, whenEmpty?: string): string {
    if (value === '' && whenEmpty !== undefined) return whenEmpty
    if (value.length > NAME_LIMIT_CHARS || !NAME.test(value)) this.note(field, `${show(value)} is not a lower-case name`)
    return value
  }

  /** A host name, `*.` allowed in front. */
  host(field: string, value: string): string {
    if (value.length > NAME_LIMIT_CHARS || !HOST.test(value)) this.note(field, `${show(value)} is not a host name`)
    return value
  }

  /** A port from `least` to 65535. */
  port(field: string, value: number, least = 1): number {
    if (value < least || value > 65535) this.note(field, `${value} is not a port from ${least} to 65535`)
    return value
  }

  /** 4 or 16 bytes that are an address other hosts can reach. */
  ip(field: string, bytes: Uint8Array): IpAddress | undefined {
    const ip = ipFromBytes(bytes)
    if (ip === undefined) this.note(field, `${bytes.length} bytes are not an IPv4 or IPv6 address`)
    else if (isLocal(ip)) this.note(field, `${ip} is a loopback or unspecified address`)
    else return ip
    return undefined
  }

  /** An address block. */
  cidr(field: string, bytes: Uint8Array, length: number): Cidr | undefined {
    const ip = ipFromBytes(bytes)
    if (ip === undefined) this.note(field, `${bytes.length} bytes are not an IPv4 or IPv6 address`)
    else if (length > bytes.length * 8) this.note(field, `/${length} is longer than the address`)
    // A mapped IPv6 block becomes IPv4; its prefix counts from the 96th bit, and one that is shorter is no IPv4 block.
    else if (bytes.length === 16 && !isIpv6(ip)) {
      if (length >= 96) return { ip, prefix: length - 96 }
      this.note(field, `IPv4-mapped block shorter than /96`)
    } else return { ip, prefix: length }
    return undefined
  }

  /** The name of an enum's number. */
  choice<T>(field: string, value: number, names: Readonly<Record<number, T>>, standIn: T): T {
    const found = Object.hasOwn(names, value) ? names[value] : undefined
    if (found === undefined) this.note(field, `unknown value ${value}`)
    return found ?? standIn
  }

  /** The list, or an empty one when it is longer than `limit`. */
  many<T>(field: string, values: readonly T[], limit: number): readonly T[] {
    if (values.length <= limit) return values
    this.note(field, `${values.length} entries, at most ${limit} are allowed`)
    return []
  }
}

function show(value: string): string {
  return JSON.stringify(value.length > 64 ? `${value.slice(0, 64)}…` : value)
}

/** @returns what `read` makes of a value that is there; undefined for an absent one */
export function optional<T, R>(value: T | undefined, read: (value: T) => R): R | undefined {
  return value === undefined ? undefined : read(value)
}
