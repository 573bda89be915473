// Answers of the cluster's name server: services, headless pods, ports and reverse names by Kubernetes' DNS specification
// 1.1.0. Pure: names in, records out. Nothing outside the cluster domain is known.
import type { EndpointSlice, Service, SliceEndpoint } from '../../model/object.ts'
import { SERVICE_NAME_LABEL } from '../../model/object.ts'

/** A record without its class; `data` as dns-packet takes it. */
export type ZoneRecord =
  | { readonly type: 'A' | 'AAAA' | 'CNAME' | 'PTR'; readonly name: string; readonly ttl: number; readonly data: string }
  | {
      readonly type: 'SRV'
      readonly name: string
      readonly ttl: number
      readonly data: { readonly priority: number; readonly weight: number; readonly port: number; readonly target: string }
    }

/** `refused`: not our zone. `missing`: our zone, no such name. `found` may have no records of the asked type. */
export type ZoneAnswer =
  | { readonly is: 'refused' }
  | { readonly is: 'missing' }
  | { readonly is: 'found'; readonly answers: readonly ZoneRecord[]; readonly additionals: readonly ZoneRecord[] }

/** What the zone is made of. */
export interface ZoneSource {
  services(): Iterable<Service>
  service(namespace: string, name: string): Service | undefined
  slices(namespace: string, service: string): readonly EndpointSlice[]
  allSlices(): Iterable<EndpointSlice>
}

const TTL_S = 5
const REVERSE = /^(.+)\.(in-addr|ip6)\.arpa$/

/**
 * @param name any case, with or without the final dot
 * @param type record type in capitals; ANY is treated as A and AAAA
 */
export function resolve(name: string, type: string, domain: string, source: ZoneSource): ZoneAnswer {
  const asked = name.toLowerCase().replace(/\.$/, '')
  if (REVERSE.test(asked)) return reverse(asked, name, domain, source)
  if (asked === domain || asked === `svc.${domain}`) return found([])
  if (!asked.endsWith(`.${domain}`)) return { is: 'refused' }
  const labels = asked.slice(0, -domain.length - 1).split('.')
  const kind = labels.pop()
  const namespace = labels.pop()
  if (namespace === undefined) return { is: 'missing' }
  if (kind === 'pod') return podAnswer(labels, name, type)
  if (kind !== 'svc') return { is: 'missing' }
  const serviceName = labels.pop()
  if (serviceName === undefined) return isNamespaceUsed(source, namespace) ? found([]) : { is: 'missing' }
  const service = source.service(namespace, serviceName)
  if (service === undefined) return { is: 'missing' }
  if (labels.length === 0) return serviceAnswer(service, name, type, source)
  if (labels.length === 2) return srvAnswer(service, labels[0] ?? '', labels[1] ?? '', name, domain, source)
  return labels.length === 1 ? hostAnswer(service, labels[0] ?? '', name, type, source) : { is: 'missing' }
}

function serviceAnswer(service: Service, name: string, type: string, source: ZoneSource): ZoneAnswer {
  const { externalName, type: kind } = service.spec ?? {}
  if (kind === 'ExternalName') return found([{ type: 'CNAME', name, ttl: TTL_S, data: externalName ?? '' }])
  const addresses = isHeadless(service) ? readyEndpoints(service, source).flatMap((one) => one.addresses) : clusterIps(service)
  if (isHeadless(service) && addresses.length === 0) return { is: 'missing' }
  return found(addressRecords(addresses, name, type))
}

function hostAnswer(service: Service, host: string, name: string, type: string, source: ZoneSource): ZoneAnswer {
  if (!isHeadless(service)) return { is: 'missing' }
  const addresses = readyEndpoints(service, source)
    .filter((one) => endpointHost(one) === host)
    .flatMap((one) => one.addresses)
  return addresses.length === 0 ? { is: 'missing' } : found(addressRecords(addresses, name, type))
}

