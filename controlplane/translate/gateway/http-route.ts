// How the rules of an HTTPRoute are read.
import type { HttpRouteRule } from '../../../model/gateway-api.ts'
import { httpRouteSpec } from '../../../objects/schema/gateway-api.ts'
import { httpMatches } from './matches.ts'
import type { RouteReader } from './route.ts'
import { retryOf, timeoutsOf } from './rule-limits.ts'

/** `hostnames` are ignored: in a mesh the service says whose requests they are (GEP-1294). */
export const HTTP_ROUTE: RouteReader<HttpRouteRule> = {
  kind: 'HTTPRoute',
  schema: httpRouteSpec,
  read(rule, notes) {
    const matches = httpMatches(rule.matches, notes)
    const [only] = matches
    const isPrefix = matches.length === 1 && only?.path?.kind === 'prefix'
    return {
      matches,
      timeouts: timeoutsOf(rule.timeouts, notes),
      retry: retryOf(rule.retry, notes),
      prefix: isPrefix ? only.path?.value : undefined,
    }
  },
}
