// Translation -> resources on the xDS server: encodes what is new, keeps what is not, and hands over the difference. Each
// resource is read back once as a proxy would: a bad one never leaves, so that no object can make proxies refuse pushes.
import { hash } from 'node:crypto'
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
import { HeldResource } from '../../xds/held-resource.ts'
import { PushStore, type ServedResource } from '../../xds/push-source.ts'
import { decodeAddress, encodeService, encodeWorkload } from '../../xds/resource/address.ts'
import { decodeAuthorization, encodeAuthorization } from '../../xds/resource/authorization.ts'
import { decodeBackend, encodeBackend } from '../../xds/resource/backend.ts'
import { decodeListener, encodeListener } from '../../xds/resource/listener.ts'
import { encodeNetworks } from '../../xds/resource/networks.ts'
import type { ObjectFault } from '../translate/mesh.ts'
import type { Translation } from '../translate/translate.ts'
import { gatewaysOfBackends } from './backend-groups.ts'

/** Workloads behind the same services share the map of them. */
const GROUPS = new WeakMap<Workload['services'], readonly string[]>()
/** Kinds in the order in which they must reach a proxy: what guards, what surrounds, what is guarded, how it is reached. */
const ORDER = [AUTHORIZATION_TYPE, NETWORKS_TYPE, ADDRESS_TYPE, BACKEND_TYPE, LISTENER_TYPE] as const

/** In the form in which they are held: 50,000 Buffers that live until all are made would leave holes in both heaps. */
type Changes = Map<string, HeldResource | undefined>

/** A model as it was published last, and what its resource is made of besides. */
interface Published {
  readonly model: object
  readonly besides: string
}

/** Owner of the served resources. */
export class Publisher {
  readonly store = new PushStore(ORDER)
  readonly #published: ReadonlyMap<string, Map<string, Published>> = new Map(ORDER.map((typeUrl) => [typeUrl, new Map()]))
  readonly #faults = new Map<string, ObjectFault>() // by type and name
  #isWhole = false // everything of the last publication is in the store

