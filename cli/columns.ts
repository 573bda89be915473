// Columns of `weft get` by kind, as kubectl has them.
import type { Deployment, EndpointSlice, Event, MeshObject, Node, Pod, Service } from '../model/object.ts'
import type { KindRow } from '../objects/kinds.ts'
import { REDIRECTION_ANNOTATION } from '../runtime/annotations.ts'
import { formatAge } from './output.ts'

/** One column. */
export interface Column {
  readonly title: string
  cell(object: MeshObject, nowMs: number): string
}

/** Columns of a kind, namespace and name first, age last. */
export function columnsOf(row: KindRow): Column[] {
  const head: Column[] = row.isNamespaced ? [{ title: 'NAMESPACE', cell: (object) => object.metadata.namespace ?? '' }, NAME] : [NAME]
  return [...head, ...(SPECIAL[row.kind] ?? []), AGE]
}

const NAME: Column = { title: 'NAME', cell: (object) => object.metadata.name }
const AGE: Column = { title: 'AGE', cell: (object, nowMs) => formatAge(object.metadata.creationTimestamp, nowMs) }

const SPECIAL: Readonly<Record<string, readonly Column[]>> = {
  Pod: [
    column<Pod>('READY', ({ status }) => {
      const all = status?.containerStatuses ?? []
      return `${all.filter((one) => one.ready).length}/${all.length}`
    }),
    column<Pod>('STATUS', (pod) => podState(pod)),
    column<Pod>('RESTARTS', ({ status }) => String((status?.containerStatuses ?? []).reduce((sum, one) => sum + one.restartCount, 0))),
    column<Pod>('IP', ({ status }) => status?.podIP ?? '-'),
    column<Pod>('NODE', ({ spec }) => spec?.nodeName ?? '-'),
    column<Pod>('MESH', ({ metadata }) => metadata.annotations?.[REDIRECTION_ANNOTATION] ?? '-'),
  ],
  Service: [
    column<Service>('TYPE', ({ spec }) => spec?.type ?? 'ClusterIP'),
    column<Service>('CLUSTER-IP', ({ spec }) => spec?.clusterIPs?.join(',') ?? '-'),
    column<Service>('PORTS', ({ spec }) => (spec?.ports ?? []).map((port) => `${port.port}/${port.protocol ?? 'TCP'}`).join(',')),
  ],
  Deployment: [
    column<Deployment>('READY', ({ spec, status }) => `${status?.readyReplicas ?? 0}/${spec?.replicas ?? 1}`),
    column<Deployment>('UP-TO-DATE', ({ status }) => String(status?.updatedReplicas ?? 0)),
  ],
  Namespace: [
    column('STATUS', ({ status }) => (status as { phase?: string } | undefined)?.phase ?? '-'),
    column('MODE', ({ metadata }) => metadata.labels?.['istio.io/dataplane-mode'] ?? '-'),
  ],
  Node: [
    column<Node>('ADDRESS', ({ status }) => status?.addresses?.[0]?.address ?? '-'),
    column<Node>('POD-CIDRS', ({ spec }) => spec?.podCIDRs?.join(',') ?? '-'),
  ],
  EndpointSlice: [
    column<EndpointSlice>('PORTS', ({ ports }) => (ports ?? []).map((port) => String(port.port)).join(',')),
    column<EndpointSlice>('ENDPOINTS', ({ endpoints }) => (endpoints ?? []).flatMap((one) => one.addresses).join(',')),
  ],
  Event: [
    column<Event>('TYPE', ({ type }) => type),
    column<Event>('REASON', ({ reason }) => reason),
    column<Event>('OBJECT', ({ involvedObject }) => `${involvedObject.kind.toLowerCase()}/${involvedObject.name}`),
    column<Event>('COUNT', ({ count }) => String(count ?? 1)),
    column<Event>('MESSAGE', ({ message }) => message),
  ],
}

function column<T extends MeshObject = MeshObject>(title: string, cell: (object: T) => string): Column {
  return { title, cell: (object) => cell(object as T) }
}

function podState({ metadata, status }: Pod): string {
  if (metadata.deletionTimestamp !== undefined) return 'Terminating'
  const waiting = status?.containerStatuses?.find(
    (one) => one.state.waiting !== undefined && one.state.waiting.reason !== 'ContainerCreating',
  )
  return waiting?.state.waiting?.reason ?? status?.phase ?? 'Pending'
}
