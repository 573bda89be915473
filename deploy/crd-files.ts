// The definitions that the chart brings: which ones, how those of others are marked as brought by us, and the template of ours.
import { stringify } from 'yaml'
import { rateLimitPolicyCrd } from './crd-schema.ts'

/** Definitions of others that the mesh reads objects of; brought where the cluster has none. */
export const BUNDLED_CRDS = [
  'gatewayclasses.gateway.networking.k8s.io',
  'gateways.gateway.networking.k8s.io',
  'httproutes.gateway.networking.k8s.io',
  'grpcroutes.gateway.networking.k8s.io',
  'referencegrants.gateway.networking.k8s.io',
  'authorizationpolicies.security.istio.io',
  'peerauthentications.security.istio.io',
  'virtualservices.networking.istio.io',
  'destinationrules.networking.istio.io',
  'serviceentries.networking.istio.io',
] as const

/** On definitions that this chart made: `weft uninstall` removes those that nothing uses. */
export const BUNDLED_LABEL = 'weft.dev/bundled'

/** @returns the definition with our mark, otherwise as it came */
export function markedCrd<T extends { readonly metadata: { readonly labels?: object } }>(crd: T): T {
  return { ...crd, metadata: { ...crd.metadata, labels: { ...crd.metadata.labels, [BUNDLED_LABEL]: 'true' } } }
}

/** Text of templates/mesh/rate-limit-policy.yaml. */
export function crdTemplate(): string {
  const crd = rateLimitPolicyCrd() as { metadata: object }
  const text = stringify(
    { ...crd, metadata: { ...crd.metadata, annotations: { 'helm.sh/resource-policy': 'keep' }, labels: 'LABELS' } },
    { lineWidth: 0 },
  )
  return text.replace(/^( *)labels: LABELS$/m, '$1labels:\n$1  {{- include "weft.labels" (list . "controlplane") | nindent 4 }}')
}
