// VirtualServices -> the services whose requests they are about. One in the service's own namespace, or in the mesh's root
// namespace, speaks for all callers; one of another namespace, where it is exported to the service's, only for callers from
// there: else anybody could take anybody's requests.
import type { Listener } from '../../../model/route.ts'
import type { ServiceKey } from '../../../model/workload.ts'
import type { Claim } from './compose.ts'
import { EXACT_RANK, hostCovers, hostRank, isExportedTo } from './hosts.ts'
import type { ParsedVirtualService } from './virtual-service.ts'

/** A service behind a waypoint. */
export interface BoundService {
  readonly namespace: string
  readonly hostname: string
  readonly listeners: readonly Listener[]
}

/** Services behind waypoints, by key. */
export function boundServices(listeners: Iterable<Listener>): Map<ServiceKey, BoundService> {
  const lists = new Map<ServiceKey, Listener[]>()
  for (const listener of listeners) {
    const list = lists.get(listener.service)
    if (list === undefined) lists.set(listener.service, [listener])
    else list.push(listener)
  }
  const services = new Map<ServiceKey, BoundService>()
  for (const [key, list] of lists) {
    const slash = key.indexOf('/')
    services.set(key, { namespace: key.slice(0, slash), hostname: key.slice(slash + 1), listeners: list })
  }
  return services
}

/** Finds what has a host. */
export class HostIndex<T extends { readonly hosts: readonly string[] }> {
  readonly #exact = new Map<string, T[]>()
  readonly #wild: T[] = []

  constructor(items: Iterable<T>) {
    for (const item of items) {
      if (item.hosts.some((host) => host.startsWith('*'))) this.#wild.push(item)
      for (const host of item.hosts) {
        const list = this.#exact.get(host)
        if (list === undefined) this.#exact.set(host, [item])
        else list.push(item)
      }
    }
  }

  /** Each item with the narrowest of its hosts that stands for the name. */
  find(hostname: string): { readonly item: T; readonly rank: number }[] {
    const items = new Set([
      ...(this.#exact.get(hostname) ?? []),
      ...this.#wild.filter(({ hosts }) => hosts.some((host) => hostCovers(host, hostname))),
    ])
    return [...items].map((item) => ({
      item,
      rank: Math.max(...item.hosts.filter((host) => hostCovers(host, hostname)).map(hostRank)),
    }))
  }
}

/** Claims on a service, in order of precedence: own namespace, root namespace, narrower hosts, older objects, names. */
export function claimsOn(
  { namespace, hostname }: Pick<BoundService, 'namespace' | 'hostname'>,
  index: HostIndex<ParsedVirtualService>,
  rootNamespace: string,
): Claim[] {
  return index
    .find(hostname)
    .filter(({ item, rank }) => mayClaim(item, rank, namespace, rootNamespace))
    .sort((a, b) => compare(a, b, namespace))
    .map(({ item }) => ({
      parsed: item,
      callers: item.namespace === namespace || item.namespace === rootNamespace ? undefined : item.namespace,
    }))
}

/**
 * Whether a VirtualService may take requests to a service of a namespace. Those of other namespaces must name the service: a
 * wildcard of one tenant would cost every service of the mesh a table.
 */
export function mayClaim({ namespace, spec }: ParsedVirtualService, rank: number, service: string, rootNamespace: string): boolean {
  if (namespace === service) return true
  return isExportedTo(spec.exportTo, namespace, service) && (namespace === rootNamespace || rank === EXACT_RANK)
}

/** Order of precedence of two objects that name one host. */
export function compare(a: Ranked, b: Ranked, namespace: string): number {
  const isOwn = Number(b.item.namespace === namespace) - Number(a.item.namespace === namespace)
  if (isOwn !== 0) return isOwn
  if (a.rank !== b.rank) return b.rank - a.rank
  const [left, right] = [keyOf(a), keyOf(b)]
  return left < right ? -1 : left > right ? 1 : 0
}

interface Ranked {
  readonly item: { readonly namespace: string; readonly name: string; readonly createdAt: string }
  readonly rank: number
}

/** An object without a time is newest. */
function keyOf({ item }: Ranked): string {
  return `${item.createdAt === '' ? '~' : item.createdAt} ${item.namespace}/${item.name}`
}
