// Answers the names of the mesh for one pod: a pure function from a query and the mesh's description to an answer, or the
// word that somebody else must be asked. Follows istio/ztunnel:src/dns/server.rs.
import type { Answer, Question } from 'dns-packet'
import { isIpv6 } from '../../model/address.ts'
import type { Cidr, IpAddress } from '../../model/address.ts'
import { serviceKeyOf } from '../../model/service.ts'
import type { Service } from '../../model/service.ts'
import type { Workload } from '../../model/workload.ts'
import { prefer } from '../../state/vip-index.ts'

/** What of the mesh is asked. */
export interface DnsView {
  servicesWithHost(hostname: string): readonly Service[]
  endpointsOf(serviceKey: string): readonly Workload[]
}

/** Constants of one mesh, and the shuffle's randomness. */
export interface DnsOptions {
  /** e.g. `cluster.local` */
  readonly clusterDomain: string
  /** Uniform in [0, 1). */
  readonly random: () => number
}

/** `answer` = these records (none: the name exists, not in this family); `forward` = not a name of the mesh. */
export type Resolution = { readonly kind: 'answer'; readonly answers: readonly Answer[] } | { readonly kind: 'forward' }

const TTL_S = 30 // as ztunnel: short enough for a service that moves
const FORWARD: Resolution = { kind: 'forward' }

/**
 * Resolves one question.
 * @param client the pod that asks; its namespace completes short names and wins among equal hosts
 */
export function resolve(question: Question, client: Workload, view: DnsView, options: DnsOptions): Resolution {
  if ((question.type !== 'A' && question.type !== 'AAAA') || (question.class ?? 'IN') !== 'IN') return FORWARD
  const asked = question.name.toLowerCase().replace(/\.$/, '')
  for (const candidate of candidates(asked, client.namespace, options.clusterDomain)) {
    const service = find(candidate.host, client, view)
    if (service === undefined) continue
    // The host is real, and only its own name servers know where it is.
    if (isElsewhere(service, view)) return FORWARD
    const ips = addresses(service, client, view).filter((ip) => isIpv6(ip) === (question.type === 'AAAA'))
    const name = candidate.isStripped ? candidate.host : question.name
    const records = shuffled(ips, options.random).map((data): Answer => ({ type: question.type as 'A' | 'AAAA', name, ttl: TTL_S, data }))
    const alias: Answer[] = candidate.isStripped ? [{ type: 'CNAME', name: question.name, ttl: TTL_S, data: candidate.host }] : []
    return { kind: 'answer', answers: [...alias, ...records] }
  }
  return FORWARD
}

interface Candidate {
  readonly host: string
  /** A search domain was cut off: the answer must say so by a CNAME, else the client's resolver does not believe it. */
  readonly isStripped: boolean
}

/** The hosts that a name may mean, in the order in which they are tried. */
function candidates(asked: string, namespace: string, domain: string): Candidate[] {
  const found: Candidate[] = [{ host: asked, isStripped: false }]
  const dots = asked.split('.').length - 1
  if (dots === 0) found.push({ host: `${asked}.${namespace}.svc.${domain}`, isStripped: false })
  else if (dots === 1) found.push({ host: `${asked}.svc.${domain}`, isStripped: false })
  else if (dots === 2 && asked.endsWith('.svc')) found.push({ host: `${asked}.${domain}`, isStripped: false })
  for (const search of [`.${namespace}.svc.${domain}`, `.svc.${domain}`, `.${domain}`]) {
    if (asked.endsWith(search) && asked.length > search.length) found.push({ host: asked.slice(0, -search.length), isStripped: true })
  }
  return found
}

function find(host: string, client: Workload, view: DnsView): Service | undefined {
  const exact = prefer(view.servicesWithHost(host), client.namespace)
  if (exact !== undefined) return exact
  // `*.example.com` covers any number of labels in front, the longest pattern first.
  for (let dot = host.indexOf('.'); dot >= 0; dot = host.indexOf('.', dot + 1)) {
    const wildcard = prefer(view.servicesWithHost(`*${host.slice(dot)}`), client.namespace)
    if (wildcard !== undefined) return wildcard
  }
  return undefined
}

/** Whether a service has no address that clients could be given: connections go where the host's own name leads. */
function isElsewhere(service: Service, view: DnsView): boolean {
  if (service.vips.some(({ cidr }) => isAddress(cidr))) return false
  if (service.loadBalancing?.mode === 'PASSTHROUGH') return true
  return view.endpointsOf(serviceKeyOf(service)).some(({ hostname, addresses: own }) => hostname !== '' && own.length === 0)
}

/** The service's addresses on the client's network; those of its endpoints when it has none (headless). */
function addresses(service: Service, client: Workload, view: DnsView): IpAddress[] {
  if (service.vips.length > 0) {
    // A block is no address that a connection could be opened to.
    return service.vips.filter(({ network, cidr }) => network === client.network && isAddress(cidr)).map((vip) => vip.cidr.ip)
  }
  const isUsable = (workload: Workload): boolean => workload.health === 'HEALTHY' || service.loadBalancing?.allowsUnhealthy === true
  return view
    .endpointsOf(serviceKeyOf(service))
    .filter((workload) => workload.network === client.network && isUsable(workload))
    .flatMap((workload) => workload.addresses)
}

function isAddress(cidr: Cidr): boolean {
  return cidr.prefix === (isIpv6(cidr.ip) ? 128 : 32)
}

function shuffled<T>(list: readonly T[], random: () => number): T[] {
  const out = [...list]
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1))
    const [a, b] = [out[i], out[j]]
    if (a !== undefined && b !== undefined) [out[i], out[j]] = [b, a]
  }
  return out
}
