// Hosts and addresses that several ServiceEntries want, in one run: whoever asks first has them. Ask for the oldest entry first.
import { type Cidr, cidrsOverlap } from '../../../model/address.ts'
import type { ServiceKey } from '../../../model/workload.ts'
import type { MeshNames } from '../mesh.ts'
import { type HostRules, problemOfHost } from './hosts.ts'
import type { ParsedEntry } from './parse.ts'

/** A host of an entry that is in force. `isCanonical`: it answers to namespaces that have none of that name themselves. */
export interface ClaimedHost {
  readonly host: string
  readonly isCanonical: boolean
}

/** What belongs to others. */
export interface ClaimWorld {
  readonly namespaces: ReadonlyMap<string, unknown>
  /** Blocks of pods and Services. */
  readonly networks: readonly Cidr[]
  readonly isService: (key: ServiceKey) => boolean
}

/** What was given to whom. */
export class Claims {
  readonly #world: ClaimWorld
  readonly #rules: HostRules
  /** Entries (`namespace/name`) by the service that they made. */
  readonly #owners = new Map<ServiceKey, string>()
  readonly #canonical = new Set<string>()
  /** Namespaces by block. */
  readonly #addresses = new Map<string, string>()

  constructor(world: ClaimWorld, { clusterDomain }: MeshNames) {
    this.#world = world
    this.#rules = { clusterDomain, hasNamespace: (name) => world.namespaces.has(name) }
  }

  /** Hosts that the entry gets; the others are added to `refused`. */
  hosts({ isHidden, isPrivate, hosts, namespace, name }: ParsedEntry, refused: string[]): ClaimedHost[] {
    if (isHidden) return []
    return hosts.flatMap((host, i) => {
      const key = `${namespace}/${host}`
      const problem = problemOfHost(host, namespace, this.#rules) ?? this.#ownerProblem(key)
      if (problem !== undefined) {
        refused.push(`spec.hosts[${i}]: ${host}: ${problem}`)
        return []
      }
      this.#owners.set(key, `${namespace}/${name}`)
      const isCanonical = !isPrivate && !this.#canonical.has(host)
      if (isCanonical) this.#canonical.add(host)
      return [{ host, isCanonical }]
    })
  }

  /** Addresses that the entry gets; the others are added to `refused`. */
  addresses({ addresses, namespace, isPrivate }: ParsedEntry, refused: string[]): Cidr[] {
    return addresses.filter((block) => {
      const text = `${block.ip}/${block.prefix}`
      const owner = this.#addresses.get(text)
      const isOthers = this.#world.networks.some((network) => cidrsOverlap(network, block))
      if (isOthers) refused.push(`spec.addresses: ${text} lies where pods and Services have theirs`)
      else if (owner !== undefined && owner !== namespace)
        refused.push(`spec.addresses: ${text} belongs to an older ServiceEntry of ${owner}`)
      else if (!isPrivate) this.#addresses.set(text, namespace)
      return !isOthers && (owner === undefined || owner === namespace)
    })
  }

  #ownerProblem(key: ServiceKey): string | undefined {
    if (this.#world.isService(key)) return 'there is a Service of this name'
    const owner = this.#owners.get(key)
    return owner === undefined ? undefined : `the older ServiceEntry ${owner} has it`
  }
}