function srvAnswer(service: Service, port: string, protocol: string, name: string, domain: string, source: ZoneSource): ZoneAnswer {
  const matches = (one: { name?: string; protocol?: string }): boolean =>
    `_${one.name?.toLowerCase()}` === port && `_${(one.protocol ?? 'TCP').toLowerCase()}` === protocol
  const own = `${service.metadata.name}.${service.metadata.namespace}.svc.${domain}`
  const answers: ZoneRecord[] = []
  const additionals: ZoneRecord[] = []
  const add = (number: number, target: string, addresses: readonly string[]): void => {
    answers.push({ type: 'SRV', name, ttl: TTL_S, data: { priority: 0, weight: 100, port: number, target } })
    additionals.push(...addressRecords(addresses, target, 'ANY'))
  }
  if (!isHeadless(service)) for (const one of (service.spec?.ports ?? []).filter(matches)) add(one.port, own, clusterIps(service))
  else
    for (const slice of source.slices(service.metadata.namespace ?? '', service.metadata.name))
      for (const one of (slice.ports ?? []).filter(matches))
        for (const endpoint of (slice.endpoints ?? []).filter(isReady))
          add(one.port ?? 0, `${endpointHost(endpoint)}.${own}`, endpoint.addresses)
  return answers.length === 0 ? { is: 'missing' } : found(answers, additionals)
}

/** `10-244-1-7.NAMESPACE.pod.DOMAIN` */
function podAnswer(labels: readonly string[], name: string, type: string): ZoneAnswer {
  const text = labels.length === 1 ? (labels[0] ?? '') : ''
  const four = /^(\d{1,3})-(\d{1,3})-(\d{1,3})-(\d{1,3})$/.exec(text)
  if (four === null || four.slice(1).some((part) => Number(part) > 255)) return { is: 'missing' }
  return found(addressRecords([four.slice(1).map(Number).join('.')], name, type))
}

function reverse(asked: string, name: string, domain: string, source: ZoneSource): ZoneAnswer {
  const ip = addressOfReverse(asked)
  if (ip === undefined || !/^(10\.(96|244)\.|fd00:10:(96|244))/.test(ip)) return { is: 'refused' }
  const record = (target: string): ZoneAnswer => found([{ type: 'PTR', name, ttl: TTL_S, data: target }])
  for (const { metadata, spec } of source.services())
    if (spec?.clusterIPs?.includes(ip) === true) return record(`${metadata.name}.${metadata.namespace}.svc.${domain}`)
  for (const slice of source.allSlices()) {
    const service = slice.metadata.labels?.[SERVICE_NAME_LABEL]
    for (const endpoint of slice.endpoints ?? [])
      if (service !== undefined && endpoint.addresses.includes(ip) && isHeadlessName(source, slice.metadata.namespace ?? '', service))
        return record(`${endpointHost(endpoint)}.${service}.${slice.metadata.namespace}.svc.${domain}`)
  }
  return { is: 'missing' }
}

function addressOfReverse(asked: string): string | undefined {
  const [, digits = '', kind] = REVERSE.exec(asked) ?? []
  const parts = digits.split('.').reverse()
  if (kind === 'in-addr') return parts.length === 4 ? parts.join('.') : undefined
  if (parts.length !== 32 || parts.some((part) => !/^[0-9a-f]$/.test(part))) return undefined
  const groups = Array.from({ length: 8 }, (_, i) => Number.parseInt(parts.slice(i * 4, i * 4 + 4).join(''), 16).toString(16))
  return groups.join(':').replace(/(^|:)0(:0)+(:|$)/, '::')
}

function addressRecords(addresses: readonly string[], name: string, type: string): ZoneRecord[] {
  return addresses
    .map((ip): ZoneRecord => ({ type: ip.includes(':') ? 'AAAA' : 'A', name, ttl: TTL_S, data: ip }))
    .filter((record) => type === 'ANY' || record.type === type)
}

function readyEndpoints(service: Service, source: ZoneSource): SliceEndpoint[] {
  return source
    .slices(service.metadata.namespace ?? '', service.metadata.name)
    .flatMap((slice) => slice.endpoints ?? [])
    .filter(isReady)
}

function isReady(endpoint: SliceEndpoint): boolean {
  return endpoint.conditions?.ready !== false
}

function endpointHost(endpoint: SliceEndpoint): string {
  return endpoint.hostname ?? (endpoint.addresses[0] ?? '').replace(/[.:]+/g, '-')
}

function clusterIps(service: Service): readonly string[] {
  return service.spec?.clusterIPs ?? []
}

function isHeadless(service: Service): boolean {
  return service.spec?.clusterIP === 'None'
}

function isHeadlessName(source: ZoneSource, namespace: string, name: string): boolean {
  const service = source.service(namespace, name)
  return service !== undefined && isHeadless(service)
}

function isNamespaceUsed(source: ZoneSource, namespace: string): boolean {
  for (const service of source.services()) if (service.metadata.namespace === namespace) return true
  return false
}

function found(answers: readonly ZoneRecord[], additionals: readonly ZoneRecord[] = []): ZoneAnswer {
  return { is: 'found', answers, additionals }
}