  /** What is left out, because no proxy could read it. */
  get faults(): readonly ObjectFault[] {
    return [...this.#faults.values()]
  }

  /**
   * Publishes a translation.
   * @param changed workloads that may differ from those of the last publication, by uid; undefined = any
   * @returns the revision in force
   */
  publish(translation: Translation, changed?: Iterable<string>): number {
    const isWhole = this.#isWhole
    this.#isWhole = false
    if (!isWhole) for (const published of this.#published.values()) published.clear()
    const addresses = this.#workloads(translation, isWhole ? changed : undefined)
    const changes = new Map([
      [AUTHORIZATION_TYPE, this.#changes(AUTHORIZATION_TYPE, translation.policies, policyResource, closed)],
      [NETWORKS_TYPE, this.#networks(translation.networks)],
      [ADDRESS_TYPE, this.#changes(ADDRESS_TYPE, translation.services, serviceResource, undefined, addresses)],
      [BACKEND_TYPE, this.#backends(translation)],
      // Left out, a port has no listener: its waypoint refuses what comes for it.
      [LISTENER_TYPE, this.#changes(LISTENER_TYPE, translation.listeners, listenerResource)],
    ])
    const revision = this.store.update(changes)
    this.#isWhole = true
    return revision
  }

  /** Left out, a workload or service is unknown inside the mesh's blocks: connections to it are refused. */
  #workloads({ workloads, services }: Translation, changed: Iterable<string> | undefined): Changes {
    const changes: Changes = new Map()
    const uids = changed ?? new Set([...workloads.keys(), ...this.store.snapshot(ADDRESS_TYPE).keys()])
    for (const uid of uids) {
      const workload = workloads.get(uid)
      if (workload !== undefined) changes.set(uid, this.#make(ADDRESS_TYPE, uid, workload, workloadResource))
      else if (!services.has(uid)) this.#drop(ADDRESS_TYPE, uid, changes)
    }
    return changes
  }

  #networks(podAndServiceCidrs: readonly Cidr[]): Changes {
    const bytes = encodeNetworks({ podAndServiceCidrs })
    return new Map([[NETWORKS_NAME, new HeldResource(NETWORKS_TYPE, NETWORKS_NAME, resourceOf(bytes))]])
  }

  /** What only waypoints get, each in the group of its gateways. */
  #backends(translation: Translation): Changes {
    const gateways = gatewaysOfBackends(translation.listeners.values())
    const groupsOf = (name: string): string[] => [...(gateways.get(name) ?? [])].sort().map(gatewayGroup)
    const changes: Changes = new Map()
    const published = this.#published.get(BACKEND_TYPE)
    for (const [name, backend] of translation.backends) {
      const groups = groupsOf(name)
      const old = published?.get(name)
      if (old?.model === backend && old.besides === groups.join()) continue
      published?.set(name, { model: backend, besides: groups.join() })
      changes.set(
        name,
        this.#make(BACKEND_TYPE, name, backend, (model) => backendResource(model, groups)),
      )
    }
    this.#dropOthers(BACKEND_TYPE, translation.backends, changes)
    return changes
  }

  /** @param instead what stands in for a model that no proxy could read */
  #changes<T extends object>(
    typeUrl: string,
    models: ReadonlyMap<string, T>,
    make: (model: T) => Made,
    instead?: (model: T) => T,
    changes: Changes = new Map(),
  ): Changes {
    const published = this.#published.get(typeUrl)
    for (const [name, model] of models) {
      if (published?.get(name)?.model === model) continue
      published?.set(name, { model, besides: '' })
      const made = this.#make(typeUrl, name, model, make)
      const other = made === undefined && instead !== undefined ? attempt(instead(model), make) : undefined
      changes.set(name, other?.ok === true ? new HeldResource(typeUrl, name, other.value) : made)
    }
    this.#dropOthers(typeUrl, models, changes)
    return changes
  }

  #dropOthers(typeUrl: string, models: ReadonlyMap<string, object>, changes: Changes): void {
    const published = this.#published.get(typeUrl)
    // After a failure only the store knows what was published before; of addresses, #workloads has looked at all.
    const names = typeUrl === ADDRESS_TYPE ? [] : this.store.snapshot(typeUrl).keys()
    for (const name of new Set([...names, ...(published?.keys() ?? [])])) {
      if (models.has(name)) continue
      published?.delete(name)
      this.#drop(typeUrl, name, changes)
    }
  }

  #drop(typeUrl: string, name: string, changes: Changes): void {
    this.#faults.delete(`${typeUrl} ${name}`)
    changes.set(name, undefined)
  }

  /** @returns undefined when no proxy could read it; the fault is noted */
  #make<T extends object>(typeUrl: string, name: string, model: T, make: (model: T) => Made): HeldResource | undefined {
    const made = attempt(model, make)
    if (made.ok) {
      this.#faults.delete(`${typeUrl} ${name}`)
      return new HeldResource(typeUrl, name, made.value)
    }
    const message = `left out, as no proxy could read it: ${made.errors.join('; ')}`
    this.#faults.set(`${typeUrl} ${name}`, { kind: 'Resource', ...placeOf(name, model), field: name, message })
    return undefined
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
  // Not a slice of the whole hash: that would keep all of it.
  return { version: hash('sha256', bytes, 'buffer').toString('hex', 0, 8), bytes, aliases, groups }
}

/** The same policy allowing nothing or denying everything: what stands in for one that cannot be expressed. */
function closed(policy: Authorization): Authorization {
  return { ...policy, rules: policy.action === 'DENY' ? [[]] : [] }
}

function workloadResource(workload: Workload): Made {
  // The address of a host-network workload is the node's: nobody may find it by that.
  const aliases = workload.isHostNetwork ? [] : workload.addresses.map((ip) => `${workload.network}/${ip}`)
  const bytes = encodeWorkload(workload)
  return served(bytes, decodeAddress(bytes), aliases, groupsOf(workload.services))
}

/** One list for all workloads that are behind the same services. */
function groupsOf(services: Workload['services']): readonly string[] {
  const kept = GROUPS.get(services)
  if (kept !== undefined) return kept
  const groups = [...services.keys()]
  GROUPS.set(services, groups)
  return groups
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
