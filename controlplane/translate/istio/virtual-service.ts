// A VirtualService by itself: read once, then translated for each port that it is bound to.
import type { IstioHttpRoute, VirtualService, VirtualServiceSpec } from '../../../model/istio-networking.ts'
import type { FaultPolicy, Route, RouteMatch } from '../../../model/route.ts'
import { virtualServiceSpec } from '../../../objects/schema/virtual-service.ts'
import { readbackFault } from '../gateway/readback.ts'
import { type MeshNames, namespaceOf } from '../mesh.ts'
import type { DestinationContext } from './destinations.ts'
import { entryMatches, entryRoutes } from './entry.ts'
import { faultOf } from './fault.ts'
import { fullHost } from './hosts.ts'
import { EntryNotes } from './notes.ts'
import { readSpec } from './read-spec.ts'

/** A VirtualService that was read. */
export interface ParsedVirtualService {
  readonly namespace: string
  readonly name: string
  readonly createdAt: string
  /** Empty when it cannot be read at all. */
  readonly spec: VirtualServiceSpec
  /** Full names, perhaps with wildcards. */
  readonly hosts: readonly string[]
  /** Why nothing of it is in force, whatever it is bound to. */
  readonly problem: string | undefined
  /** It is about gateways other than the mesh: no business of ours. */
  readonly isForeign: boolean
  /** No entry says where requests go: its faults are laid over what others say. */
  readonly isOverlay: boolean
  /** What holds for it as a whole. */
  readonly ignored: readonly string[]
}

/** What is in force of a VirtualService on one port. */
export interface PortRoutes {
  readonly routes: readonly Route[]
  readonly notes: readonly EntryNotes[]
  /** Why the routes as a whole are not in force. */
  readonly problem: string | undefined
}

/** Faults in the order in which they are looked at; undefined = requests that match are spared. */
export interface OverlayEntry {
  readonly matches: readonly RouteMatch[]
  readonly fault: FaultPolicy | undefined
}

/** Pure; never throws. */
export function parseVirtualService(object: VirtualService, names: MeshNames): ParsedVirtualService {
  const namespace = namespaceOf(object)
  const { name, creationTimestamp } = object.metadata
  const head = { namespace, name, createdAt: typeof creationTimestamp === 'string' ? creationTimestamp : '' }
  const read = readSpec<VirtualServiceSpec>(virtualServiceSpec, object)
  if ('problem' in read) {
    return { ...head, spec: {}, hosts: [], problem: read.problem, isForeign: false, isOverlay: false, ignored: [] }
  }
  const { hosts = [], gateways = [], http = [], tcp = [], tls = [] } = read
  const ignored = [...(tcp.length > 0 ? ['tcp: is not supported'] : []), ...(tls.length > 0 ? ['tls: is not supported'] : [])]
  return {
    ...head,
    spec: read,
    hosts: [...new Set(hosts.map((host) => fullHost(host, namespace, names)))],
    problem: http.length === 0 ? ['http: is absent', ...ignored].join('; ') : undefined,
    isForeign: gateways.length > 0 && !gateways.includes('mesh'),
    isOverlay: http.length > 0 && http.every(isFaultOnly),
    ignored,
  }
}

/** Routes in the order of the entries: the first that matches counts. */
export function routesOf({ namespace, name, spec }: ParsedVirtualService, context: DestinationContext): PortRoutes {
  const notes: EntryNotes[] = []
  const routes = (spec.http ?? []).flatMap((entry, index) => {
    const own = new EntryNotes(`http[${index}]`)
    notes.push(own)
    return entryRoutes(entry, `VirtualService/${namespace}/${name}/${labelOf(entry, index)}`, context, own)
  })
  const unreadable = readbackFault(routes)
  if (unreadable !== undefined) return { routes: [], notes, problem: `no proxy could read it: ${unreadable}` }
  return { routes, notes, problem: undefined }
}

/**
 * The faults of a VirtualService that says nothing else than Service `host` itself says: entries of fault and match, or with
 * a route to that very port. What is noted as dropped makes an entry match nothing.
 * @returns undefined = it says more than that
 */
export function overlayOf(
  { spec }: ParsedVirtualService,
  isItself: (entry: IstioHttpRoute) => boolean,
  port: number,
): { readonly entries: readonly OverlayEntry[]; readonly notes: readonly EntryNotes[] } | undefined {
  const notes: EntryNotes[] = []
  const entries: OverlayEntry[] = []
  for (const [index, entry] of (spec.http ?? []).entries()) {
    if (!isFaultOnly(entry) && !isItself(entry)) return undefined
    const own = new EntryNotes(`http[${index}]`)
    notes.push(own)
    const matches = entryMatches(entry, port, own)
    const fault = faultOf(entry.fault, own)
    if (matches !== undefined && own.dropped.length === 0) entries.push({ matches, fault })
  }
  return { entries, notes }
}

/** Fields of an entry that say what becomes of requests, besides faults. */
export function hasOnly(entry: IstioHttpRoute, fields: readonly (keyof IstioHttpRoute)[]): boolean {
  return Object.entries(entry).every(([key, value]) => value === undefined || fields.some((field) => field === key))
}

function isFaultOnly(entry: IstioHttpRoute): boolean {
  return entry.fault !== undefined && hasOnly(entry, ['name', 'match', 'fault'])
}

function labelOf(entry: IstioHttpRoute, index: number): string {
  return entry.name === undefined || entry.name === '' ? String(index) : entry.name
}
