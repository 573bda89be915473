// Destinations of VirtualServices -> ports of services of the mesh. What leads nowhere keeps its share of the requests as 500.
import type { IstioDestination } from '../../../model/istio-networking.ts'
import type { BackendRef } from '../../../model/route.ts'
import { type Service, serviceKeyOf } from '../../../model/service.ts'
import type { ServiceKey } from '../../../model/workload.ts'
import type { HostTable } from '../host-table.ts'
import type { MeshNames } from '../mesh.ts'
import { fullHost } from './hosts.ts'
import type { EntryNotes } from './notes.ts'

/** What destinations are looked up in. */
export interface DestinationWorld {
  readonly hosts: HostTable
  /** Names of the subsets that the DestinationRule in force defines. */
  readonly subsets: ReadonlyMap<ServiceKey, ReadonlySet<string>>
}

/** Looks up for one object, and remembers the answers: it is translated again when one changes. */
export class DestinationLookup {
  readonly #world: DestinationWorld
  /** By `namespace/host`. */
  readonly #hosts = new Map<string, Service | undefined>()
  readonly #subsets = new Map<string, { readonly service: ServiceKey; readonly name: string; readonly isThere: boolean }>()

  constructor(world: DestinationWorld) {
    this.#world = world
  }

  /** @param namespace of the object that asks */
  service(host: string, namespace: string): Service | undefined {
    const service = this.#world.hosts.find(host, namespace)
    this.#hosts.set(`${namespace}/${host}`, service)
    return service
  }

  hasSubset(service: ServiceKey, name: string): boolean {
    const isThere = hasSubset(this.#world, service, name)
    this.#subsets.set(`${service} ${name}`, { service, name, isThere })
    return isThere
  }

  /** Whether all answers would be the same in another world. */
  isCurrentIn(world: DestinationWorld): boolean {
    for (const [key, service] of this.#hosts) {
      const slash = key.indexOf('/')
      if (world.hosts.find(key.slice(slash + 1), key.slice(0, slash)) !== service) return false
    }
    for (const { service, name, isThere } of this.#subsets.values()) if (hasSubset(world, service, name) !== isThere) return false
    return true
  }
}

/** Where destinations stand. */
export interface DestinationContext {
  readonly names: MeshNames
  /** The object's. */
  readonly namespace: string
  readonly destinations: DestinationLookup
  /** Of the listener: what a destination without a port means when its service has several. */
  readonly port: number
}

/** @returns the backend; undefined = it leads nowhere, which is noted */
export function resolveDestination(
  { host, port, subset }: IstioDestination,
  context: DestinationContext,
  field: string,
  notes: EntryNotes,
): BackendRef | undefined {
  const full = fullHost(host, context.namespace, context.names)
  const service = context.destinations.service(full, context.namespace)
  const lost = (message: string): undefined => {
    notes.unresolve(field, 'BackendNotFound', message)
  }
  if (service === undefined) return lost(`there is no service ${full} in the mesh${hintFor(full, context.names)}`)
  const [only, second] = service.ports
  const number = port?.number ?? (second === undefined ? only?.servicePort : undefined) ?? context.port
  if (!service.ports.some(({ servicePort }) => servicePort === number)) return lost(`${full} has no TCP port ${number}`)
  const key = serviceKeyOf(service)
  if (subset === undefined || subset === '') return { service: key, port: number, subset: undefined }
  if (!context.destinations.hasSubset(key, subset)) return lost(`no DestinationRule in force for ${full} has a subset ${subset}`)
  return { service: key, port: number, subset }
}

function hintFor(host: string, names: MeshNames): string {
  return host.includes('.') && !host.endsWith(`.${names.clusterDomain}`) ? ' (a host with dots must be a full name)' : ''
}

function hasSubset(world: DestinationWorld, service: ServiceKey, name: string): boolean {
  return world.subsets.get(service)?.has(name) === true
}
