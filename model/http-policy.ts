// Authorization policies that name a service or a waypoint (targetRefs): evaluated by the waypoint for every request, with what HTTP says.
// Made by controlplane/translate/, carried inside weft.gateway.v1.Listener, evaluated in policy/http/judge.ts.
import type { PolicyAction, PolicyMatch, StringMatch } from './policy.ts'

/** Values of one header; its name in lower case. */
export interface HeaderCondition {
  readonly name: string
  readonly values: readonly StringMatch[]
  readonly notValues: readonly StringMatch[]
}

/** Different fields AND, values of one field OR, each `not…` list must match none. */
export interface HttpPolicyMatch {
  /** What of the connection must hold; the port is the service's. */
  readonly connection: PolicyMatch
  /** Lower case; a value without a port stands for every port. */
  readonly hosts: readonly StringMatch[]
  readonly notHosts: readonly StringMatch[]
  readonly methods: readonly StringMatch[]
  readonly notMethods: readonly StringMatch[]
  /** Of the normalised path, without the query. */
  readonly paths: readonly StringMatch[]
  readonly notPaths: readonly StringMatch[]
  readonly headers: readonly HeaderCondition[]
}

/** One policy; rules OR, clauses AND, matches OR. */
export interface HttpPolicy {
  /** `namespace/name` */
  readonly name: string
  readonly action: PolicyAction
  readonly rules: readonly (readonly (readonly HttpPolicyMatch[])[])[]
  /** It names the waypoint: it also judges what is sent to pods' addresses. */
  readonly isGatewayWide: boolean
}
