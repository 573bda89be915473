// Which hosts an entry may have: none that somebody else's Service answers to. Clients' short names are completed by their resolver
// (`cart`, `cart.shop`, `cart.shop.svc`), so a host of that form would take the traffic of every namespace. Stricter than Istio.

/** What hosts are judged by. */
export interface HostRules {
  /** e.g. `cluster.local` */
  readonly clusterDomain: string
  readonly hasNamespace: (name: string) => boolean
}

/** @returns why an entry of a namespace cannot have this host; undefined = it can */
export function problemOfHost(host: string, namespace: string, { clusterDomain, hasNamespace }: HostRules): string | undefined {
  const isWild = host.startsWith('*.')
  const bare = isWild ? host.slice(2) : host
  const labels = bare.split('.')
  if (!host.includes('.')) return 'a name without a dot would stand for a Service of every namespace'
  for (const suffix of [`svc.${clusterDomain}`, 'svc']) {
    if (bare !== suffix && !bare.endsWith(`.${suffix}`)) continue
    const place = bare
      .slice(0, Math.max(0, bare.length - suffix.length - 1))
      .split('.')
      .at(-1)
    return place === namespace && bare !== `${namespace}.${suffix}`
      ? undefined
      : `names of ${suffix} belong to the Services of their namespaces`
  }
  if (bare === clusterDomain || bare.endsWith(`.${clusterDomain}`) || clusterDomain.endsWith(`.${bare}`))
    return `names of ${clusterDomain} belong to the cluster`
  const last = labels.at(-1) ?? ''
  if (labels.length === (isWild ? 1 : 2) && last !== namespace && hasNamespace(last))
    return `it would stand for Services of namespace ${last}`
  return undefined
}
