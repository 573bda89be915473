// Chooses the endpoint of a service for one connection: the port must exist, locality ranks, then weighted random.
// Pure but for the injected random number. Follows istio/ztunnel:src/state.rs load_balance.
import { isIpv6 } from '../model/address.ts'
import type { IpAddress } from '../model/address.ts'
import { serviceKeyOf } from '../model/service.ts'
import type { LoadBalancing, RoutingScope, Service, ServicePort } from '../model/service.ts'
import type { ServiceKey, Workload, WorkloadEndpoint } from '../model/workload.ts'

/** Addresses of a workload: its own, or those of its name. */
export type AddressesOf = (workload: Workload) => readonly IpAddress[]

const OWN: AddressesOf = (workload) => workload.addresses

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
  addressesOf: AddressesOf = OWN,
): WorkloadEndpoint | undefined {
  const servicePort = service.ports.find((candidate) => candidate.servicePort === port)
  if (servicePort === undefined) return undefined
  const key = serviceKeyOf(service)
  const takesUnhealthy = service.loadBalancing?.allowsUnhealthy === true
  const candidates = endpoints.filter(
    (workload) =>
      (takesUnhealthy || workload.health === 'HEALTHY') &&
      targetOf(workload, key, servicePort) !== 0 &&
      (isNamed(workload)
        ? familyOf(addressesOf(workload), service, source).length > 0
        : workload.addresses.some((ip) => isOfFamily(ip, service))),
  )
  const chosen = weighted(nearest(candidates, service.loadBalancing, source), random)
  if (chosen === undefined) return undefined
  const ip = addressFor(chosen, addressesOf(chosen), service, source, random)
  return ip === undefined ? undefined : { workload: chosen, endpoint: { ip, port: targetOf(chosen, key, servicePort) } }
}

/** Names of endpoints of a service's port that would have to be resolved. */
export function namesBehind(service: Service, endpoints: readonly Workload[], port: number): string[] {
  const servicePort = service.ports.find((candidate) => candidate.servicePort === port)
  if (servicePort === undefined) return []
  const key = serviceKeyOf(service)
  return endpoints.filter((workload) => isNamed(workload) && targetOf(workload, key, servicePort) !== 0).map(({ hostname }) => hostname)
}

/**
 * Every endpoint of a service's port, healthy or not, with the address and port to reach it: for those who choose by themselves.
 * What the service says about nearness has been applied among the healthy ones, if there are any.
 * @param source decides the family of addresses and what is near; undefined = not known yet, everything is near
 */
export function listEndpoints(
  service: Service,
  endpoints: readonly Workload[],
  port: number,
  source: Workload | undefined,
  addressesOf: AddressesOf = OWN,
): WorkloadEndpoint[] {
  const servicePort = service.ports.find((candidate) => candidate.servicePort === port)
  if (servicePort === undefined) return []
  const key = serviceKeyOf(service)
  const usable = endpoints.filter((workload) => targetOf(workload, key, servicePort) !== 0)
  const isHealthy = (workload: Workload): boolean => service.loadBalancing?.allowsUnhealthy === true || workload.health === 'HEALTHY'
  const healthy = usable.filter(isHealthy)
  const near = source === undefined || healthy.length === 0 ? healthy : nearest(healthy, service.loadBalancing, source)
  return [...near, ...usable.filter((workload) => !isHealthy(workload))].flatMap((workload) => {
    const port = targetOf(workload, key, servicePort)
    if (isNamed(workload)) return familyOf(addressesOf(workload), service, source).map((ip) => ({ workload, endpoint: { ip, port } }))
    const ip = addressFor(workload, workload.addresses, service, source)
    return ip === undefined ? [] : [{ workload, endpoint: { ip, port } }]
  })
}

/** The endpoint's own port behind the service's; 0 = it has none. */
function targetOf(workload: Workload, key: ServiceKey, servicePort: ServicePort): number {
  const own = workload.services.get(key)?.find((pair) => pair.servicePort === servicePort.servicePort)?.targetPort
  return own === 0 ? servicePort.targetPort : (own ?? 0)
}

function isOfFamily(ip: IpAddress, service: Service): boolean {
  if (service.ipFamilies === 'IPV4_ONLY') return !isIpv6(ip)
  return service.ipFamilies !== 'IPV6_ONLY' || isIpv6(ip)
}

/** Whether a workload is known by its host name only. */
export function isNamed({ hostname, addresses }: Workload): boolean {
  return hostname !== '' && addresses.length === 0
}

/** An address of a family that the service and the source use; the source's first family is preferred. Those of a name are hosts of their own: any. */
function addressFor(
  workload: Workload,
  addresses: readonly IpAddress[],
  service: Service,
  source: Workload | undefined,
  random?: () => number,
): IpAddress | undefined {
  if (isNamed(workload)) {
    const all = familyOf(addresses, service, source)
    return all[Math.floor((random?.() ?? 0) * all.length)]
  }
  const allowed = addresses.filter((ip) => isOfFamily(ip, service))
  const first = source?.addresses[0]
  return allowed.find((ip) => first === undefined || isIpv6(ip) === isIpv6(first)) ?? allowed[0]
}

/** Addresses that the source can reach, as far as its own families say. */
function familyOf(addresses: readonly IpAddress[], service: Service, source: Workload | undefined): readonly IpAddress[] {
  const own = source?.addresses ?? []
  return addresses.filter((ip) => isOfFamily(ip, service) && (own.length === 0 || own.some((mine) => isIpv6(mine) === isIpv6(ip))))
}

/** STRICT: all scopes must be equal. FAILOVER: those with the longest common run of scopes, from the first on. */
function nearest(candidates: readonly Workload[], balancing: LoadBalancing | undefined, source: Workload): readonly Workload[] {
  const scopes = balancing?.routingPreference ?? []
  if (balancing === undefined || scopes.length === 0) return candidates
  if (balancing.mode === 'STRICT') return candidates.filter((workload) => rank(workload, scopes, source) === scopes.length)
  if (balancing.mode !== 'FAILOVER') return candidates
  const ranks = candidates.map((workload) => rank(workload, scopes, source))
  const best = ranks.reduce((highest, one) => Math.max(highest, one), 0)
  return candidates.filter((_, i) => ranks[i] === best)
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

function weighted(candidates: readonly Workload[], random: () => number): Workload | undefined {
  let total = 0
  for (const { capacity } of candidates) total += capacity
  let left = random() * total
  for (const candidate of candidates) {
    left -= candidate.capacity
    if (left < 0) return candidate
  }
  return undefined // no candidate, or none with weight
}
