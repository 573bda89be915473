// Whether a regex of a route may be sent to proxies. Repetition makes a short text a large program: what it can grow to is bounded
// before it is compiled here, the rest is the proxies' own check.
import { compileRegex } from '../../../policy/http/regex.ts'

/** Sum of all counts in `{n,m}`; nesting multiplies them, which the size of the program shows. */
const MAX_REPETITION = 1000

/** @returns what is wrong with the pattern, or undefined */
export function regexFault(pattern: string): string | undefined {
  let repetition = 0
  for (const [, least = '', most = ''] of pattern.matchAll(/\{(\d{1,9})(?:,(\d{0,9}))?\}/g)) {
    repetition += Math.max(Number(least), Number(most))
  }
  if (repetition > MAX_REPETITION) return `a regex repeats more than ${MAX_REPETITION} times in all`
  const compiled = compileRegex(pattern)
  return compiled.ok ? undefined : compiled.errors.join('; ')
}
