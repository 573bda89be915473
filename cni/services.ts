// Services and EndpointSlices to the table of virtual addresses for pods that are not enrolled: what kube-proxy does.
// Follows kubernetes/kubernetes:pkg/proxy/topology.go (ready endpoints, else serving ones that terminate).
import type { VipService } from '../bpf/services.ts'
import { type Endpoint, type IpAddress, isIpv6, parseIp } from '../model/address.ts'
import type { EndpointSlice, Service, ServicePort, SliceEndpoint } from '../model/object.ts'
import { SERVICE_NAME_LABEL } from '../model/object.ts'

/** A service with more endpoints than this is cut: a map is finite. */
export const MAX_BACKENDS = 1024

/**
 * One entry per cluster IP, port and protocol (TCP, UDP), also without endpoints: its connects are refused then.
 * @param node keeps a service with internalTrafficPolicy Local to endpoints of this node
 * @returns sorted, so that equal input gives equal output
 */
export function vipServices(services: Iterable<Service>, slices: Iterable<EndpointSlice>, node: string): VipService[] {
  const byService = new Map<string, EndpointSlice[]>()
  for (const slice of slices) {
    const key = `${slice.metadata.namespace}/${slice.metadata.labels?.[SERVICE_NAME_LABEL]}`
    byService.set(key, [...(byService.get(key) ?? []), slice])
  }
  const table = new Map<string, VipService>()
  for (const service of services) {
    const own = byService.get(`${service.metadata.namespace}/${service.metadata.name}`) ?? []
    for (const entry of entriesOf(service, own, node)) {
      const key = `${entry.vip} ${entry.port} ${entry.protocol}`
      if (!table.has(key)) table.set(key, entry) // two services with one address: the first keeps it
    }
  }
  return [...table].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry)
}

function entriesOf(service: Service, slices: readonly EndpointSlice[], node: string): VipService[] {
  const { spec } = service
  if (spec === undefined || spec.type === 'ExternalName') return []
  const vips = [...new Set([...(spec.clusterIPs ?? []), ...(spec.clusterIP === undefined ? [] : [spec.clusterIP])])].flatMap(
    (text) => parseIp(text) ?? [],
  )
  return vips.flatMap((vip) =>
    (spec.ports ?? []).flatMap((port) => {
      const protocol = port.protocol ?? 'TCP'
      if (protocol === 'SCTP' || !isPort(port.port)) return []
      const localNode = spec.internalTrafficPolicy === 'Local' ? node : undefined
      return [{ vip, port: port.port, protocol, backends: backendsOf(vip, port, protocol, slices, localNode) }]
    }),
  )
}

function backendsOf(
  vip: IpAddress,
  port: ServicePort,
  protocol: 'TCP' | 'UDP',
  slices: readonly EndpointSlice[],
  localNode: string | undefined,
): Endpoint[] {
  const ready = new Map<string, Endpoint>()
  const leaving = new Map<string, Endpoint>()
  for (const slice of slices) {
    if (slice.addressType !== (isIpv6(vip) ? 'IPv6' : 'IPv4')) continue
    const target = (slice.ports ?? []).find(
      (each) => (each.name ?? '') === (port.name ?? '') && (each.protocol ?? 'TCP') === protocol,
    )?.port
    if (target === undefined || !isPort(target)) continue
    for (const endpoint of slice.endpoints ?? []) {
      if (localNode !== undefined && endpoint.nodeName !== localNode) continue
      const to = stateOf(endpoint) === 'ready' ? ready : stateOf(endpoint) === 'leaving' ? leaving : undefined
      for (const text of to === undefined ? [] : endpoint.addresses) {
        const ip = parseIp(text)
        if (ip !== undefined && isIpv6(ip) === isIpv6(vip)) to?.set(`${ip} ${target}`, { ip, port: target })
      }
    }
  }
  const chosen = ready.size > 0 ? ready : leaving
  return [...chosen]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .slice(0, MAX_BACKENDS)
    .map(([, endpoint]) => endpoint)
}

function stateOf({ conditions }: SliceEndpoint): 'ready' | 'leaving' | 'down' {
  if (conditions?.ready !== false) return 'ready' // absent means ready
  return conditions.serving === true && conditions.terminating === true ? 'leaving' : 'down'
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port > 0 && port <= 65_535
}
