// Redirects and rewrites of VirtualServices -> filters. What they make of a path depends on how it was matched.
import type { IstioHttpRoute, IstioRedirect } from '../../../model/istio-networking.ts'
import type { PathRewrite, RouteFilter, RouteMatch } from '../../../model/route.ts'
import { problemOfFilters } from '../../../policy/http/usable.ts'
import type { EntryNotes } from './notes.ts'

const DEFAULT_REDIRECT = 301
const PREFIX = '%PREFIX()%'
const DEFAULT_PORTS: Readonly<Record<string, number>> = { http: 80, https: 443 }

/** The redirect of an entry. */
export function redirectFilter(redirect: IstioRedirect, match: RouteMatch, notes: EntryNotes): RouteFilter {
  const { scheme, authority, port, derivePort, redirectCode, uriRegexRewrite } = redirect
  if (scheme !== undefined && scheme !== '' && DEFAULT_PORTS[scheme] === undefined) notes.break('redirect.scheme', 'must be http or https')
  if (uriRegexRewrite !== undefined && redirect.uri !== undefined) notes.break('redirect', 'only one of uri and uriRegexRewrite')
  const byProtocol = derivePort === 'FROM_PROTOCOL_DEFAULT' ? DEFAULT_PORTS[scheme ?? 'http'] : undefined
  const filter: RouteFilter = {
    kind: 'redirect',
    scheme: scheme === 'http' || scheme === 'https' ? scheme : undefined,
    hostname: authority === '' ? undefined : authority,
    port: port ?? byProtocol,
    path: redirectPath(redirect, match),
    status: redirectCode === undefined || redirectCode === 0 ? DEFAULT_REDIRECT : redirectCode,
  }
  return usable(filter, 'redirect', notes)
}

/** The rewrite of an entry; undefined = it has none. */
export function rewriteFilter({ rewrite }: IstioHttpRoute, match: RouteMatch, notes: EntryNotes): RouteFilter | undefined {
  if (rewrite === undefined) return undefined
  const { uri, authority, uriRegexRewrite } = rewrite
  if (uri !== undefined && uri !== '' && uriRegexRewrite !== undefined) notes.break('rewrite', 'only one of uri and uriRegexRewrite')
  const path = uriRegexRewrite === undefined ? replaced(uri, match) : byRegex(uriRegexRewrite)
  const filter: RouteFilter = { kind: 'rewrite', hostname: authority === '' ? undefined : authority, path }
  return usable(filter, 'rewrite', notes)
}

/** A prefix gives way, anything else that was matched is the whole path. */
function replaced(uri: string | undefined, { path }: RouteMatch): PathRewrite | undefined {
  if (uri === undefined || uri === '') return undefined
  if (path === undefined) return { kind: 'prefix', prefix: '/', value: uri }
  return path.kind === 'textPrefix' ? { kind: 'prefix', prefix: path.value, value: uri } : { kind: 'full', value: uri }
}

/** Redirects replace the whole path, unless they name the prefix. */
function redirectPath({ uri, uriRegexRewrite }: IstioRedirect, { path }: RouteMatch): PathRewrite | undefined {
  if (uriRegexRewrite !== undefined) return byRegex(uriRegexRewrite)
  if (uri === undefined || uri === '') return undefined
  if (uri.startsWith(PREFIX) && path?.kind === 'textPrefix') return { kind: 'prefix', prefix: path.value, value: uri.slice(PREFIX.length) }
  return { kind: 'full', value: uri }
}

function byRegex({ match = '', rewrite = '' }: NonNullable<IstioRedirect['uriRegexRewrite']>): PathRewrite {
  return { kind: 'regex', pattern: match, substitution: rewrite }
}

function usable(filter: RouteFilter, field: string, notes: EntryNotes): RouteFilter {
  const problem = problemOfFilters([filter])
  if (problem !== undefined) notes.break(field, problem)
  return filter
}
