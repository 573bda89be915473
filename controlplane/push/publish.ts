// Translation -> resources on the xDS server: encodes what is new, keeps what is not, and hands over the difference. Each
// resource is read back once as a proxy would: a bad one never leaves, so that no object can make proxies refuse pushes.
import { createHash } from 'node:crypto'
import { faults as failed, messageOf, type Result, success } from '../../kit/error.ts'
import type { Cidr } from '../../model/address.ts'
import type { Backend } from '../../model/backend.ts'
import type { Authorization } from '../../model/policy.ts'
import type { Listener } from '../../model/route.ts'
import type { Service } from '../../model/service.ts'
import type { Workload } from '../../model/workload.ts'
import {
  ADDRESS_TYPE,
  AUTHORIZATION_TYPE,
  BACKEND_TYPE,
  gatewayGroup,
  LISTENER_TYPE,
  NETWORKS_NAME,
  NETWORKS_TYPE,
} from '../../xds/kinds.ts'
import { PushStore, type ServedResource } from '../../xds/push-source.ts'
import { decodeAddress, encodeService, encodeWorkload } from '../../xds/resource/address.ts'
import { decodeAuthorization, encodeAuthorization } from '../../xds/resource/authorization.ts'
import { decodeBackend, encodeBackend } from '../../xds/resource/backend.ts'
import { decodeListener, encodeListener } from '../../xds/resource/listener.ts'
import { encodeNetworks } from '../../xds/resource/networks.ts'
import type { ObjectFault } from '../translate/mesh.ts'
import type { Translation } from '../translate/translate.ts'
import { gatewaysOfBackends } from './backend-groups.ts'

/** Kinds in the order in which they must reach a proxy: what guards, what surrounds, what is guarded, how it is reached. */
const ORDER = [AUTHORIZATION_TYPE, NETWORKS_TYPE, ADDRESS_TYPE, BACKEND_TYPE, LISTENER_TYPE] as const

/** Owner of the served resources. */
export class Publisher {
  readonly store = new PushStore(ORDER)
  readonly #served = new WeakMap<object, { readonly made: Made; readonly besides: string }>()
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
    const { listeners, backends } = this.#waypoints(translation)
    return this.store.update(
      new Map([
        [AUTHORIZATION_TYPE, this.#difference(AUTHORIZATION_TYPE, policies)],
        [NETWORKS_TYPE, this.#difference(NETWORKS_TYPE, networks)],
        [ADDRESS_TYPE, this.#difference(ADDRESS_TYPE, addresses)],
        [BACKEND_TYPE, this.#difference(BACKEND_TYPE, backends)],
        [LISTENER_TYPE, this.#difference(LISTENER_TYPE, listeners)],
      ]),
    )
  }

  /** What only waypoints get, each in the group of its gateways. */
  #waypoints(translation: Translation): { listeners: Map<string, ServedResource>; backends: Map<string, ServedResource> } {
    const listeners = new Map<string, ServedResource>()
    const backends = new Map<string, ServedResource>()
    // Left out, a port has no listener: its waypoint refuses what comes for it.
    for (const [name, listener] of translation.listeners) this.#add(listeners, name, listener, listenerResource)
    const gateways = gatewaysOfBackends(translation.listeners.values())
    for (const [name, backend] of translation.backends) {
      const groups = [...(gateways.get(name) ?? [])].sort().map(gatewayGroup)
      this.#add(backends, name, backend, (model) => backendResource(model, groups), groups.join())
    }
    return { listeners, backends }
  }

  #difference(typeUrl: string, next: ReadonlyMap<string, ServedResource>): Map<string, ServedResource | undefined> {
    const now = this.store.snapshot(typeUrl)
    const changes = new Map<string, ServedResource | undefined>()
    for (const [name, resource] of next) if (now.get(name) !== resource) changes.set(name, resource)
    for (const name of now.keys()) if (!next.has(name)) changes.set(name, undefined)
    return changes
  }

  /**
   * @param besides what the resource is made of besides the model: made again when it differs
   * @returns whether the resource is fit to be published
   */
  #add<T extends object>(to: Map<string, ServedResource>, name: string, model: T, make: (model: T) => Made, besides = ''): boolean {
    let kept = this.#served.get(model)
    if (kept?.besides !== besides) {
      kept = { made: attempt(model, make), besides }
      this.#served.set(model, kept)
    }
    const { made } = kept
    if (made.ok) to.set(name, made.value)
    else {
      const message = `left out, as no proxy could read it: ${made.errors.join('; ')}`
      this.#faults.push({ kind: 'Resource', ...placeOf(name, model), field: name, message })
    }
    return made.ok
  }
}

/** Where to look: the object's own names, else those in the resource's name. */
function placeOf(resource: string, model: { readonly namespace?: string; readonly name?: string }): { namespace: string; name: string } {
  const [namespace = '', name = ''] = resource.split('/')
  return model.namespace === undefined ? { namespace, name } : { namespace: model.namespace, name: model.name ?? name }
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

function listenerResource(listener: Listener): Made {
  const bytes = encodeListener(listener)
  return served(bytes, decodeListener(bytes), [], [gatewayGroup(listener.gateway)])
}

function backendResource(backend: Backend, groups: readonly string[]): Made {
  const bytes = encodeBackend(backend)
  return served(bytes, decodeBackend(bytes), [], groups)
}

function networksResource(podAndServiceCidrs: readonly Cidr[]): ServedResource {
  const bytes = encodeNetworks({ podAndServiceCidrs })
  return resourceOf(bytes)
}
