// The backends that requests lead to: for each service port (and subset) a balancer over its endpoints and the connections to
// them. Made when first used, brought up to date when the configuration changes. Called by exchange/ and tcp.ts.
import type { Clock } from '../kit/clock.ts'
import { formatEndpoint } from '../model/address.ts'
import type { Endpoint, IpAddress } from '../model/address.ts'
import { DEFAULT_TRAFFIC_POLICY } from '../model/backend.ts'
import type { TrafficPolicy } from '../model/backend.ts'
import type { BackendRef } from '../model/route.ts'
import { serviceKeyOf } from '../model/service.ts'
import type { AppProtocol, Service } from '../model/service.ts'
import { OUTSIDER, type Locality, type ServiceKey, type Workload } from '../model/workload.ts'
import { isNamed, listEndpoints, namesBehind } from '../state/balance.ts'
import type { Names } from '../state/names.ts'
import { Cluster } from './balance/cluster.ts'
import type { BalancedEndpoint } from './balance/endpoint.ts'
import type { Configuration } from './config.ts'
import type { Target } from './decide.ts'
import { UpstreamPool } from './upstream.ts'
import type { UpstreamPoolOptions } from './upstream.ts'

/** One backend as it is treated now. After a change of its policy another value takes its place; requests keep theirs. */
export interface BackendCluster {
  /** As Istio names the clusters of waypoints: `inbound-vip|PORT|http[/SUBSET]|HOST`. */
  readonly name: string
  readonly ref: BackendRef
  readonly service: Service | undefined
  /** Host of the service, when it is the service that is called; undefined = one pod, by its address. */
  readonly host: string | undefined
  readonly appProtocol: AppProtocol
  readonly policy: TrafficPolicy
  readonly balancer: Cluster
  readonly pool: UpstreamPool
  /** TCP connections that are carried now; kept by tcp.ts. */
  readonly tcp: { open: number }
}

/** What clusters are made with. */
export interface ClustersOptions {
  readonly config: Configuration
  readonly network: string
  /** This pod's own address: who is near. */
  readonly ip: IpAddress
  readonly clock: Clock
  readonly random: () => number
  readonly pool: Pick<UpstreamPoolOptions, 'connect' | 'idleTimeoutMs'>
  /** Undefined = endpoints that have a name only are never found. */
  readonly names?: Names
}

interface Entry {
  cluster: BackendCluster
  /** The configuration has changed since. */
  isStale: boolean
  /** Of endpoints that have a name only; undefined = none has. */
  readonly hostnames: readonly string[] | undefined
  /** Of each of them, as it was when the endpoints were listed. */
  readonly addresses: readonly (readonly IpAddress[] | undefined)[]
}

interface Direct {
  readonly cluster: BackendCluster
  readonly workload: Workload
}

/** Pods that are reached by their own address; beyond, the one used first makes room. */
const MOST_DIRECT = 1000
const NOTHING: readonly never[] = []
const NOWHERE: Locality = { region: '', zone: '', subzone: '' }

/** All backends of a waypoint. */
export class Clusters {
  readonly #options: ClustersOptions
  readonly #entries = new Map<ServiceKey, Map<string, Entry>>()
  /** By `ip:port`; an entry holds for the description of the workload that it was made for. */
  readonly #direct = new Map<string, Direct>()
  readonly #retired = new Set<UpstreamPool>()

