// How the rules of a GRPCRoute are read. They have neither timeouts nor retries of their own.
import type { GrpcRouteRule } from '../../../model/gateway-api.ts'
import { grpcRouteSpec } from '../../../objects/schema/gateway-api.ts'
import { grpcMatches } from './matches.ts'
import type { RouteReader } from './route.ts'
import { NO_TIMEOUTS } from './rule-limits.ts'

/** `hostnames` are ignored, as with HTTPRoute. */
export const GRPC_ROUTE: RouteReader<GrpcRouteRule> = {
  kind: 'GRPCRoute',
  schema: grpcRouteSpec,
  read: (rule, notes) => ({ matches: grpcMatches(rule.matches, notes), timeouts: NO_TIMEOUTS, retry: undefined, prefix: undefined }),
}
