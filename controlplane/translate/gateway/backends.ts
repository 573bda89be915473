// References to backends -> services of the mesh. References to other namespaces need no ReferenceGrant here: GEP-1294 leaves
// that to gateways, as a client of a mesh could call the service itself. A reference that leads nowhere keeps its share as 500.
import type { BackendReference } from '../../../model/gateway-api.ts'
import { ISTIO_NETWORKING_GROUP } from '../../../model/istio-networking.ts'
import type { Service as KubeService } from '../../../model/object.ts'
import type { BackendRef } from '../../../model/route.ts'
import { type Service, serviceKeyOf } from '../../../model/service.ts'
import type { ServiceKey } from '../../../model/workload.ts'
import type { HostTable } from '../host-table.ts'
import { hostnameOf, type MeshNames } from '../mesh.ts'
import type { EntriesResult } from '../service-entry/service-entries.ts'
import { isModelled, tcpPorts } from '../service.ts'
import type { RuleNotes } from './finding.ts'

/** What backends are looked up in. */
export interface BackendWorld {
  /** By `namespace/name`. */
  readonly kubeServices: ReadonlyMap<string, KubeService>
  readonly services: ReadonlyMap<ServiceKey, Service>
  readonly hosts: HostTable
  readonly entries: Pick<EntriesResult, 'hosts'>
}

/** Finds services for one route, and remembers what was asked: the route is translated again when an answer changes. */
export class ServiceLookup {
  readonly asked = new Map<string, unknown>()
  readonly #world: BackendWorld

  constructor(world: BackendWorld) {
    this.#world = world
  }

  /** A Service of Kubernetes. */
  find(namespace: string, name: string): KubeService | undefined {
    return this.#ask(`Service ${namespace}/${name}`) as KubeService | undefined
  }

  /** What a host name means in a namespace. */
  findHost(namespace: string, host: string): Service | undefined {
    return this.#ask(`Hostname ${namespace}/${host}`) as Service | undefined
  }

  /** Hosts of a ServiceEntry. */
  findEntry(namespace: string, name: string): readonly ServiceKey[] | undefined {
    const hosts = this.#ask(`ServiceEntry ${namespace}/${name}`) as string | undefined
    return hosts?.split(' ').filter((key) => key !== '')
  }

  #ask(question: string): unknown {
    const answer = answerIn(this.#world, question)
    this.asked.set(question, answer)
    return answer
  }
}

/** Whether everything that was asked has the same answers in another world. */
export function isCurrentIn(asked: ReadonlyMap<string, unknown>, world: BackendWorld): boolean {
  return [...asked].every(([question, answer]) => answerIn(world, question) === answer)
}

/** Comparable by `===`. */
function answerIn({ kubeServices, hosts, entries }: BackendWorld, question: string): unknown {
  const [kind, key = ''] = question.split(' ')
  if (kind === 'Service') return kubeServices.get(key)
  if (kind === 'ServiceEntry') return entries.hosts.get(key)?.join(' ')
  const slash = key.indexOf('/')
  return hosts.find(key.slice(slash + 1), key.slice(0, slash))
}

/** What references are resolved with. */
export interface BackendContext {
  readonly names: MeshNames
  /** The route's. */
  readonly namespace: string
  readonly services: ServiceLookup
}

type Lost = (reason: string, message: string) => undefined

/** @returns the backend; undefined = it leads nowhere, which is noted with the reason that `ResolvedRefs` shows */
export function resolveBackend(
  reference: BackendReference,
  context: BackendContext,
  field: string,
  notes: RuleNotes,
): BackendRef | undefined {
  const { group = '', kind = 'Service' } = reference
  const lost: Lost = (reason, message) => {
    notes.unresolve(field, reason, message)
  }
  if (group === ISTIO_NETWORKING_GROUP && kind === 'Hostname') return hostBackend(reference, reference.name, context, lost)
  if (group === ISTIO_NETWORKING_GROUP && kind === 'ServiceEntry') return entryBackend(reference, context, lost)
  if (kind === 'Service' && (group === '' || group === 'core')) return serviceBackend(reference, context, lost)
  return lost('InvalidKind', `kind ${group}/${kind} cannot be a backend`)
}

function serviceBackend({ name, namespace: given, port }: BackendReference, context: BackendContext, lost: Lost): BackendRef | undefined {
  const namespace = given ?? context.namespace
  const service = context.services.find(namespace, name)
  if (service === undefined) return lost('BackendNotFound', `there is no Service ${namespace}/${name}`)
  if (!isModelled(service)) return lost('BackendNotFound', `Service ${namespace}/${name} is a name outside the mesh (ExternalName)`)
  if (port === undefined) return lost('BackendNotFound', `Service ${namespace}/${name} needs a port`)
  if (!tcpPorts(service).some((each) => each.port === port)) {
    if ((service.spec?.ports ?? []).some((each) => each.port === port))
      return lost('UnsupportedProtocol', `port ${port} of Service ${namespace}/${name} is not TCP`)
    return lost('BackendNotFound', `Service ${namespace}/${name} has no port ${port}`)
  }
  return { service: `${namespace}/${hostnameOf(context.names, namespace, name)}`, port, subset: undefined }
}

/** By the name of an entry: its only host. */
function entryBackend(reference: BackendReference, context: BackendContext, lost: Lost): BackendRef | undefined {
  const namespace = reference.namespace ?? context.namespace
  const what = `ServiceEntry ${namespace}/${reference.name}`
  const [only, second] = context.services.findEntry(namespace, reference.name) ?? []
  if (only === undefined) return lost('BackendNotFound', `there is no ${what}, or no host of it is in force`)
  if (second !== undefined) return lost('BackendNotFound', `${what} has several hosts: name one, as kind Hostname`)
  // Another namespace's own entry is not found by its host.
  const host = only.slice(only.indexOf('/') + 1)
  return hostBackend(reference, host, context, lost, namespace)
}

/** @param owner namespace of the service that is meant, if that is known */
function hostBackend(
  { port }: BackendReference,
  name: string,
  context: BackendContext,
  lost: Lost,
  owner?: string,
): BackendRef | undefined {
  const host = name.toLowerCase()
  const service = context.services.findHost(context.namespace, host)
  if (service === undefined || (owner !== undefined && service.namespace !== owner))
    return lost('BackendNotFound', `there is no host ${host} that namespace ${context.namespace} sees`)
  if (port === undefined) return lost('BackendNotFound', `${host} needs a port`)
  if (!service.ports.some(({ servicePort }) => servicePort === port)) return lost('BackendNotFound', `${host} has no TCP port ${port}`)
  return { service: serviceKeyOf(service), port, subset: undefined }
}
