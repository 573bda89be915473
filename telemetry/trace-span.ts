// What a proxy knows of tracing: spans that it begins and ends. Made by trace.ts, which is loaded only when spans are wanted.
import type { Attributes } from '@opentelemetry/api'
import type { HeaderField } from '../model/http.ts'
import type { TraceContext } from './trace-context.ts'

/** Something that lasts. Its methods never throw. */
export interface TraceSpan {
  /** For the headers of what is sent because of it. */
  readonly context: TraceContext
  /** Attributes are worth making. */
  readonly isRecorded: boolean
  /** Begins a call to another service. */
  child(name: string, attributes: Attributes): TraceSpan
  set(attributes: Attributes): void
  /** Once. @param error what went wrong, in a word; undefined = nothing */
  end(error?: string): void
}

/** Begins spans. */
export interface RequestTracer {
  /**
   * Begins the span of a request: a child of the span that its headers name, if they do, and then recorded if that one is.
   * @param headers as the client sent them
   */
  begin(name: string, headers: readonly HeaderField[]): TraceSpan
  /** Delivers what waits, for at most this long. */
  stop(deadlineMs: number): Promise<void>
}

/** Characters of an attribute's value; a path may have thousands, and thousands of spans may wait. */
export const MAX_VALUE_CHARACTERS = 256

/** A text of the client's for an attribute: cut, and a copy, so that it does not hold what it is a part of. */
export function spanText(text: string): string {
  return Buffer.from(text.slice(0, MAX_VALUE_CHARACTERS)).toString()
}
