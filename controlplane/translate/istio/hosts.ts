// Host names in Istio's objects: short names, wildcards, and which namespaces see an object (`exportTo`).
import { hostnameOf, type MeshNames } from '../mesh.ts'

/** A name without dots is a service of the object's own namespace; all others are taken as they are. Lower case. */
export function fullHost(host: string, namespace: string, names: MeshNames): string {
  const lower = host.toLowerCase()
  return lower === '*' || lower.includes('.') ? lower : hostnameOf(names, namespace, lower)
}

/** Whether a full host, perhaps with `*` for its first parts, stands for a host name. */
export function hostCovers(pattern: string, hostname: string): boolean {
  if (pattern === '*') return true
  return pattern.startsWith('*.') ? hostname.length >= pattern.length && hostname.endsWith(pattern.slice(1)) : pattern === hostname
}

/** Rank of a host without a wildcard. */
export const EXACT_RANK = Number.MAX_SAFE_INTEGER

/** How narrow a full host is: names above wildcards, longer wildcards above shorter ones. */
export function hostRank(pattern: string): number {
  return pattern.startsWith('*') ? pattern.length : EXACT_RANK
}

/** Whether an object of namespace `own` is seen in `namespace`; without a list it is seen everywhere. */
export function isExportedTo(exportTo: readonly string[] | undefined, own: string, namespace: string): boolean {
  if (exportTo === undefined || exportTo.length === 0) return true
  return exportTo.some((entry) => entry === '*' || entry === namespace || (entry === '.' && own === namespace))
}
