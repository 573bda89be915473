// Waypoints as the command line makes and shows them: the Gateway of `weft waypoint apply`, and the rows of its tables.
import type { Gateway } from '../model/gateway-api.ts'
import type { Condition, MeshObject } from '../model/object.ts'

/** What `--for` takes. */
export const TRAFFIC = ['service', 'workload', 'all', 'none'] as const

/** One of TRAFFIC. */
export type Traffic = (typeof TRAFFIC)[number]

/** Name of a waypoint when none is given. */
export const DEFAULT_WAYPOINT = 'waypoint'
/** Label that sends an object's (or a namespace's) traffic through a waypoint. */
export const USE_WAYPOINT = 'istio.io/use-waypoint'
/** Label of a waypoint: one of TRAFFIC. */
export const TRAFFIC_LABEL = 'istio.io/waypoint-for'
/** Header of the table of waypoints. */
export const LIST_HEADER = ['NAMESPACE', 'NAME', 'TRAFFIC TYPE', 'PROGRAMMED']
/** Header of the table of a waypoint's conditions. */
export const STATUS_HEADER = ['NAMESPACE', 'NAME', 'STATUS', 'TYPE', 'REASON', 'MESSAGE']

const CLASSES: readonly unknown[] = ['istio-waypoint', 'weft-waypoint']
const DEFAULT_CLASS = 'istio-waypoint'

/** The Gateway that asks for a waypoint. @param traffic undefined = not said, which means services */
export function waypointGateway(namespace: string, name: string, traffic: Traffic | undefined): MeshObject {
  const labels = traffic === undefined ? {} : { labels: { [TRAFFIC_LABEL]: traffic } }
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: { name, namespace, ...labels },
    spec: { gatewayClassName: DEFAULT_CLASS, listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }] },
  }
}

/** Whether a Gateway is a waypoint. */
export function isWaypoint(object: MeshObject): boolean {
  return CLASSES.includes((object as Gateway).spec?.gatewayClassName)
}

/** Whether the data plane serves the waypoint as its Gateway stands now. */
export function isProgrammed(object: MeshObject): boolean {
  const found = conditionsOf(object).find(({ type }) => type === 'Programmed')
  return found?.status === 'True' && found.observedGeneration === object.metadata.generation
}

/** A row below LIST_HEADER. */
export function listRow(object: MeshObject): readonly string[] {
  const { namespace = '', name, labels } = object.metadata
  const programmed = conditionsOf(object).find(({ type }) => type === 'Programmed')
  return [namespace, name, labels?.[TRAFFIC_LABEL] ?? 'service', programmed?.status ?? 'Unknown']
}

/** Rows below STATUS_HEADER, one per condition. */
export function statusRows(object: MeshObject): readonly (readonly string[])[] {
  const { namespace = '', name } = object.metadata
  const conditions = conditionsOf(object)
  if (conditions.length === 0) return [[namespace, name, 'Unknown', '-', '-', 'the control plane has not said anything yet']]
  return conditions.map(({ type, status, reason, message }) => [namespace, name, status, type, reason ?? '-', message ?? '-'])
}

function conditionsOf(object: MeshObject): readonly Condition[] {
  return (object as Gateway).status?.conditions ?? []
}
