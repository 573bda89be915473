// Two matches -> one that holds when both hold, as far as a RouteMatch can say it. Pure.
import type { NamedMatch, PathMatch, RouteMatch, TextMatch } from '../../../model/route.ts'
import { trimPrefix } from '../../../policy/http/match.ts'
import { compileRegex, type Regex } from '../../../policy/http/regex.ts'

/** `never` = no request can meet both; `unknown` = no single match says it. */
export type Conjunction = RouteMatch | 'never' | 'unknown'

type Both<T> = T | 'never' | 'unknown'

/** As long as the match lives: a match meets those of all routes of a listener. */
const compiled = new WeakMap<PathMatch | TextMatch, Regex | undefined>()

/** The conjunction; what is noted for one of them keeps its place in the order. */
export function conjoin(a: RouteMatch, b: RouteMatch): Conjunction {
  const path = either(a.path, b.path, bothPaths)
  const method = either(a.method, b.method, bothTexts)
  const authority = either(a.authority, b.authority, bothAuthorities)
  const headers = bothNamed(a.headers, b.headers)
  const query = bothNamed(a.query, b.query)
  const sourceLabels = { ...a.sourceLabels, ...b.sourceLabels }
  const isTorn = Object.entries(a.sourceLabels).some(([key, value]) => sourceLabels[key] !== value)
  const isFar = a.sourceNamespace !== undefined && b.sourceNamespace !== undefined && a.sourceNamespace !== b.sourceNamespace
  if (isTorn || isFar || path === 'never' || method === 'never' || authority === 'never' || headers === 'never' || query === 'never')
    return 'never'
  if (path === 'unknown' || method === 'unknown' || authority === 'unknown' || headers === 'unknown' || query === 'unknown')
    return 'unknown'
  return { path, method, authority, headers, query, sourceNamespace: a.sourceNamespace ?? b.sourceNamespace, sourceLabels }
}

function either<T>(a: T | undefined, b: T | undefined, both: (a: T, b: T) => Both<T>): Both<T | undefined> {
  return a === undefined ? b : b === undefined ? a : both(a, b)
}

function bothPaths(a: PathMatch, b: PathMatch): Both<PathMatch> {
  if (a.kind === b.kind && a.value === b.value && a.ignoresCase === b.ignoresCase) return a
  // Every path starts with a slash.
  if (isEveryPath(a)) return b
  if (isEveryPath(b)) return a
  if (a.kind === 'exact' && !a.ignoresCase) return pathHolds(b, a.value) ? a : 'never'
  if (b.kind === 'exact' && !b.ignoresCase) return pathHolds(a, b.value) ? b : 'never'
  if (a.kind === 'regex' || b.kind === 'regex' || a.ignoresCase || b.ignoresCase) return 'unknown'
  return narrower(a, b) ?? narrower(b, a) ?? 'never'
}

/** Two prefixes of which `inner` takes nothing that `outer` does not. */
function narrower(outer: PathMatch, inner: PathMatch): PathMatch | undefined {
  if (outer.kind === 'textPrefix') {
    const text = inner.kind === 'prefix' ? trimPrefix(inner.value) : inner.value
    return text.startsWith(outer.value) ? inner : undefined
  }
  const prefix = trimPrefix(outer.value)
  if (inner.kind === 'prefix') return hasElements(trimPrefix(inner.value), prefix) ? inner : undefined
  return inner.value.startsWith(`${prefix}/`) ? inner : undefined
}

function hasElements(path: string, prefix: string): boolean {
  return path === prefix || path.startsWith(`${prefix}/`)
}

function isEveryPath({ kind, value }: PathMatch): boolean {
  return (kind === 'prefix' || kind === 'textPrefix') && (value === '/' || value === '')
}

function pathHolds(match: PathMatch, path: string): boolean {
  const { kind, value, ignoresCase } = match
  if (kind === 'regex') return regexHolds(match, path)
  const [pattern, text] = ignoresCase ? [value.toLowerCase(), path.toLowerCase()] : [value, path]
  if (kind === 'exact') return text === pattern
  return kind === 'textPrefix' ? text.startsWith(pattern) : hasElements(text, trimPrefix(pattern))
}

function bothTexts(a: TextMatch, b: TextMatch): Both<TextMatch> {
  if (a.kind === 'present') return b
  if (b.kind === 'present') return a
  if (a.kind === b.kind && a.value === b.value) return a
  if (a.kind === 'exact') return textHolds(b, a.value) ? a : 'never'
  if (b.kind === 'exact') return textHolds(a, b.value) ? b : 'never'
  if (a.kind === 'regex' || b.kind === 'regex') return 'unknown'
  if (a.value.startsWith(b.value)) return a
  return b.value.startsWith(a.value) ? b : 'never'
}

/** Hosts compare with and without their port: only equal ones are clear. */
function bothAuthorities(a: TextMatch, b: TextMatch): Both<TextMatch> {
  if (a.kind === 'present') return b
  if (b.kind === 'present') return a
  return a.kind === b.kind && a.value.toLowerCase() === b.value.toLowerCase() ? a : 'unknown'
}

function textHolds(match: Exclude<TextMatch, { readonly kind: 'present' }>, text: string): boolean {
  if (match.kind === 'regex') return regexHolds(match, text)
  return match.kind === 'exact' ? text === match.value : text.startsWith(match.value)
}

function regexHolds(match: (PathMatch | TextMatch) & { readonly value: string }, text: string): boolean {
  if (!compiled.has(match)) {
    const regex = compileRegex(match.value)
    compiled.set(match, regex.ok ? regex.value : undefined)
  }
  return compiled.get(match)?.testExact(text) === true
}

/** A name may stand once as it is and once inverted. */
function bothNamed(a: readonly NamedMatch[], b: readonly NamedMatch[]): Both<readonly NamedMatch[]> {
  const list = [...a]
  for (const entry of b) {
    const index = list.findIndex(({ name, isInverted }) => name === entry.name && isInverted === entry.isInverted)
    const known = list[index]
    if (known === undefined) {
      list.push(entry)
      continue
    }
    const match = entry.isInverted ? neither(known.match, entry.match) : bothTexts(known.match, entry.match)
    if (match === 'never' || match === 'unknown') return match
    list[index] = { ...entry, match }
  }
  return list
}

/** Not this and not that. */
function neither(a: TextMatch, b: TextMatch): Both<TextMatch> {
  if (a.kind === 'present') return a
  if (b.kind === 'present') return b
  return a.kind === b.kind && a.value === b.value ? a : 'unknown'
}
