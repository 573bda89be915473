// References to backends -> services of the mesh. References to other namespaces need no ReferenceGrant here: GEP-1294 leaves
// that to gateways, as a client of a mesh could call the service itself. A reference that leads nowhere keeps its share as 500.
import type { BackendReference } from '../../../model/gateway-api.ts'
import type { Service } from '../../../model/object.ts'
import type { BackendRef } from '../../../model/route.ts'
import { hostnameOf, type MeshNames } from '../mesh.ts'
import { isModelled, tcpPorts } from '../service.ts'
import type { RuleNotes } from './finding.ts'

/** Finds services for one route, and remembers what was asked: the route is translated again when an answer changes. */
export class ServiceLookup {
  readonly asked = new Map<string, Service | undefined>()
  readonly #services: ReadonlyMap<string, Service>

  /** @param services by `namespace/name` */
  constructor(services: ReadonlyMap<string, Service>) {
    this.#services = services
  }

  find(namespace: string, name: string): Service | undefined {
    const key = `${namespace}/${name}`
    const service = this.#services.get(key)
    this.asked.set(key, service)
    return service
  }
}

/** What references are resolved with. */
export interface BackendContext {
  readonly names: MeshNames
  /** The route's. */
  readonly namespace: string
  readonly services: ServiceLookup
}

/** @returns the backend; undefined = it leads nowhere, which is noted with the reason that `ResolvedRefs` shows */
export function resolveBackend(
  reference: BackendReference,
  context: BackendContext,
  field: string,
  notes: RuleNotes,
): BackendRef | undefined {
  const { group = '', kind = 'Service', name, port } = reference
  const namespace = reference.namespace ?? context.namespace
  const lost = (reason: string, message: string): undefined => {
    notes.unresolve(field, reason, message)
  }
  if (kind !== 'Service' || (group !== '' && group !== 'core')) return lost('InvalidKind', `kind ${group}/${kind} cannot be a backend`)
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
