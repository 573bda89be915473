// Matches of VirtualServices -> RouteMatch. A match that cannot be read drops its entry: part of a match would match more.
import type { IstioHttpMatch, IstioStringMatch } from '../../../model/istio-networking.ts'
import type { NamedMatch, PathMatch, RouteMatch, TextMatch } from '../../../model/route.ts'
import { regexFault } from '../gateway/regex.ts'
import type { EntryNotes } from './notes.ts'

/** Every request. */
export const EVERYTHING: RouteMatch = {
  path: undefined,
  method: undefined,
  authority: undefined,
  headers: [],
  query: [],
  sourceNamespace: undefined,
  sourceLabels: {},
}

/** Keys of `headers` that Istio would ignore: such a match would hold for more requests than were meant. */
const NOT_HEADERS: ReadonlySet<string> = new Set(['uri', 'scheme', 'method', 'authority'])
const KNOWN_LABELS: ReadonlySet<string> = new Set(['app', 'version'])
const NAMESPACE = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/

/** Whether a match is about this port and not only about gateways (ingress) of other proxies. */
export function isForPort({ port, gateways }: IstioHttpMatch, listenerPort: number): boolean {
  return (port === undefined || port === listenerPort) && (gateways === undefined || gateways.length === 0 || gateways.includes('mesh'))
}

/** The match without its port, which `isForPort` decides. */
export function routeMatchOf(match: IstioHttpMatch, field: string, notes: EntryNotes): RouteMatch {
  if (match.scheme !== undefined && match.scheme.exact !== 'http') notes.drop(`${field}.scheme`, 'only http comes to a waypoint')
  if (match.statPrefix !== undefined) notes.ignore(`${field}.statPrefix`, 'is not supported')
  for (const label of Object.keys(match.sourceLabels ?? {}))
    if (!KNOWN_LABELS.has(label)) notes.drop(`${field}.sourceLabels`, `label ${label} is not known to proxies: only app and version are`)
  const { sourceNamespace } = match
  if (sourceNamespace !== undefined && sourceNamespace !== '' && !NAMESPACE.test(sourceNamespace))
    notes.drop(`${field}.sourceNamespace`, 'is not the name of a namespace')
  return {
    path: pathOf(match, `${field}.uri`, notes),
    method: match.method === undefined ? undefined : textOf(match.method, `${field}.method`, notes),
    authority: match.authority === undefined ? undefined : textOf(match.authority, `${field}.authority`, notes),
    headers: [
      ...headersOf(match.headers, false, `${field}.headers`, notes),
      ...headersOf(match.withoutHeaders, true, `${field}.withoutHeaders`, notes),
    ],
    query: namedOf(match.queryParams, false, `${field}.queryParams`, notes),
    sourceNamespace: sourceNamespace === '' ? undefined : sourceNamespace,
    sourceLabels: match.sourceLabels ?? {},
  }
}

/** Istio's prefix is one of characters: `/a` also takes `/ab`. A regex says itself how it takes case. */
function pathOf({ uri, ignoreUriCase }: IstioHttpMatch, field: string, notes: EntryNotes): PathMatch | undefined {
  if (uri === undefined) return undefined
  const ignoresCase = ignoreUriCase === true
  if (uri.exact !== undefined) return { kind: 'exact', value: uri.exact, ignoresCase }
  if (uri.prefix !== undefined) return { kind: 'textPrefix', value: uri.prefix, ignoresCase }
  if (uri.regex === undefined) return undefined
  check(uri.regex, field, notes)
  return { kind: 'regex', value: uri.regex, ignoresCase: false }
}

/** `*` as a regex and nothing at all are any value, as in Istio. */
function textOf(match: IstioStringMatch, field: string, notes: EntryNotes): TextMatch {
  if (match.exact !== undefined) return { kind: 'exact', value: match.exact }
  if (match.prefix !== undefined) return match.prefix === '' ? { kind: 'present' } : { kind: 'prefix', value: match.prefix }
  if (match.regex === undefined || match.regex === '*') return { kind: 'present' }
  check(match.regex, field, notes)
  return { kind: 'regex', value: match.regex }
}

function headersOf(matches: IstioHttpMatch['headers'], isInverted: boolean, field: string, notes: EntryNotes): NamedMatch[] {
  const list = namedOf(matches, isInverted, field, notes).map((entry) => ({ ...entry, name: entry.name.toLowerCase() }))
  for (const { name } of list) {
    if (name.startsWith(':') || NOT_HEADERS.has(name)) notes.drop(`${field}.${name}`, 'is no header: use the field of that name')
  }
  return list
}

function namedOf(matches: IstioHttpMatch['headers'], isInverted: boolean, field: string, notes: EntryNotes): NamedMatch[] {
  return Object.entries(matches ?? {}).map(([name, match]) => ({ name, match: textOf(match, `${field}.${name}`, notes), isInverted }))
}

function check(pattern: string, field: string, notes: EntryNotes): void {
  const fault = regexFault(pattern)
  if (fault !== undefined) notes.drop(field, fault)
}
