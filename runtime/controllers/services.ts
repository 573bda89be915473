// Services: cluster addresses (IPv4, and IPv6 where asked for) and EndpointSlices with ready, serving and terminating.
import { cidrContains, parseCidr, parseIp } from '../../model/address.ts'
import type { EndpointSlice, Pod, Service, ServicePort, ServiceSpec, SliceEndpoint } from '../../model/object.ts'
import { SERVICE_NAME_LABEL, selectorMatches } from '../../model/object.ts'
import { SERVICE_CIDR } from '../layout.ts'
import type { ObjectStore } from '../store.ts'
import { isReady } from './deployments.ts'

type Family = 'IPv4' | 'IPv6'

const MANAGED_BY_LABEL = 'endpointslice.kubernetes.io/managed-by'
const MANAGED_BY = 'weft-runtime'
const FIRST_HOST = 256 // below it lie addresses that services ask for, such as cluster DNS
const LAST_HOST = 65_000

/** Gives cluster addresses to services that have none. */
export function clusterIps(store: ObjectStore): void {
  const services = store.list('services') as Service[]
  const used = new Set(services.flatMap((service) => service.spec?.clusterIPs ?? [service.spec?.clusterIP ?? '']))
  for (const service of services) {
    const spec = service.spec ?? {}
    if (spec.type === 'ExternalName' || spec.clusterIPs !== undefined) continue
    const next = assign(spec, used)
    for (const ip of next.clusterIPs ?? []) used.add(ip)
    store.put({ ...service, spec: next })
  }
}

/** Keeps the slices of every service with a selector; removes those of services that are gone or have none. */
export function endpointSlices(store: ObjectStore): void {
  const pods = store.list('pods') as Pod[]
  const wanted = new Map<string, EndpointSlice>()
  for (const service of store.list('services') as Service[])
    for (const slice of slicesOf(service, pods)) wanted.set(`${slice.metadata.namespace}/${slice.metadata.name}`, slice)
  for (const slice of store.list('endpointslices')) {
    if (slice.metadata.labels?.[MANAGED_BY_LABEL] !== MANAGED_BY) continue
    const key = `${slice.metadata.namespace}/${slice.metadata.name}`
    const next = wanted.get(key)
    wanted.delete(key)
    if (next === undefined) store.delete('endpointslices', slice.metadata.namespace, slice.metadata.name, 0)
    else store.put({ ...next, metadata: { ...slice.metadata, ...next.metadata } })
  }
  for (const slice of wanted.values()) store.put(slice)
}

/** Slices of one service: one per address family and set of port numbers (a named target port may differ by pod). Pure. */
export function slicesOf(service: Service, pods: readonly Pod[]): EndpointSlice[] {
  const { spec, metadata } = service
  if (spec?.selector === undefined || Object.keys(spec.selector).length === 0 || spec.type === 'ExternalName') return []
  const own = pods.filter(
    (pod) => pod.metadata.namespace === metadata.namespace && selectorMatches({ matchLabels: spec.selector ?? {} }, pod.metadata.labels),
  )
  const slices: EndpointSlice[] = []
  for (const family of spec.ipFamilies ?? (['IPv4'] as const)) {
    const groups = new Map<string, { ports: NonNullable<EndpointSlice['ports']>; endpoints: SliceEndpoint[] }>()
    groups.set(JSON.stringify(portsOf(spec, undefined)), { ports: portsOf(spec, undefined), endpoints: [] })
    for (const pod of own) {
      const endpoint = endpointOf(service, pod, family)
      if (endpoint === undefined) continue
      const ports = portsOf(spec, pod)
      const key = JSON.stringify(ports)
      const group = groups.get(key) ?? { ports, endpoints: [] }
      group.endpoints.push(endpoint)
      groups.set(key, group)
    }
    const filled = [...groups.values()].filter((group) => group.endpoints.length > 0)
    for (const [index, group] of (filled.length > 0 ? filled : [...groups.values()].slice(0, 1)).entries())
      slices.push(sliceObject(service, family, index, group))
  }
  return slices
}

