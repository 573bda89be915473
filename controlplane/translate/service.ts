// Service -> mesh Service. Follows istio/istio:pilot/pkg/serviceregistry/ambient/services.go.
import { parseIp } from '../../model/address.ts'
import type { Namespace, Service as KubeService, ServicePort as KubePort } from '../../model/object.ts'
import type { AppProtocol, IpFamilies, LoadBalancing, RoutingScope, Service, ServiceVip } from '../../model/service.ts'
import type { GatewayAddress } from '../../model/workload.ts'
import { hostnameOf, type MeshNames, namespaceOf, type Note } from './mesh.ts'

/** Annotation of Services, ServiceEntries and namespaces. */
export const TRAFFIC_DISTRIBUTION = 'networking.istio.io/traffic-distribution'

/** Whether a service is modelled at all: names of other places are left to DNS. */
export function isModelled(service: KubeService): boolean {
  return service.spec?.type !== 'ExternalName'
}

/** The ports that the mesh carries. */
export function tcpPorts(service: KubeService): readonly KubePort[] {
  return (service.spec?.ports ?? []).filter(({ protocol }) => protocol === undefined || protocol === 'TCP')
}

/** @param waypoint what waypointOf says of it */
export function serviceToModel(
  service: KubeService,
  namespace: Namespace | undefined,
  waypoint: GatewayAddress | undefined,
  names: MeshNames,
  note: Note,
): Service {
  const { metadata, spec } = service
  return {
    name: metadata.name,
    namespace: namespaceOf(service),
    hostname: hostnameOf(names, namespaceOf(service), metadata.name),
    vips: vipsOf(service, names, note),
    ports: tcpPorts(service).map((port) => ({
      servicePort: port.port,
      // 0 = named: each endpoint says its own.
      targetPort: typeof port.targetPort === 'string' ? numberIn(port.targetPort) : (port.targetPort ?? port.port),
      appProtocol: appProtocolOf(port),
    })),
    subjectAltNames: [],
    waypoint,
    loadBalancing: loadBalancingOf(service, namespace, note),
    ipFamilies: familiesOf(spec?.ipFamilies),
    isCanonical: true,
    isPrivate: false,
  }
}

function vipsOf(service: KubeService, names: MeshNames, note: Note): ServiceVip[] {
  const { clusterIPs, clusterIP } = service.spec ?? {}
  const texts = clusterIPs?.length ? clusterIPs : [clusterIP ?? '']
  const vips: ServiceVip[] = []
  for (const text of texts) {
    if (text === '' || text === 'None') continue
    const ip = parseIp(text)
    if (ip === undefined) note('spec.clusterIPs', `${JSON.stringify(text)} is not an address`)
    else vips.push({ network: names.network, cidr: { ip, prefix: ip.includes(':') ? 128 : 32 } })
  }
  return vips
}

function numberIn(text: string): number {
  return /^\d{1,5}$/.test(text) && Number(text) <= 65535 ? Number(text) : 0
}

const BY_NAME: Readonly<Record<string, AppProtocol>> = {
  http: 'HTTP11',
  http2: 'HTTP2',
  grpc: 'GRPC',
  'grpc-web': 'GRPC',
  https: 'TLS',
  tls: 'TLS',
  tcp: 'TCP',
  'kubernetes.io/h2c': 'HTTP2',
  'kubernetes.io/ws': 'HTTP11',
}

/** What a port says that it carries: by its appProtocol, else by its name. */
export function appProtocolOf({ appProtocol, name }: Pick<KubePort, 'appProtocol' | 'name'>): AppProtocol {
  const text = (appProtocol ?? (name === 'grpc-web' ? name : name?.split('-')[0]) ?? '').toLowerCase()
  return (Object.hasOwn(BY_NAME, text) ? BY_NAME[text] : undefined) ?? 'UNKNOWN'
}

const PREFERENCES: Readonly<Record<string, readonly RoutingScope[]>> = {
  PreferClose: ['NETWORK', 'REGION', 'ZONE'],
  PreferSameZone: ['NETWORK', 'REGION', 'ZONE'],
  PreferSameNode: ['NETWORK', 'REGION', 'ZONE', 'SUBZONE', 'NODE'],
}

function loadBalancingOf(service: KubeService, namespace: Namespace | undefined, note: Note): LoadBalancing | undefined {
  const { spec, metadata } = service
  const allowsUnhealthy = spec?.publishNotReadyAddresses === true
  if (spec?.internalTrafficPolicy === 'Local') return { routingPreference: ['NODE'], mode: 'STRICT', allowsUnhealthy }
  const wanted = metadata.annotations?.[TRAFFIC_DISTRIBUTION] ?? spec?.trafficDistribution
  return preferenceOf(wanted, namespace, allowsUnhealthy, note)
}

/** What an object or its namespace prefers. @param own the object's word, PreferClose and so on */
export function preferenceOf(
  own: string | undefined,
  namespace: Namespace | undefined,
  allowsUnhealthy: boolean,
  note: Note,
): LoadBalancing | undefined {
  const wanted = own ?? namespace?.metadata.annotations?.[TRAFFIC_DISTRIBUTION]
  const routingPreference = wanted !== undefined && Object.hasOwn(PREFERENCES, wanted) ? PREFERENCES[wanted] : undefined
  if (routingPreference !== undefined) return { routingPreference, mode: 'FAILOVER', allowsUnhealthy }
  if (wanted !== undefined && wanted !== 'Any') note('spec.trafficDistribution', `${JSON.stringify(wanted)} is not known; taken as absent`)
  return allowsUnhealthy ? { routingPreference: [], mode: 'UNSPECIFIED', allowsUnhealthy } : undefined
}

function familiesOf(families: readonly string[] | undefined): IpFamilies {
  if (families === undefined || families.length === 0) return 'AUTOMATIC'
  if (families.length > 1) return 'DUAL'
  return families[0] === 'IPv6' ? 'IPV6_ONLY' : 'IPV4_ONLY'
}
