// Paths of the API server: which group, version and plural a kind has there.

/** One kind as this API server serves it. */
export interface Resource {
  /** `v1`, `apps/v1`. */
  readonly groupVersion: string
  readonly plural: string
  readonly kind: string
  readonly isNamespaced: boolean
}

/** What a path leads to. */
export interface PathParts {
  readonly namespace?: string | undefined
  readonly name?: string
  readonly subresource?: string
  readonly query?: Readonly<Record<string, string | undefined>>
}

/** @param parts.namespace absent = all namespaces, or none for cluster-scoped kinds */
export function pathOf({ groupVersion, plural }: Pick<Resource, 'groupVersion' | 'plural'>, parts: PathParts = {}): string {
  const { namespace, name, subresource, query = {} } = parts
  const segments = [groupVersion.includes('/') ? `/apis/${groupVersion}` : `/api/${groupVersion}`]
  if (namespace !== undefined) segments.push('namespaces', encodeURIComponent(namespace))
  segments.push(plural)
  if (name !== undefined) segments.push(encodeURIComponent(name))
  if (subresource !== undefined) segments.push(subresource)
  const pairs = Object.entries(query).flatMap(([key, value]) => (value === undefined ? [] : [`${key}=${encodeURIComponent(value)}`]))
  return segments.join('/') + (pairs.length === 0 ? '' : `?${pairs.join('&')}`)
}

/** As rights name it: `pods`, `gateways.gateway.networking.k8s.io`. */
export function rightNameOf({ groupVersion, plural }: Pick<Resource, 'groupVersion' | 'plural'>, subresource?: string): string {
  const group = groupVersion.includes('/') ? `.${groupVersion.split('/')[0]}` : ''
  return `${plural}${group}${subresource === undefined ? '' : `/${subresource}`}`
}
