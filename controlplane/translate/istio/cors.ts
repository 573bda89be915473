// CORS of a VirtualService's entry. An origin that cannot be compared is left out: fewer are allowed, never more.
import type { IstioCorsPolicy, IstioStringMatch } from '../../../model/istio-networking.ts'
import type { RouteFilter } from '../../../model/route.ts'
import { problemOfFilters } from '../../../policy/http/usable.ts'
import { goDurationMs } from './duration.ts'
import type { EntryNotes } from './notes.ts'

/** The filter of a CORS policy. */
export function corsFilter(cors: IstioCorsPolicy, notes: EntryNotes): RouteFilter {
  const { allowOrigin = [], allowOrigins = [], allowMethods = [], allowHeaders = [], exposeHeaders = [], maxAge } = cors
  if (cors.unmatchedPreflights === 'FORWARD')
    notes.ignore('corsPolicy.unmatchedPreflights', 'is not supported: such preflights are answered without CORS headers')
  const given = [...allowOrigin.map((exact) => ({ exact })), ...allowOrigins]
  const filter: RouteFilter = {
    kind: 'cors',
    policy: {
      allowOrigins: given.flatMap((match, i) => originOf(match, `corsPolicy.allowOrigins[${i}]`, notes) ?? []),
      allowMethods,
      allowHeaders,
      exposeHeaders,
      allowCredentials: cors.allowCredentials === true,
      maxAgeSeconds: maxAge === undefined ? 0 : Math.floor(goDurationMs(maxAge) / 1000),
    },
  }
  const problem = problemOfFilters([filter])
  if (problem !== undefined) notes.break('corsPolicy', problem)
  return filter
}

/** `*` in an origin stands for any characters of a host: only a prefix with a scheme can be written so. */
function originOf({ exact, prefix, regex }: IstioStringMatch, field: string, notes: EntryNotes): string | undefined {
  if (exact !== undefined && (exact === '*' || !exact.includes('*'))) return exact
  if (regex === '.*' || regex === '*' || prefix === '') return '*'
  if (prefix !== undefined && /^[a-z][a-z0-9+.-]*:\/\/[^*/]*$/i.test(prefix)) return `${prefix}*`
  notes.ignore(field, 'this kind of match is not supported for origins: it is not allowed')
  return undefined
}
