// New paths for rewrites and redirects. The result is a well-formed path without dot segments again, so that what a backend
// makes of it is what was meant.
import type { PathRewrite, RouteMatch } from '../../model/route.ts'
import { trimPrefix } from './match.ts'
import type { Regex } from './regex.ts'
import { compileRegex } from './regex.ts'

const DOTS = /\/(?:\.|%2e){1,2}(?:\/|$)/i
const ONE_DOT = /^(?:\.|%2e)$/i
const TWO_DOTS = /^(?:\.|%2e){2}$/i

/** Compiled patterns, as long as the rewrite lives; undefined = the pattern is not RE2 syntax. */
const compiled = new WeakMap<PathRewrite, Regex | undefined>()

/**
 * The path after a rewrite. `prefix` follows the Gateway API's table for ReplacePrefixMatch (by elements), or Istio's for a
 * match of kind `textPrefix`, where what stands after the prefix is kept as it is, but never doubles a `/`.
 * @param path normalised, as in RequestHead; `*` stays
 */
export function rewritePath(path: string, rewrite: PathRewrite, match: RouteMatch): string {
  if (path === '*') return path
  switch (rewrite.kind) {
    case 'full':
      return rewrite.value === '' ? '/' : rewrite.value
    case 'prefix':
      return replacePrefix(path, rewrite, match)
    case 'regex':
      return tidy(replaceRegex(path, rewrite))
    default:
      return rewrite satisfies never
  }
}

function replacePrefix(path: string, rewrite: Extract<PathRewrite, { kind: 'prefix' }>, match: RouteMatch): string {
  const isText = match.path?.kind === 'textPrefix'
  const prefix = isText ? rewrite.prefix : trimPrefix(rewrite.prefix)
  const start = path.slice(0, prefix.length)
  const isSame = match.path?.ignoresCase === true ? start.toLowerCase() === prefix.toLowerCase() : start === prefix
  if (!isSame) return path
  const rest = path.slice(prefix.length)
  if (rest === '') return rewrite.value === '' ? '/' : rewrite.value
  if (!isText && rest[0] !== '/') return path
  return tidy((rest[0] === '/' ? trimPrefix(rewrite.value) : rewrite.value) + rest)
}

/** Replaces every place where the pattern matches, as Envoy's regex_rewrite does. */
function replaceRegex(path: string, rewrite: Extract<PathRewrite, { kind: 'regex' }>): string {
  const regex = regexOf(rewrite)
  if (regex === undefined) return path
  const matcher = regex.matcher(path)
  let result = ''
  let end = 0
  while (matcher.find()) {
    result += path.slice(end, matcher.start())
    result += rewrite.substitution.replaceAll(/\\([0-9\\])/g, (_, what: string) =>
      what === '\\' ? '\\' : (matcher.group(Number(what)) ?? ''),
    )
    end = matcher.end()
  }
  return result + path.slice(end)
}

function regexOf(rewrite: Extract<PathRewrite, { kind: 'regex' }>): Regex | undefined {
  if (!compiled.has(rewrite)) {
    const regex = compileRegex(rewrite.pattern)
    compiled.set(rewrite, regex.ok ? regex.value : undefined)
  }
  return compiled.get(rewrite)
}

/** Parts put together may lack the first `/` or make up a dot segment: the first is added, the second resolved (RFC 3986 5.2.4). */
function tidy(path: string): string {
  const whole = path.startsWith('/') ? path : `/${path}`
  if (!DOTS.test(whole)) return whole
  const elements = whole.slice(1).split('/')
  const kept: string[] = []
  for (const [index, element] of elements.entries()) {
    const isLast = index === elements.length - 1
    if (TWO_DOTS.test(element)) kept.pop()
    else if (!ONE_DOT.test(element)) kept.push(element)
    if (isLast && (TWO_DOTS.test(element) || ONE_DOT.test(element))) kept.push('')
  }
  return `/${kept.join('/')}`
}
