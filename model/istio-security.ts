// Istio's security objects as users write them: AuthorizationPolicy and PeerAuthentication, the fields that the mesh reads.
// Translated by controlplane/translate/ into model/policy.ts.
import type { Condition, MeshObject, StringMap } from './object.ts'

/** Source part of one rule; every list is an OR, lists are joined by AND, `not…` lists by AND NOT. */
export interface AuthorizationSource {
  readonly principals?: readonly string[]
  readonly notPrincipals?: readonly string[]
  readonly requestPrincipals?: readonly string[]
  readonly notRequestPrincipals?: readonly string[]
  readonly namespaces?: readonly string[]
  readonly notNamespaces?: readonly string[]
  readonly serviceAccounts?: readonly string[]
  readonly notServiceAccounts?: readonly string[]
  readonly ipBlocks?: readonly string[]
  readonly notIpBlocks?: readonly string[]
  readonly remoteIpBlocks?: readonly string[]
  readonly notRemoteIpBlocks?: readonly string[]
}

export interface AuthorizationOperation {
  readonly hosts?: readonly string[]
  readonly notHosts?: readonly string[]
  readonly ports?: readonly string[]
  readonly notPorts?: readonly string[]
  readonly methods?: readonly string[]
  readonly notMethods?: readonly string[]
  readonly paths?: readonly string[]
  readonly notPaths?: readonly string[]
}

export interface AuthorizationRule {
  readonly from?: readonly { readonly source: AuthorizationSource }[]
  readonly to?: readonly { readonly operation: AuthorizationOperation }[]
  readonly when?: readonly { readonly key: string; readonly values?: readonly string[]; readonly notValues?: readonly string[] }[]
}

/** Named by group, kind and name; for waypoints and services. */
export interface PolicyTargetReference {
  readonly group?: string
  readonly kind: string
  readonly name: string
  readonly namespace?: string
}

export interface AuthorizationPolicySpec {
  readonly selector?: { readonly matchLabels?: StringMap }
  readonly targetRef?: PolicyTargetReference
  readonly targetRefs?: readonly PolicyTargetReference[]
  readonly action?: 'ALLOW' | 'DENY' | 'AUDIT' | 'CUSTOM'
  readonly rules?: readonly AuthorizationRule[]
}
export type AuthorizationPolicy = MeshObject<AuthorizationPolicySpec, { readonly conditions?: readonly Condition[] }>

export type MutualTlsMode = 'UNSET' | 'DISABLE' | 'PERMISSIVE' | 'STRICT'

export interface PeerAuthenticationSpec {
  readonly selector?: { readonly matchLabels?: StringMap }
  readonly mtls?: { readonly mode?: MutualTlsMode }
  /** Key: the workload's port as text. */
  readonly portLevelMtls?: Readonly<Record<string, { readonly mode?: MutualTlsMode }>>
}
export type PeerAuthentication = MeshObject<PeerAuthenticationSpec, { readonly conditions?: readonly Condition[] }>
