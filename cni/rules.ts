// Whether a pod is to be in the mesh: a pure decision over its object and its namespace's, with the reason.
// Follows istio/istio:cni/pkg/util/enablement_selector.go and podutil.go; reference: labels and annotations of Istio.
import type { Namespace, Pod } from '../model/object.ts'

/** Why. `refuse` only when the pod itself asks to be enrolled and cannot be: that is told by an Event. */
export type Decision =
  | { readonly kind: 'enrol'; readonly reason: 'POD_LABEL' | 'NAMESPACE_LABEL'; readonly bypassesInbound: boolean }
  | { readonly kind: 'skip'; readonly reason: 'NOT_LABELLED' | 'OPTED_OUT' | 'RELEASED' | Obstacle }
  | { readonly kind: 'refuse'; readonly reason: Obstacle }

/** What makes it impossible or unwanted, whatever the labels say. */
export type Obstacle = 'HOST_NETWORK' | 'HAS_SIDECAR' | 'EXCLUDED_NAMESPACE'

/** `ambient` enrols, `none` on a pod opts out; other values count as absent, as in Istio. */
export const MODE_LABEL = 'istio.io/dataplane-mode'
/** Set by whoever captured the pod with a sidecar. */
export const SIDECAR_ANNOTATION = 'sidecar.istio.io/status'
/** `true`: only the pod's own connects are captured. */
export const BYPASS_INBOUND_ANNOTATION = 'ambient.istio.io/bypass-inbound-capture'

/**
 * @param namespace undefined = not known (yet): counts as without labels
 * @param excludedNamespaces pods of these are never enrolled
 */
export function decide(pod: Pod, namespace: Namespace | undefined, excludedNamespaces: ReadonlySet<string>): Decision {
  const mode = pod.metadata.labels?.[MODE_LABEL]
  if (mode === 'none') return { kind: 'skip', reason: 'OPTED_OUT' }
  const isNamed = mode === 'ambient'
  if (!isNamed && namespace?.metadata.labels?.[MODE_LABEL] !== 'ambient') return { kind: 'skip', reason: 'NOT_LABELLED' }
  const obstacle = obstacleOf(pod, excludedNamespaces)
  if (obstacle !== undefined) return { kind: isNamed ? 'refuse' : 'skip', reason: obstacle }
  const bypassesInbound = pod.metadata.annotations?.[BYPASS_INBOUND_ANNOTATION] === 'true'
  return { kind: 'enrol', reason: isNamed ? 'POD_LABEL' : 'NAMESPACE_LABEL', bypassesInbound }
}

/** One sentence for people. */
export function explain(decision: Decision): string {
  return SENTENCES[decision.reason]
}

const SENTENCES: Readonly<Record<Decision['reason'], string>> = {
  POD_LABEL: `the pod's label ${MODE_LABEL}=ambient asks for it`,
  NAMESPACE_LABEL: `the namespace's label ${MODE_LABEL}=ambient asks for it`,
  NOT_LABELLED: `neither the pod nor its namespace has the label ${MODE_LABEL}=ambient`,
  OPTED_OUT: `the pod's label ${MODE_LABEL}=none opts out`,
  RELEASED: 'the node or the namespace is released (weft release)',
  HOST_NETWORK: 'the pod uses the network of its node',
  HAS_SIDECAR: `the pod is captured by a sidecar already (annotation ${SIDECAR_ANNOTATION})`,
  EXCLUDED_NAMESPACE: 'pods of this namespace are never enrolled (--exclude-namespaces)',
}

function obstacleOf(pod: Pod, excludedNamespaces: ReadonlySet<string>): Obstacle | undefined {
  if (excludedNamespaces.has(pod.metadata.namespace ?? '')) return 'EXCLUDED_NAMESPACE'
  if (pod.spec?.hostNetwork === true) return 'HOST_NETWORK'
  return pod.metadata.annotations?.[SIDECAR_ANNOTATION] === undefined ? undefined : 'HAS_SIDECAR'
}