function sliceObject(
  { metadata }: Service,
  family: Family,
  index: number,
  group: { ports: NonNullable<EndpointSlice['ports']>; endpoints: SliceEndpoint[] },
): EndpointSlice {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${metadata.name}-${family.toLowerCase()}${index === 0 ? '' : `-${index}`}`,
      namespace: metadata.namespace ?? 'default',
      labels: { [SERVICE_NAME_LABEL]: metadata.name, [MANAGED_BY_LABEL]: MANAGED_BY },
      ownerReferences: [{ apiVersion: 'v1', kind: 'Service', name: metadata.name, uid: metadata.uid ?? '', controller: true }],
    },
    addressType: family,
    endpoints: group.endpoints,
    ports: group.ports,
  }
}

function endpointOf(service: Service, pod: Pod, family: Family): SliceEndpoint | undefined {
  const address = (pod.status?.podIPs ?? []).map(({ ip }) => ip).find((ip) => ip.includes(':') === (family === 'IPv6'))
  if (address === undefined || pod.status?.phase === 'Failed' || pod.status?.phase === 'Succeeded') return undefined
  const isTerminating = pod.metadata.deletionTimestamp !== undefined
  const serving = isReady(pod) || service.spec?.publishNotReadyAddresses === true
  const { name, namespace, uid } = pod.metadata
  const hostname = pod.spec?.subdomain === service.metadata.name ? pod.spec.hostname : undefined
  return {
    addresses: [address],
    conditions: { ready: serving && !isTerminating, serving, terminating: isTerminating },
    ...(hostname === undefined ? {} : { hostname }),
    ...(pod.spec?.nodeName === undefined ? {} : { nodeName: pod.spec.nodeName }),
    targetRef: { kind: 'Pod', name, ...(namespace === undefined ? {} : { namespace }), ...(uid === undefined ? {} : { uid }) },
  }
}

function portsOf(spec: ServiceSpec, pod: Pod | undefined): NonNullable<EndpointSlice['ports']> {
  return (spec.ports ?? []).flatMap((port) => {
    const number = targetPort(port, pod)
    if (number === undefined) return []
    const { name, protocol = 'TCP', appProtocol } = port
    return [{ ...(name === undefined ? {} : { name }), port: number, protocol, ...(appProtocol === undefined ? {} : { appProtocol }) }]
  })
}

function targetPort(port: ServicePort, pod: Pod | undefined): number | undefined {
  const target = port.targetPort ?? port.port
  if (typeof target === 'number') return target
  for (const container of pod?.spec?.containers ?? [])
    for (const one of container.ports ?? [])
      if (one.name === target && (one.protocol ?? 'TCP') === (port.protocol ?? 'TCP')) return one.containerPort
  return undefined
}

/** Fills clusterIP, clusterIPs and ipFamilies. An address that was asked for and is taken or outside the range is replaced. */
function assign(spec: ServiceSpec, used: ReadonlySet<string>): ServiceSpec {
  const families = familiesOf(spec)
  if (spec.clusterIP === 'None') return { ...spec, clusterIPs: ['None'], ipFamilies: families }
  const clusterIPs = families.map((family) => {
    const asked = spec.clusterIP !== undefined && spec.clusterIP.includes(':') === (family === 'IPv6') ? spec.clusterIP : undefined
    if (asked !== undefined && isServiceAddress(asked)) return asked
    return freeAddress(family, used)
  })
  return { ...spec, clusterIP: clusterIPs[0] ?? '', clusterIPs, ipFamilies: families }
}

function familiesOf(spec: ServiceSpec): readonly Family[] {
  if (spec.ipFamilyPolicy === 'PreferDualStack' || spec.ipFamilyPolicy === 'RequireDualStack') {
    const first = spec.ipFamilies?.[0] ?? 'IPv4'
    return [first, first === 'IPv4' ? 'IPv6' : 'IPv4']
  }
  if (spec.ipFamilies !== undefined && spec.ipFamilies.length > 0) return spec.ipFamilies.slice(0, 1)
  return [spec.clusterIP?.includes(':') === true ? 'IPv6' : 'IPv4']
}

function isServiceAddress(text: string): boolean {
  const ip = parseIp(text)
  return (
    ip !== undefined &&
    [SERVICE_CIDR.v4, SERVICE_CIDR.v6].some((block) => {
      const cidr = parseCidr(block)
      return cidr !== undefined && cidrContains(cidr, ip)
    })
  )
}

function freeAddress(family: Family, used: ReadonlySet<string>): string {
  for (let host = FIRST_HOST; host < LAST_HOST; host++) {
    const ip = family === 'IPv4' ? `10.96.${host >> 8}.${host & 255}` : `fd00:10:96::${host.toString(16)}`
    if ((host & 255) !== 0 && (host & 255) !== 255 && !used.has(ip)) return ip
  }
  throw new RangeError('every service address is in use')
}
