// An authorization policy as the proxies evaluate it at L4. Mirrors istio.security.Authorization
// (istio/ztunnel:proto/authorization.proto): rules OR, clauses AND, matches OR; evaluated in policy/l4.ts.
import type { Cidr, IpAddress } from './address.ts'
import type { Identity } from './identity.ts'

/** Which workloads a policy is about: all (root namespace), those of its namespace, or those that name it themselves. */
export type PolicyScope = 'GLOBAL' | 'NAMESPACE' | 'WORKLOAD_SELECTOR'
/** DENY policies are asked first; once an ALLOW policy applies, what none of them allows is denied. */
export type PolicyAction = 'ALLOW' | 'DENY'

/** How a text is compared, case-sensitive; `presence` = any text that is not empty. */
export type StringMatch = { readonly kind: 'exact' | 'prefix' | 'suffix'; readonly value: string } | { readonly kind: 'presence' }

/** One account, both parts exact. */
export interface ServiceAccountMatch {
  readonly namespace: string
  readonly serviceAccount: string
}

/** Different fields AND, values of one field OR, each `not…` list must match none; all fields empty = skipped. */
export interface PolicyMatch {
  readonly namespaces: readonly StringMatch[]
  readonly notNamespaces: readonly StringMatch[]
  readonly principals: readonly StringMatch[]
  readonly notPrincipals: readonly StringMatch[]
  readonly sourceIps: readonly Cidr[]
  readonly notSourceIps: readonly Cidr[]
  readonly destinationIps: readonly Cidr[]
  readonly notDestinationIps: readonly Cidr[]
  readonly destinationPorts: readonly number[]
  readonly notDestinationPorts: readonly number[]
  readonly serviceAccounts: readonly ServiceAccountMatch[]
  readonly notServiceAccounts: readonly ServiceAccountMatch[]
}

/** One policy as it arrives by xDS: some rule must hold for its action to apply. */
export interface Authorization {
  readonly name: string
  readonly namespace: string
  readonly scope: PolicyScope
  readonly action: PolicyAction
  /** rules[clauses[matches]] */
  readonly rules: readonly (readonly (readonly PolicyMatch[])[])[]
  readonly isDryRun: boolean
}

/** What a decision looks at: the verified source identity (undefined = plaintext) and the real addresses. */
export interface PolicyConnection {
  readonly source: Identity | undefined
  /** The destination's own waypoint, verified, when the connection came through it and it named `source`. */
  readonly via?: Identity | undefined
  readonly sourceIp: IpAddress
  readonly destinationIp: IpAddress
  /** Real target port, after HBONE decoding. */
  readonly destinationPort: number
}

/** A decision and why: the policy that decided, or that ALLOW policies exist and none matched. */
export type PolicyVerdict =
  | { readonly isAllowed: true; readonly by: string | undefined }
  | { readonly isAllowed: false; readonly reason: 'DENIED_BY' | 'NOT_ALLOWED'; readonly by: string | undefined }

/** A match with every list empty, to be spread and filled. */
export const EMPTY_MATCH: PolicyMatch = Object.freeze({
  namespaces: [],
  notNamespaces: [],
  principals: [],
  notPrincipals: [],
  sourceIps: [],
  notSourceIps: [],
  destinationIps: [],
  notDestinationIps: [],
  destinationPorts: [],
  notDestinationPorts: [],
  serviceAccounts: [],
  notServiceAccounts: [],
})