  constructor(options: ClustersOptions) {
    this.#options = options
    options.config.onChange((services) => this.#changed(services))
  }

  /** @returns undefined when there is no such subset */
  get(ref: BackendRef): BackendCluster | undefined {
    const key = `${ref.port}|${ref.subset ?? ''}`
    const entry = this.#entries.get(ref.service)?.get(key)
    if (entry?.hostnames !== undefined) this.#keepFresh(entry, entry.hostnames)
    if (entry !== undefined && !entry.isStale) return entry.cluster
    return this.#refresh(ref, key, entry)
  }

  /**
   * The backend that is the address that was dialled, when the client asked for a service whose endpoints are just that (PASSTHROUGH)
   * and is to be led to it. @returns undefined for every other backend
   */
  dialled(target: Target, ref: BackendRef): BackendCluster | undefined {
    if (target.kind !== 'service' || target.to === undefined || target.service.loadBalancing?.mode !== 'PASSTHROUGH') return undefined
    if (ref.service !== serviceKeyOf(target.service) || ref.port !== target.port || ref.subset !== undefined) return undefined
    const policy = this.#options.config.treatmentOf(ref)?.policy ?? DEFAULT_TRAFFIC_POLICY
    const key = formatEndpoint(target.to)
    const known = this.#direct.get(key)
    if (known !== undefined && known.cluster.service === target.service && known.cluster.policy === policy) return known.cluster
    const workload = outsider(target.service, target.to.ip, this.#options.network)
    const cluster = this.#make(nameOf(ref, target.service), ref, target.service, policy, undefined)
    cluster.balancer.update([balanced(workload, target.to, true)])
    this.#putDirect(key, { cluster, workload })
    return cluster
  }

  /** Resolves when the names of a port's endpoints have been looked up, if they have to be. @returns undefined when there is nothing to wait for */
  resolving({ service: key, port }: BackendRef): Promise<void> | undefined {
    const { config, names } = this.#options
    const slash = key.indexOf('/')
    const service = names === undefined ? undefined : config.mesh.serviceByHost(key.slice(0, slash), key.slice(slash + 1))
    if (service === undefined || names === undefined) return undefined
    const unknown = namesBehind(service, config.mesh.endpointsOf(key), port).filter((hostname) => names.isUnknown(hostname))
    return unknown.length === 0 ? undefined : names.resolve(unknown)
  }

  /** The backend that is one pod, for traffic by its address; `service` only tells what the port speaks. */
  direct(workload: Workload, to: Endpoint, service: Service | undefined): BackendCluster {
    const key = formatEndpoint(to)
    const known = this.#direct.get(key)
    if (known?.workload === workload) return known.cluster
    const port = service?.ports.find(({ targetPort }) => targetPort === to.port)
    const name = `inbound-vip|${to.port}|http|${to.ip}`
    const ref = { service: service === undefined ? name : serviceKeyOf(service), port: port?.servicePort ?? to.port, subset: undefined }
    const cluster = { ...this.#make(name, ref, service, DEFAULT_TRAFFIC_POLICY, workload), host: undefined }
    cluster.balancer.update([balanced(workload, to, true)])
    this.#putDirect(key, { cluster, workload })
    return cluster
  }

  #putDirect(key: string, entry: Direct): void {
    const known = this.#direct.get(key)
    this.#direct.delete(key)
    if (known !== undefined) this.#retire(known.cluster)
    const [oldest] = this.#direct
    if (this.#direct.size >= MOST_DIRECT && oldest !== undefined) {
      this.#direct.delete(oldest[0])
      this.#retire(oldest[1].cluster)
    }
    this.#direct.set(key, entry)
  }

  /** Every cluster that is in use, for dumps. */
  list(): BackendCluster[] {
    const ofServices = [...this.#entries.values()].flatMap((entries) => [...entries.values()])
    return [...ofServices, ...this.#direct.values()].map(({ cluster }) => cluster)
  }

  /** Ends all connections to endpoints. */
  close(): void {
    for (const { pool } of this.list()) pool.close()
    for (const pool of this.#retired) pool.close()
  }

  readonly #addressesOf = (workload: Workload): readonly IpAddress[] =>
    isNamed(workload) ? (this.#options.names?.addresses(workload.hostname) ?? []) : workload.addresses

  /** What is used is looked up again when it has expired; others now, the endpoints are listed anew. */
  #keepFresh(entry: Entry, hostnames: readonly string[]): void {
    for (let i = 0; i < hostnames.length; i++)
      if (this.#options.names?.addresses(hostnames[i] ?? '') !== entry.addresses[i]) entry.isStale = true
  }

  #known(hostnames: readonly string[] | undefined): readonly (readonly IpAddress[] | undefined)[] {
    return hostnames?.map((hostname) => this.#options.names?.addresses(hostname)) ?? NOTHING
  }

  #changed(services: ReadonlySet<ServiceKey>): void {
    for (const service of services) for (const entry of this.#entries.get(service)?.values() ?? []) entry.isStale = true
  }

  #refresh(ref: BackendRef, key: string, entry: Entry | undefined): BackendCluster | undefined {
    const { config, network, ip } = this.#options
    const treatment = config.treatmentOf(ref)
    const slash = ref.service.indexOf('/')
    const service = config.mesh.serviceByHost(ref.service.slice(0, slash), ref.service.slice(slash + 1))
    if (treatment === undefined || service === undefined) {
      this.#drop(ref.service, key, entry)
      return undefined
    }
    const own = config.mesh.workloadByAddress(network, ip)
    const isSame = entry !== undefined && entry.cluster.policy === treatment.policy && entry.cluster.service === service
    const cluster = isSame ? entry.cluster : this.#make(nameOf(ref, service), ref, service, treatment.policy, own)
    const endpoints = config.mesh.endpointsOf(ref.service)
    const found = listEndpoints(service, endpoints, ref.port, own, this.#addressesOf)
    const wanted = found.filter(({ workload }) => workload.network === network && treatment.workloads?.has(workload.uid) !== false)
    const takesUnhealthy = service.loadBalancing?.allowsUnhealthy === true
    cluster.balancer.update(wanted.map(({ workload, endpoint }) => balanced(workload, endpoint, takesUnhealthy)))
    if (!isSame && entry !== undefined) this.#retire(entry.cluster)
    const hostnames = endpoints.filter(isNamed).map(({ hostname }) => hostname)
    this.#put(ref.service, key, cluster, hostnames.length === 0 ? undefined : hostnames)
    return cluster
  }

  #make(name: string, ref: BackendRef, service: Service | undefined, policy: TrafficPolicy, own: Workload | undefined): BackendCluster {
    const { clock, random, pool } = this.#options
    const balancer = new Cluster({ policy, local: own?.locality ?? NOWHERE, clock, random })
    return {
      name,
      ref,
      service,
      host: service?.hostname,
      appProtocol: service?.ports.find(({ servicePort }) => servicePort === ref.port)?.appProtocol ?? 'UNKNOWN',
      policy,
      balancer,
      tcp: { open: 0 },
      pool: new UpstreamPool({ ...pool, clock, limits: policy.limits, takePending: () => balancer.takePending() }),
    }
  }

  #put(service: ServiceKey, key: string, cluster: BackendCluster, hostnames: readonly string[] | undefined): void {
    let entries = this.#entries.get(service)
    if (entries === undefined) {
      entries = new Map()
      this.#entries.set(service, entries)
    }
    entries.set(key, { cluster, isStale: false, hostnames, addresses: this.#known(hostnames) })
  }

  #drop(service: ServiceKey, key: string, entry: Entry | undefined): void {
    const entries = this.#entries.get(service)
    entries?.delete(key)
    if (entries?.size === 0) this.#entries.delete(service)
    if (entry !== undefined) this.#retire(entry.cluster)
  }

  /** Requests under way end on the connections that they have. */
  #retire({ pool, balancer }: BackendCluster): void {
    this.#retired.add(pool)
    pool.retire(() => {
      this.#retired.delete(pool)
      balancer[Symbol.dispose]()
    })
  }
}

function nameOf({ port, subset }: BackendRef, { hostname }: Service): string {
  return `inbound-vip|${port}|http${subset === undefined ? '' : `/${subset}`}|${hostname}`
}

function balanced(workload: Workload, to: BalancedEndpoint['to'], takesUnhealthy: boolean): BalancedEndpoint {
  return {
    // Each address of a name is an endpoint of its own.
    uid: isNamed(workload) ? `${workload.uid}#${to.ip}` : workload.uid,
    to,
    workload,
    weight: workload.capacity,
    isReady: !workload.isPending && (takesUnhealthy || workload.health === 'HEALTHY'),
    isTerminating: false,
  }
}

/** A host that nothing describes but the service that has its address. */
function outsider({ namespace, name }: Service, ip: IpAddress, network: string): Workload {
  return {
    ...OUTSIDER,
    uid: `passthrough/${namespace}/${name}/${ip}`,
    name,
    namespace,
    addresses: [ip],
    hostname: '',
    network,
    trustDomain: '',
    serviceAccount: '',
    node: '',
    canonicalName: name,
    canonicalRevision: 'latest',
    workloadName: name,
    health: 'HEALTHY',
    clusterId: '',
    locality: NOWHERE,
    capacity: 1,
    services: new Map(),
  }
}
