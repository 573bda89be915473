// Memory: most texts of a workload are those of thousands of others (namespace, node, account, services). Each is kept once;
// a description that came over the wire or from another thread brings its own copies. Used by store.ts only.
import type { Locality, PortPair, ServiceKey, Workload } from '../model/workload.ts'

/** Entries per pool; a full pool is emptied, which costs sharing and nothing else. */
const POOL_LIMIT = 100_000
const NO_NAMES: readonly string[] = []
const NO_SERVICES: Workload['services'] = new Map()

/** Pools of equal values. */
export class Sharing {
  readonly #texts = new Map<string, string>()
  readonly #localities = new Map<string, Locality>()
  readonly #services = new Map<string, Workload['services']>()

  /** The same workload with shared parts; equal in every field. */
  workload(from: Workload): Workload {
    return {
      ...from,
      namespace: this.#text(from.namespace),
      hostname: this.#text(from.hostname),
      network: this.#text(from.network),
      trustDomain: this.#text(from.trustDomain),
      serviceAccount: this.#text(from.serviceAccount),
      node: this.#text(from.node),
      canonicalName: this.#text(from.canonicalName),
      canonicalRevision: this.#text(from.canonicalRevision),
      workloadName: this.#text(from.workloadName),
      clusterId: this.#text(from.clusterId),
      locality: this.#locality(from.locality),
      services: this.#servicesOf(from.services),
      authorizationPolicies:
        from.authorizationPolicies.length === 0 ? NO_NAMES : from.authorizationPolicies.map((name) => this.#text(name)),
    }
  }

  #text(text: string): string {
    return pooled(this.#texts, text, () => text)
  }

  #locality(from: Locality): Locality {
    return pooled(this.#localities, `${from.region}\0${from.zone}\0${from.subzone}`, () => from)
  }

  #servicesOf(from: ReadonlyMap<ServiceKey, readonly PortPair[]>): Workload['services'] {
    if (from.size === 0) return NO_SERVICES
    let key = ''
    for (const [service, ports] of from) {
      key += `${service}\0`
      for (const { servicePort, targetPort } of ports) key += `${servicePort}:${targetPort},`
    }
    return pooled(this.#services, key, () => new Map([...from].map(([service, ports]) => [this.#text(service), ports])))
  }
}

function pooled<T>(pool: Map<string, T>, key: string, make: () => T): T {
  let known = pool.get(key)
  if (known === undefined) {
    if (pool.size >= POOL_LIMIT) pool.clear()
    known = make()
    pool.set(key, known)
  }
  return known
}
