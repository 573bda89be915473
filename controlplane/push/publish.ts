// Translation -> resources on the xDS server: encodes what is new, keeps what is not, and hands over the difference. Each
// resource is read back once as a proxy would: a bad one never leaves, so that no object can make proxies refuse pushes.
import { createHash } from 'node:crypto'
import { faults as failed, messageOf, type Result, success } from '../../kit/error.ts'
import type { Cidr } from '../../model/address.ts'
import type { Authorization } from '../../model/policy.ts'
import type { Service } from '../../model/service.ts'
import type { Workload } from '../../model/workload.ts'
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, NETWORKS_NAME, NETWORKS_TYPE } from '../../xds/kinds.ts'
import { PushStore, type ServedResource } from '../../xds/push-source.ts'
import { decodeAddress, encodeService, encodeWorkload } from '../../xds/resource/address.ts'
import { decodeAuthorization, encodeAuthorization } from '../../xds/resource/authorization.ts'
import { encodeNetworks } from '../../xds/resource/networks.ts'
import type { ObjectFault } from '../translate/mesh.ts'
import type { Translation } from '../translate/translate.ts'

/** Kinds in the order in which they must reach a proxy: what guards, what surrounds, what is guarded. */
const ORDER = [AUTHORIZATION_TYPE, NETWORKS_TYPE, ADDRESS_TYPE] as const

/** Owner of the served resources. */
export class Publisher {
  readonly store = new PushStore(ORDER)
  readonly #served = new WeakMap<object, Made>()
  #faults: ObjectFault[] = []

  /** What the last publication left out, because no proxy could read it. */
  get faults(): readonly ObjectFault[] {
    return this.#faults
  }

  /** Publishes a translation. @returns the revision in force */
  publish(translation: Translation): number {
    this.#faults = []
    const addresses = new Map<string, ServedResource>()
    const policies = new Map<string, ServedResource>()
    // Left out, a workload or service is unknown inside the mesh's blocks: connections to it are refused.
    for (const workload of translation.workloads.values()) this.#add(addresses, workload.uid, workload, workloadResource)
    for (const [name, service] of translation.services) this.#add(addresses, name, service, serviceResource)
    for (const [name, policy] of translation.policies) {
      if (!this.#add(policies, name, policy, policyResource)) this.#add(policies, name, closed(policy), policyResource)
    }
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

  /** @returns whether the resource is fit to be published */
  #add<T extends Named>(to: Map<string, ServedResource>, name: string, model: T, make: (model: T) => Made): boolean {
    let made = this.#served.get(model)
    if (made === undefined) {
      made = attempt(model, make)
      this.#served.set(model, made)
    }
    if (made.ok) to.set(name, made.value)
    else {
      const message = `left out, as no proxy could read it: ${made.errors.join('; ')}`
      this.#faults.push({ kind: 'Resource', namespace: model.namespace, name: model.name, field: name, message })
    }
    return made.ok
  }
}

interface Named {
  readonly namespace: string
  readonly name: string
}

/** A resource, or what a proxy would say against it. */
type Made = Result<ServedResource>

function attempt<T>(model: T, make: (model: T) => Made): Made {
  try {
    return make(model)
  } catch (error) {
    return failed(messageOf(error)) // a number beyond its wire type
  }
}

function served(bytes: Buffer, check: Result<unknown>, aliases?: readonly string[], groups?: readonly string[]): Made {
  return check.ok ? success(resourceOf(bytes, aliases, groups)) : check
}

function resourceOf(bytes: Buffer, aliases: readonly string[] = [], groups: readonly string[] = []): ServedResource {
  return { version: createHash('sha256').update(bytes).digest('hex').slice(0, 16), bytes, aliases, groups }
}

/** The same policy allowing nothing or denying everything: what stands in for one that cannot be expressed. */
function closed(policy: Authorization): Authorization {
  return { ...policy, rules: policy.action === 'DENY' ? [[]] : [] }
}

function workloadResource(workload: Workload): Made {
  // The address of a host-network workload is the node's: nobody may find it by that.
  const aliases = workload.isHostNetwork ? [] : workload.addresses.map((ip) => `${workload.network}/${ip}`)
  const bytes = encodeWorkload(workload)
  return served(bytes, decodeAddress(bytes), aliases, [...workload.services.keys()])
}

function serviceResource(service: Service): Made {
  const aliases = service.vips.map(({ network, cidr }) => `${network}/${cidr.ip}`)
  const bytes = encodeService(service)
  return served(bytes, decodeAddress(bytes), aliases)
}

function policyResource(policy: Authorization): Made {
  const bytes = encodeAuthorization(policy)
  return served(bytes, decodeAuthorization(bytes))
}

function networksResource(podAndServiceCidrs: readonly Cidr[]): ServedResource {
  const bytes = encodeNetworks({ podAndServiceCidrs })
  return resourceOf(bytes)
}
