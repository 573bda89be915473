// Translation -> resources on the xDS server: encodes what is new, keeps what is not, and hands over the difference.
import { createHash } from 'node:crypto'
import type { Cidr } from '../../model/address.ts'
import type { Authorization } from '../../model/policy.ts'
import type { Service } from '../../model/service.ts'
import type { Workload } from '../../model/workload.ts'
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, NETWORKS_NAME, NETWORKS_TYPE } from '../../xds/kinds.ts'
import { PushStore, type ServedResource } from '../../xds/push-source.ts'
import { encodeService, encodeWorkload } from '../../xds/resource/address.ts'
import { encodeAuthorization } from '../../xds/resource/authorization.ts'
import { encodeNetworks } from '../../xds/resource/networks.ts'
import type { Translation } from '../translate/translate.ts'

/** Kinds in the order in which they must reach a proxy: what guards, what surrounds, what is guarded. */
const ORDER = [AUTHORIZATION_TYPE, NETWORKS_TYPE, ADDRESS_TYPE] as const

/** Owner of the served resources. */
export class Publisher {
  readonly store = new PushStore(ORDER)
  readonly #served = new WeakMap<object, ServedResource>()

  /** Publishes a translation. @returns the revision in force */
  publish(translation: Translation): number {
    const addresses = new Map<string, ServedResource>()
    for (const [name, workload] of translation.workloads) addresses.set(name, this.#kept(workload, workloadResource))
    for (const [name, service] of translation.services) addresses.set(name, this.#kept(service, serviceResource))
    const policies = new Map<string, ServedResource>()
    for (const [name, policy] of translation.policies) policies.set(name, this.#kept(policy, policyResource))
    const networks = new Map([[NETWORKS_NAME, networksResource(translation.networks)]])
    return this.store.update(
      new Map([
        [AUTHORIZATION_TYPE, this.#difference(AUTHORIZATION_TYPE, policies)],
        [NETWORKS_TYPE, this.#difference(NETWORKS_TYPE, networks)],
        [ADDRESS_TYPE, this.#difference(ADDRESS_TYPE, addresses)],
      ]),
    )
  }

  #difference(typeUrl: string, next: ReadonlyMap<string, ServedResource>): Map<string, ServedResource | undefined> {
    const now = this.store.snapshot(typeUrl)
    const changes = new Map<string, ServedResource | undefined>()
    for (const [name, resource] of next) if (now.get(name) !== resource) changes.set(name, resource)
    for (const name of now.keys()) if (!next.has(name)) changes.set(name, undefined)
    return changes
  }

  #kept<T extends object>(model: T, make: (model: T) => ServedResource): ServedResource {
    let resource = this.#served.get(model)
    if (resource === undefined) {
      resource = make(model)
      this.#served.set(model, resource)
    }
    return resource
  }
}

function served(bytes: Buffer, aliases: readonly string[] = [], groups: readonly string[] = []): ServedResource {
  return { version: createHash('sha256').update(bytes).digest('hex').slice(0, 16), bytes, aliases, groups }
}

function workloadResource(workload: Workload): ServedResource {
  // The address of a host-network workload is the node's: nobody may find it by that.
  const aliases = workload.isHostNetwork ? [] : workload.addresses.map((ip) => `${workload.network}/${ip}`)
  return served(encodeWorkload(workload), aliases, [...workload.services.keys()])
}

function serviceResource(service: Service): ServedResource {
  const aliases = service.vips.map(({ network, cidr }) => `${network}/${cidr.ip}`)
  return served(encodeService(service), aliases)
}

function policyResource(policy: Authorization): ServedResource {
  return served(encodeAuthorization(policy))
}

function networksResource(podAndServiceCidrs: readonly Cidr[]): ServedResource {
  return served(encodeNetworks({ podAndServiceCidrs }))
}
