// One ServiceEntry by itself: what it says, and what of it the mesh cannot do. Nothing is left out in silence. Semantics follow
// istio/istio:pilot/pkg/serviceregistry/ambient/services.go and workloads.go, stricter where an entry could take others' traffic.
import { type Cidr, type IpAddress, isReachable, parseCidr, parseIp } from '../../../model/address.ts'
import type { StringMap } from '../../../model/object.ts'
import type { EntryEndpoint, EntryPort, EntryResolution, ServiceEntry, ServiceEntrySpec } from '../../../model/service-entry.ts'
import { serviceEntrySpec } from '../../../objects/schema/service-entry.ts'
import { readSpec } from '../istio/read-spec.ts'
import { type MeshNames, namespaceOf } from '../mesh.ts'

/** Label by which an entry without addresses says that it wants none. */
export const ALLOCATE_LABEL = 'networking.istio.io/enable-autoallocate-ip'

/** An endpoint: an address, or a name that proxies resolve. */
export interface ParsedEndpoint extends Omit<EntryEndpoint, 'address'> {
  readonly address: string
  readonly ip: IpAddress | undefined
  /** Lower case, without the final dot. */
  readonly hostname: string
}

/** An entry that was read. */
export interface ParsedEntry {
  readonly namespace: string
  readonly name: string
  readonly createdAt: string
  /** Why nothing of it is in force. */
  readonly problem: { readonly reason: 'Invalid' | 'UnsupportedValue'; readonly message: string } | undefined
  /** Lower case. */
  readonly hosts: readonly string[]
  readonly addresses: readonly Cidr[]
  /** Those of TCP. */
  readonly ports: readonly EntryPort[]
  readonly resolution: EntryResolution
  /** Written ones; `isImplicit` = each host is its own endpoint. */
  readonly endpoints: readonly ParsedEndpoint[]
  readonly isImplicit: boolean
  /** Labels of the pods behind it; undefined = no pods are. */
  readonly selector: StringMap | undefined
  /** Seen by its own namespace only. */
  readonly isPrivate: boolean
  /** Seen by nobody. */
  readonly isHidden: boolean
  /** Hosts get addresses when there are none. */
  readonly allocates: boolean
  readonly subjectAltNames: readonly string[]
  /** Fields that are not in force, `path: why`. */
  readonly ignored: readonly string[]
}

/** Pure; never throws. */
export function parseEntry(object: ServiceEntry, names: MeshNames): ParsedEntry {
  const { name, creationTimestamp, labels } = object.metadata
  const namespace = namespaceOf(object)
  const head = { namespace, name, createdAt: typeof creationTimestamp === 'string' ? creationTimestamp : '' }
  const spec = readSpec<ServiceEntrySpec>(serviceEntrySpec, object)
  if ('problem' in spec) return { ...head, ...NOTHING, problem: { reason: 'Invalid', message: spec.problem } }
  const { resolution = 'NONE' } = spec
  if (resolution === 'DYNAMIC_DNS') return { ...head, ...NOTHING, problem: { reason: 'UnsupportedValue', message: DYNAMIC } }
  const ignored: string[] = []
  const addresses = addressesOf(spec, ignored)
  const endpoints = endpointsOf(spec, names, ignored)
  const isByName = resolution === 'DNS' || resolution === 'DNS_ROUND_ROBIN'
  const subjectAltNames = (spec.subjectAltNames ?? []).filter((text) => text.startsWith('spiffe://'))
  if (subjectAltNames.length < (spec.subjectAltNames ?? []).length)
    ignored.push('spec.subjectAltNames: only SPIFFE IDs are checked, of endpoints that take HBONE')
  return {
    ...head,
    problem: undefined,
    hosts: spec.hosts.map((host) => host.toLowerCase()),
    addresses,
    ports: portsOf(spec, ignored),
    resolution,
    endpoints,
    isImplicit: isByName && (spec.endpoints ?? []).length === 0,
    selector: spec.workloadSelector === undefined ? undefined : (spec.workloadSelector.labels ?? {}),
    ...visibilityOf(spec, namespace, ignored),
    allocates: resolution !== 'NONE' && addresses.length === 0 && labels?.[ALLOCATE_LABEL] !== 'false',
    subjectAltNames,
    ignored,
  }
}

const DYNAMIC = 'spec.resolution: DYNAMIC_DNS is not supported: name each host, with resolution DNS'
const NOTHING = {
  hosts: [],
  addresses: [],
  ports: [],
  resolution: 'NONE',
  endpoints: [],
  isImplicit: false,
  selector: undefined,
  isPrivate: false,
  isHidden: false,
  allocates: false,
  subjectAltNames: [],
  ignored: [],
} as const

function addressesOf({ addresses = [] }: ServiceEntrySpec, ignored: string[]): Cidr[] {
  return addresses.flatMap((text, i) => {
    const block = parseCidr(text)
    if (block !== undefined && block.prefix > 0 && isReachable(block.ip)) return [block]
    ignored.push(`spec.addresses[${i}]: ${text} cannot be an address of a service`)
    return []
  })
}

function portsOf({ ports = [] }: ServiceEntrySpec, ignored: string[]): EntryPort[] {
  return ports.filter(({ protocol }, i) => {
    const isTcp = protocol?.toUpperCase() !== 'UDP'
    if (!isTcp) ignored.push(`spec.ports[${i}]: UDP does not go through the mesh`)
    return isTcp
  })
}

/** What names no other host is left out: a waypoint would dial itself, or what only its node may reach. */
function endpointsOf({ endpoints = [] }: ServiceEntrySpec, names: MeshNames, ignored: string[]): ParsedEndpoint[] {
  return endpoints.flatMap((endpoint, i) => {
    const path = `spec.endpoints[${i}]`
    const ip = parseIp(endpoint.address)
    const hostname = ip === undefined ? endpoint.address.toLowerCase().replace(/\.$/, '') : ''
    const isOther = endpoint.network !== undefined && endpoint.network !== '' && endpoint.network !== names.network
    if (ip !== undefined && !isReachable(ip)) {
      ignored.push(`${path}.address: ${endpoint.address} is no address that others can reach`)
      return []
    }
    if (hostname === 'localhost' || hostname.endsWith('.localhost')) {
      ignored.push(`${path}.address: ${endpoint.address} is no host that others can reach`)
      return []
    }
    if (isOther) ignored.push(`${path}.network: ${endpoint.network} is another network: connections to it are refused`)
    return [{ ...endpoint, ip, hostname }]
  })
}

/** Proxies know "everybody" and "its own namespace"; a list of others is kept narrow. */
function visibilityOf({ exportTo = [] }: ServiceEntrySpec, own: string, ignored: string[]): Pick<ParsedEntry, 'isPrivate' | 'isHidden'> {
  if (exportTo.length === 0 || exportTo.includes('*')) return { isPrivate: false, isHidden: false }
  const others = exportTo.filter((entry) => entry !== '.' && entry !== own && entry !== '~')
  const isOwn = exportTo.some((entry) => entry === '.' || entry === own)
  if (others.length > 0)
    ignored.push(`spec.exportTo: proxies cannot tell ${others.slice(0, 3).join(', ')} from the rest: only ${own} sees it`)
  return { isPrivate: true, isHidden: !isOwn && others.length === 0 }
}
