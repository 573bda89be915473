// Patterns from configuration: RE2 syntax through re2js, so that no pattern can take more than linear time, and bounded in
// size, because linear still means pattern times text (measured: 60 KB of header against 1,900 instructions took 0.2 s).
import { RE2JS } from 're2js'
import type { Result } from '../../kit/error.ts'
import { faults, messageOf, success } from '../../kit/error.ts'

/** Longest pattern, as in Istio's and the Gateway API's schemas. */
const MAX_PATTERN_CHARACTERS = 1024
/** Most instructions of a compiled pattern: bounds the time of one match to tens of milliseconds at the longest header. */
const MAX_PROGRAM = 500

/** A compiled pattern. */
export type Regex = RE2JS

/** Compiles RE2 syntax. Never throws: what cannot be compiled or is too large is a fault, in one sentence. */
export function compileRegex(pattern: string): Result<Regex> {
  if (pattern.length > MAX_PATTERN_CHARACTERS)
    return faults(`regex of ${pattern.length} characters, at most ${MAX_PATTERN_CHARACTERS} are taken`)
  let regex: RE2JS
  try {
    regex = RE2JS.compile(pattern)
  } catch (error) {
    return faults(`regex ${JSON.stringify(pattern)} is not RE2 syntax: ${messageOf(error)}`)
  }
  const size = regex.programSize()
  return size > MAX_PROGRAM
    ? faults(`regex ${JSON.stringify(pattern)} compiles to ${size} steps, at most ${MAX_PROGRAM} are taken`)
    : success(regex)
}
