// Virtual addresses of services: exact ones by a map, blocks by their longest prefix. Several namespaces may use one address;
// the caller's own namespace wins, then a canonical service, then any. Follows istio/ztunnel:src/state/service.rs.
import { cidrContains, isIpv6 } from '../model/address.ts'
import type { Cidr, IpAddress } from '../model/address.ts'
import type { Service } from '../model/service.ts'

interface Block {
  readonly network: string
  readonly cidr: Cidr
  readonly service: Service
}

/** Which service owns an address. */
export class VipIndex {
  /** `network/ip` -> services */
  readonly #exact = new Map<string, Service[]>()
  /** Real blocks (not single addresses); few, so they are searched one by one. */
  #blocks: Block[] = []

  /** Adds a service; put the same one twice only after `remove`. */
  put(service: Service): void {
    for (const { network, cidr } of service.vips) {
      if (isSingle(cidr)) {
        const key = `${network}/${cidr.ip}`
        this.#exact.set(key, [...(this.#exact.get(key) ?? []), service])
      } else this.#blocks.push({ network, cidr, service })
    }
  }

  /** Removes the very value that was put. */
  remove(service: Service): void {
    for (const { network, cidr } of service.vips) {
      const key = `${network}/${cidr.ip}`
      const rest = (this.#exact.get(key) ?? []).filter((other) => other !== service)
      if (rest.length === 0) this.#exact.delete(key)
      else this.#exact.set(key, rest)
    }
    if (this.#blocks.some((block) => block.service === service)) this.#blocks = this.#blocks.filter((block) => block.service !== service)
  }

  /**
   * The service of an address as seen from a namespace; namespace beats specificity, an exact address beats a block.
   * @param isOwned the address is a workload's own: a block that happens to hold it does not count
   */
  find(network: string, ip: IpAddress, fromNamespace: string, isOwned = false): Service | undefined {
    const exact = this.#exact.get(`${network}/${ip}`)
    if (this.#blocks.length === 0 || isOwned) return exact === undefined ? undefined : prefer(exact, fromNamespace)
    const blocks = this.#blocks
      .filter((block) => block.network === network && cidrContains(block.cidr, ip))
      .sort((a, b) => b.cidr.prefix - a.cidr.prefix)
      .map((block) => block.service)
    return prefer([...(exact ?? []), ...blocks], fromNamespace)
  }
}

/** Of several services the one that a namespace means: its own, the canonical one, any; private ones of others are not seen. */
export function prefer(services: readonly Service[], namespace: string): Service | undefined {
  let best: Service | undefined
  for (const service of services) {
    if (service.namespace === namespace) return service
    if (!service.isPrivate && (best === undefined || (service.isCanonical && !best.isCanonical))) best = service
  }
  return best
}

function isSingle(cidr: Cidr): boolean {
  return cidr.prefix === (isIpv6(cidr.ip) ? 128 : 32)
}
