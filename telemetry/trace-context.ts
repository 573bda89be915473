// W3C Trace Context (https://www.w3.org/TR/trace-context-1/): which trace a request belongs to, read strictly from its headers,
// and the headers that carry it on. Pure; random bytes come in as an argument.
import type { HeaderField } from '../model/http.ts'

/** A place in a trace. */
export interface TraceContext {
  /** 32 lower-case hexadecimal digits, not all 0. */
  readonly traceId: string
  /** 16 lower-case hexadecimal digits, not all 0: the span that caused what has this context. */
  readonly spanId: string
  readonly isSampled: boolean
  /** `tracestate` as it is passed on; '' = none. */
  readonly state: string
}

/** Gives random bytes. */
export type RandomBytes = (count: number) => Buffer

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/
const NO_TRACE = '0'.repeat(32)
const NO_SPAN = '0'.repeat(16)
const SAMPLED = 1
const KEY = /^(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})$/
const VALUE = /^[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/
/** The standard asks for at least this much to be passed on; more is dropped as a whole. */
const MAX_STATE_CHARACTERS = 512
const MAX_STATE_MEMBERS = 32
const HEADERS: ReadonlySet<string> = new Set(['traceparent', 'tracestate'])

/** @returns the place that a `traceparent` names, or undefined when it breaks the standard in any way */
export function parseTraceparent(text: string): Omit<TraceContext, 'state'> | undefined {
  const match = TRACEPARENT.exec(text)
  if (match === null) return undefined
  const [, version = '', traceId = '', spanId = '', flags = '', more] = match
  if (version === 'ff' || (version === '00' && more !== undefined)) return undefined
  if (traceId === NO_TRACE || spanId === NO_SPAN) return undefined
  return { traceId, spanId, isSampled: (Number.parseInt(flags, 16) & SAMPLED) !== 0 }
}

/** @returns the list as it is passed on, '' when it is empty, too long or breaks the standard in any way */
export function parseTracestate(fields: readonly string[]): string {
  const text = fields.join(',')
  if (text.length > MAX_STATE_CHARACTERS) return ''
  const keys = new Set<string>()
  const members: string[] = []
  for (const part of text.split(',')) {
    const member = part.replace(/^[ \t]+|[ \t]+$/g, '')
    if (member === '') continue
    const equals = member.indexOf('=')
    const key = member.slice(0, equals)
    if (equals < 0 || !KEY.test(key) || !VALUE.test(member.slice(equals + 1)) || keys.has(key)) return ''
    keys.add(key)
    members.push(member)
  }
  return members.length > MAX_STATE_MEMBERS ? '' : members.join(',')
}

/** @returns the context that a request came with; undefined = none, or not exactly one that is valid */
export function traceContextIn(headers: readonly HeaderField[]): TraceContext | undefined {
  let parent: string | undefined
  const state: string[] = []
  for (const [name, value] of headers) {
    if (name === 'tracestate') state.push(value)
    else if (name === 'traceparent') {
      if (parent !== undefined) return undefined
      parent = value
    }
  }
  const parsed = parent === undefined ? undefined : parseTraceparent(parent)
  return parsed === undefined ? undefined : { ...parsed, state: parseTracestate(state) }
}

/** @returns the headers with this context in place of any other */
export function withTraceContext(headers: readonly HeaderField[], context: TraceContext): HeaderField[] {
  const others = headers.filter(([name]) => !HEADERS.has(name))
  others.push(['traceparent', formatTraceparent(context)])
  if (context.state !== '') others.push(['tracestate', context.state])
  return others
}

/** Writes a `traceparent` of version 00. */
export function formatTraceparent({ traceId, spanId, isSampled }: TraceContext): string {
  return `00-${traceId}-${spanId}-${isSampled ? '01' : '00'}`
}

/**
 * The context of a new span.
 * @param parent undefined = the span begins a trace
 * @param isSampled whether a new trace is recorded; a parent's decision holds for its children
 */
export function childContext(parent: TraceContext | undefined, isSampled: boolean, randomBytes: RandomBytes): TraceContext {
  const spanId = newSpanId(randomBytes)
  if (parent === undefined) return { traceId: newTraceId(randomBytes), spanId, isSampled, state: '' }
  return { ...parent, spanId }
}

/** 16 random bytes in hexadecimal, not all 0. */
export function newTraceId(randomBytes: RandomBytes): string {
  return newId(randomBytes, NO_TRACE)
}

/** 8 random bytes in hexadecimal, not all 0. */
export function newSpanId(randomBytes: RandomBytes): string {
  return newId(randomBytes, NO_SPAN)
}

function newId(randomBytes: RandomBytes, none: string): string {
  const id = randomBytes(none.length / 2).toString('hex')
  return id === none ? `${id.slice(1)}1` : id
}
