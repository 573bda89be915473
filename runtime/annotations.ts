// Labels and annotations of the mesh that the runtime reads or writes.

/** By it the agent says that a pod is captured: `enabled` or `pending`. */
export const REDIRECTION_ANNOTATION = 'ambient.istio.io/redirection'
