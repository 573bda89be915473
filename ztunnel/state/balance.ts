// Chooses the endpoint of a service for one connection: the port must exist, locality ranks, then weighted random.
// Pure but for the injected random number. Follows istio/ztunnel:src/state.rs load_balance.
import { isIpv6 } from '../../model/address.ts'
import type { IpAddress } from '../../model/address.ts'
import { serviceKeyOf } from '../../model/service.ts'
import type { LoadBalancing, RoutingScope, Service } from '../../model/service.ts'
import type { Workload, WorkloadEndpoint } from '../../model/workload.ts'

/**
 * @param endpoints every workload that backs the service
 * @param port the service's port that was dialled
 * @param random uniform in [0, 1)
 * @returns an endpoint with its own port, or undefined when none is left (no such port, none healthy, none near enough)
 */
export function chooseEndpoint(
  service: Service,
  endpoints: readonly Workload[],
  port: number,
  source: Workload,
  random: () => number,
): WorkloadEndpoint | undefined {
  const servicePort = service.ports.find((candidate) => candidate.servicePort === port)
  if (servicePort === undefined) return undefined
  const key = serviceKeyOf(service)
  const candidates: { workload: Workload; port: number }[] = []
  for (const workload of endpoints) {
    if (workload.health === 'UNHEALTHY' && service.loadBalancing?.allowsUnhealthy !== true) continue
    const own = workload.services.get(key)?.find((pair) => pair.servicePort === port)?.targetPort
    const target = own === undefined || own === 0 ? servicePort.targetPort : own
    const hasPort = own !== undefined && target !== 0
    if (hasPort && addressFor(workload, service, source) !== undefined) candidates.push({ workload, port: target })
  }
  const chosen = weighted(nearest(candidates, service.loadBalancing, source), random)
  const ip = chosen === undefined ? undefined : addressFor(chosen.workload, service, source)
  return chosen === undefined || ip === undefined ? undefined : { workload: chosen.workload, endpoint: { ip, port: chosen.port } }
}

/** An address of a family that the service and the source use; the source's first family is preferred. */
function addressFor(workload: Workload, service: Service, source: Workload): IpAddress | undefined {
  const allowed = workload.addresses.filter((ip) =>
    service.ipFamilies === 'IPV4_ONLY' ? !isIpv6(ip) : service.ipFamilies === 'IPV6_ONLY' ? isIpv6(ip) : true,
  )
  const [first] = source.addresses
  return allowed.find((ip) => first === undefined || isIpv6(ip) === isIpv6(first)) ?? allowed[0]
}

/** STRICT: all scopes must be equal. FAILOVER: those with the longest common run of scopes, from the first on. */
function nearest<T extends { workload: Workload }>(candidates: T[], balancing: LoadBalancing | undefined, source: Workload): T[] {
  const scopes = balancing?.routingPreference ?? []
  if (balancing === undefined || scopes.length === 0) return candidates
  if (balancing.mode === 'STRICT') return candidates.filter(({ workload }) => rank(workload, scopes, source) === scopes.length)
  if (balancing.mode !== 'FAILOVER') return candidates
  const ranked = candidates.map((candidate) => ({ candidate, rank: rank(candidate.workload, scopes, source) }))
  const best = ranked.reduce((highest, entry) => Math.max(highest, entry.rank), 0)
  return ranked.filter((entry) => entry.rank === best).map((entry) => entry.candidate)
}

function rank(workload: Workload, scopes: readonly RoutingScope[], source: Workload): number {
  const differs = scopes.findIndex((scope) => scopeOf(workload, scope) !== scopeOf(source, scope))
  return differs < 0 ? scopes.length : differs
}

function scopeOf(workload: Workload, scope: RoutingScope): string {
  switch (scope) {
    case 'REGION':
      return workload.locality.region
    case 'ZONE':
      return workload.locality.zone
    case 'SUBZONE':
      return workload.locality.subzone
    case 'NODE':
      return workload.node
    case 'CLUSTER':
      return workload.clusterId
    case 'NETWORK':
      return workload.network
  }
}

function weighted<T extends { workload: Workload }>(candidates: readonly T[], random: () => number): T | undefined {
  let left = random() * candidates.reduce((sum, { workload }) => sum + workload.capacity, 0)
  for (const candidate of candidates) {
    left -= candidate.workload.capacity
    if (left < 0) return candidate
  }
  return undefined
}
