// Who a workload is: the three parts of an Istio-shaped SPIFFE ID. Parsing by the standard's rules is in certs/spiffe.ts.
import type { Brand } from './address.ts'

/** `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT`, checked. */
export type SpiffeId = Brand<string, 'SpiffeId'>

/** The parts of a workload's SPIFFE ID. */
export interface Identity {
  readonly trustDomain: string
  readonly namespace: string
  readonly serviceAccount: string
}

/** @returns the ID of an identity whose parts are valid already (Kubernetes names, a checked trust domain). */
export function spiffeIdOf(identity: Identity): SpiffeId {
  return `spiffe://${identity.trustDomain}/ns/${identity.namespace}/sa/${identity.serviceAccount}` as SpiffeId
}
